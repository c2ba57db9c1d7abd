"""Trains several models with several seeds on the same data with the same settings, and compares them.

    python -m experiments.compare_models --dataset=fma --data_dir=/data/fma --subset=small \\
        --models=cnn2d,cnn2d_bn,mfcc_logistic,mfcc_svm --seeds=0,1,2 --output_dir=comparisons/fma_small

With --folds=6 every clip is predicted once, by a model that has never heard its artist: artists are drawn into 6 folds,
alike in labels (scikit-learn's StratifiedGroupKFold, by the first of --seeds), and each model is trained with each seed
on each fold's table, <output_dir>/folds/fold<f>.csv. There test is the fold, and validation about a fifth of the others
(one of folds - 1 parts; at least a sixth, at most half), of other artists than training, in which every label stays. The
data set's own splits do not count. --folds=artist makes each artist a fold. This says more of a few hundred clips than
one split of a few artists, and takes as many times as long.

With --sweep=n_mels=64,96 or --sweep=frontend=log_mel,pcen every model is trained with each value: nothing has to be
converted for it. Takes as long as that many runs of experiments.train; every run is one of those, in <output_dir>/runs. Interrupt it
whenever you like: the same command goes on, and finished runs are not trained again. mfcc_logistic and mfcc_svm are
baselines without a network (statistics of MFCCs), which have no seed.

Writes comparison.csv (a row a model: means and sample standard deviations over seeds, intervals by bootstrap over the
test clips, paired differences to the first model, parameters, training time without validation, time for a crop of 5 s
on the CPU), cells.csv (a row a run) and comparison.png. Balanced accuracy is the mean recall of the labels.

With --folds the scores of comparison.csv are those of all folds' test clips together, for each seed; intervals and
differences are by bootstrap over artists, since clips of one artist are not independent; training time is that of all
folds; and there are the columns folds, artists and error (which says that a fold failed: then that seed has no score).
cells.csv has the column fold. out_of_fold.csv has what each model and seed says of each clip (model, seed, fold,
track_id, path, label, artist, album, title, predicted, probability_<label>), and confusion_<model>.png shows it.
"""

import sys
from pathlib import Path
from typing import Any

from absl import flags

from experiments import console, settings_flags
from experiments.comparison.fold_number import parse_folds
from experiments.flag_types import define_path
from experiments.settings import fields
from pipeline.storage.folder_lock import locked_folder

settings_flags.define_flags("data", "features", "training")
_MODELS = flags.DEFINE_list("models", None, "Names of models; the first is what the others are compared with.")
_SEEDS = flags.DEFINE_list("seeds", "0,1,2", "Seeds, instead of --seed.")
_SWEEP = flags.DEFINE_string(
    "sweep", "", "A setting and its values, such as n_mels=64,96,128 or frontend=log_mel,pcen: every model with each."
)
_FOLDS = flags.DEFINE_string(
    "folds", "", "Cross-validation by artist: a number of folds from 2 to 100, or artist (each artist is a fold)."
)
_OUTPUT_DIR = define_path("output_dir", "comparisons/latest", "Where runs and comparison go.")


def main(argv: list[str]) -> None:
    del argv
    seeds = _parse_seeds(_SEEDS.value)
    for name, instead in (("model", "models"), ("seed", "seeds")):
        if flags.FLAGS[name].present:
            raise ValueError(f"expected --{instead}, received --{name}; a comparison has several")
    sweep = _parse_sweep(_SWEEP.value) if _SWEEP.value else None
    number = parse_folds(_FOLDS.value) if _FOLDS.value else None
    import tensorflow as tf

    from experiments.comparison import comparison, folds, trials

    tf.config.set_visible_devices([], "GPU")  # it belongs to the runs; latency is measured on the CPU
    models = [name.strip() for name in _MODELS.value or ()]
    output_dir = Path(_OUTPUT_DIR.value)
    trials.check_models(models)
    settings = settings_flags.settings_from_flags(flags.FLAGS)
    output_dir.mkdir(parents=True, exist_ok=True)
    with locked_folder(output_dir, "comparison", "let it end, stop it, or choose another --output_dir"):
        folds.check_output_dir(output_dir, with_folds=number is not None)
        if number is None:
            settings, tables = trials.fix_splits(settings, seeds, output_dir), []
        else:
            tables = folds.write_folds(settings, number, seeds[0], output_dir)
        # Other features are those of the models that can have them.
        given = [name for name in settings_flags.given(flags.FLAGS) if name == "crop_seconds"]
        every = trials.list_trials(settings, models, seeds, output_dir, sweep, tables, given)
        failed = trials.run_trials(every)
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
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**32:
        raise ValueError(
            f"expected --seeds as different whole numbers from 0 to 2^32 - 1, received {','.join(values)!r}"
        )
    return seeds


def _parse_sweep(text: str) -> tuple[str, list[Any]]:
    name, _, values = text.partition("=")
    name = name.strip()
    if name not in fields("features", "training") or name in ("model", "seed"):
        raise ValueError(
            f"expected --sweep as one of this script's settings and its values, received {text!r}; see --help"
        )
    parser = flags.FLAGS[name].parser
    try:
        parsed = [parser.parse(value.strip()) for value in values.split(",")]
    except (ValueError, flags.Error) as error:
        raise ValueError(
            f"expected --sweep=NAME=VALUE,VALUE,… with values of --{name}, received {text!r}: {error}"
        ) from None
    if len(set(parsed)) < len(parsed):
        raise ValueError(f"expected different values in --sweep, received {text!r}")
    return name, parsed


if __name__ == "__main__":
    console.run(main)
