"""Evaluates a finished run's best model again, on its own data set or on another.

    python -m experiments.evaluate --run_dir=runs/rock_hiphop --split=test
    python -m experiments.evaluate --run_dir=runs/rock_hiphop --dataset=folders --data_dir=/my/music --split=all

The data flags that are not given are the run's own. The labels must be among those that the model knows. Writes
metrics.json, predictions.csv, confusion_matrix.png and failures.csv to --output_dir.
"""

import dataclasses
from pathlib import Path

from absl import flags

from experiments import console, settings, settings_flags
from experiments.flag_types import define_path

settings_flags.define_flags("data")
_RUN_DIR = define_path("run_dir", "runs/latest", "Run directory that train wrote.")
_SPLIT = flags.DEFINE_enum("split", "test", ("training", "validation", "test", "all"), "Clips to evaluate.")
_OUTPUT_DIR = define_path("output_dir", None, "Where to write; default: <run_dir>/evaluation_<split>.")


def main(argv: list[str]) -> None:
    del argv
    from experiments.evaluation import evaluation
    from experiments.runs.run import Run

    run_dir = Path(_RUN_DIR.value)
    given = {
        field.name: getattr(settings_flags.settings_from_flags(flags.FLAGS), field.name)
        for field in dataclasses.fields(settings.Settings)
        if field.name in flags.FLAGS and flags.FLAGS[field.name].present
    }
    run_settings = dataclasses.replace(Run(run_dir).settings, **given)
    output_dir = Path(_OUTPUT_DIR.value or run_dir / f"evaluation_{_SPLIT.value}")
    metrics = evaluation.evaluate_run(run_dir, run_settings, _SPLIT.value, output_dir)
    print(evaluation.format_metrics(_SPLIT.value, metrics))
    print(f"written to {output_dir}")


if __name__ == "__main__":
    console.run(main)
