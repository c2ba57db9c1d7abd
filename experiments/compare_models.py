"""Trains several models with several seeds on the same data with the same settings, and compares them.

    python -m experiments.compare_models --dataset=fma --data_dir=/data/fma --subset=small \
        --models=cnn2d,cnn2d_bn,mfcc_logistic,mfcc_svm --seeds=0,1,2 --output_dir=comparisons/fma_small

Takes as long as that many runs of experiments.train; every run is one of those, in <output_dir>/runs. Interrupt it
whenever you like: the same command goes on, and finished runs are not trained again. mfcc_logistic and mfcc_svm are
baselines without a network (statistics of MFCCs), which have no seed.

Writes comparison.csv (a row a model: means and sample standard deviations over seeds, intervals by bootstrap over the
test clips, paired differences to the first model, parameters, training time without validation, time for a crop of 5 s
on the CPU), cells.csv (a row a run) and comparison.png. Balanced accuracy is the mean recall of the labels.
"""

import sys
from pathlib import Path

from absl import flags

from experiments import console, settings

settings.define_flags("data", "features", "training")
_MODELS = flags.DEFINE_list("models", None, "Names of models; the first is what the others are compared with.")
_SEEDS = flags.DEFINE_list("seeds", "0,1,2", "Seeds, instead of --seed.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "comparisons/latest", "Where runs and comparison go.")


def main(argv: list[str]) -> None:
    del argv
    seeds = _parse_seeds(_SEEDS.value)
    for name, instead in (("model", "models"), ("seed", "seeds")):
        if flags.FLAGS[name].present:
            raise ValueError(f"expected --{instead}, received --{name}; a comparison has several")
    import tensorflow as tf

    from experiments import cells, comparison

    tf.config.set_visible_devices([], "GPU")  # it belongs to the runs; latency is measured on the CPU
    models = [name.strip() for name in _MODELS.value or ()]
    output_dir = Path(_OUTPUT_DIR.value)
    cells.check_models(models)
    own = cells.fix_splits(settings.settings_from_flags(flags.FLAGS), seeds, output_dir)
    every = cells.list_cells(own, models, seeds, output_dir)
    failed = cells.run_cells(every)
    table = comparison.write_comparison(every, failed, output_dir)
    print(comparison.format_comparison(table))
    print(f"written to {output_dir}")
    if failed:
        print(f"error: {len(failed)} of {len(every)} runs failed; see cells.csv", file=sys.stderr)
        sys.exit(1)


def _parse_seeds(values: list[str]) -> list[int]:
    try:
        seeds = [int(value) for value in values]
    except ValueError:
        seeds = []
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"expected --seeds as different whole numbers from 0, received {','.join(values)!r}")
    return seeds


if __name__ == "__main__":
    console.run(main)
