"""Trains a music classifier straight from MP3s, keeps the best epoch by validation loss, and evaluates it.

    python -m experiments.train --dataset=fma --data_dir=/data/fma --subset=small --genres=Rock,Hip-Hop \\
        --output_dir=runs/rock_hiphop

Decoding, features and network run together: nothing is converted beforehand, so a change of --n_mels or
--sample_rate_hz costs nothing. The defaults suit small data sets and take a few minutes on two CPU cores for a
hundred clips. Stop it with Ctrl-C whenever you like: the same command goes on after the last finished epoch.

The run directory then holds settings.json, model.keras (best epoch), history.csv, curves.png, confusion_matrix.png,
predictions.csv, failures.csv (files that could not be decoded), metrics.json and TensorBoard logs. Of the baselines
without a network, --model=mfcc_logistic and --model=mfcc_svm, there is baseline.json instead of model, history and curves.
"""

import dataclasses

from absl import flags

from experiments import console, settings_flags
from experiments.flag_types import define_path

settings_flags.define_flags("data", "features", "training")
_OUTPUT_DIR = define_path("output_dir", "runs/latest", "Run directory: new, or an earlier run to continue.")


def main(argv: list[str]) -> None:
    del argv
    settings = settings_flags.settings_from_flags(flags.FLAGS)
    # TensorFlow takes seconds to import: not before --help, nor before a mistake in a flag.
    from experiments.builders.model_settings import settings_for_model
    from experiments.evaluation import evaluation
    from experiments.runs.run import Run
    from experiments.training import baselines, loop

    settings = settings_for_model(settings, settings_flags.given(flags.FLAGS))
    run = Run(_OUTPUT_DIR.value)
    if not flags.FLAGS["decoder"].present and run.path("settings.json").exists():
        # The default was another one once: a run goes on as it began.
        settings = dataclasses.replace(settings, decoder=run.settings.decoder)
    train = baselines.train_baseline if settings.model in baselines.BASELINES else loop.train
    metrics = train(settings, _OUTPUT_DIR.value)
    for split, scores in metrics.items():
        print(evaluation.format_metrics(split, scores))
    print(f"plots in {_OUTPUT_DIR.value}")


if __name__ == "__main__":
    console.run(main)
