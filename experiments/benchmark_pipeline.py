"""Measures how many clips a second the pipeline decodes, against the limit of the machine and against alternatives.

    python -m experiments.benchmark_pipeline --dataset=fma --data_dir=/data/fma --peers --stages --train_step

Random crops of real files, every row in turn and several times over; medians. `limit` is a plain seek and read by
libsndfile on all cores. --stages shows where a crop's time goes, --train_step whether training waits for data and
what would help. A minute or two for a hundred clips on two cores, five with everything. Prints tables and writes
benchmark.json and benchmark.png (and stages.png).
"""

from pathlib import Path

from absl import flags

from experiments import console, settings_flags
from experiments.flag_types import define_number, define_path

settings_flags.define_flags("data", "features", "training")
_OUTPUT_DIR = define_path("output_dir", "benchmark", "Where benchmark.json and benchmark.png go.")
_PEERS = flags.DEFINE_bool("peers", False, "Also measure what could be used instead; each needs its package.")
_STAGES = flags.DEFINE_bool("stages", False, "Also measure each stage: read, decode, mono, resample … training step.")
_TRAIN_STEP = flags.DEFINE_bool(
    "train_step", False, "Also train: does a step wait for data, and how long does the first epoch take?"
)
_CLIPS = define_number("clips", 200, "Clips at most, spread over the data set.", minimum=1, limit=1_000_000)
_ROUNDS = define_number("rounds", 4, "How often each clip occurs in a pass of a fast row.", minimum=1, limit=10_000)
_REPEATS = define_number("repeats", 5, "Passes of each row, of which the median counts.", minimum=1, limit=10_000)


def main(argv: list[str]) -> None:
    del argv
    from experiments.benchmark.benchmark import Plan, run_benchmark
    from experiments.builders.data import load_catalog

    settings = settings_flags.settings_from_flags(flags.FLAGS)
    plan = Plan(
        clips=_CLIPS.value,
        rounds=_ROUNDS.value,
        repeats=_REPEATS.value,
        rivals=_PEERS.value,
        stages=_STAGES.value,
        train_step=_TRAIN_STEP.value,
    )
    run_benchmark(load_catalog(settings), settings, Path(_OUTPUT_DIR.value), plan)
    print(f"written to {_OUTPUT_DIR.value}")


if __name__ == "__main__":
    console.run(main, resumable=False)
