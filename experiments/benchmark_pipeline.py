"""Measures how many clips a second the pipeline decodes, against the limit of the machine and against alternatives.

    python -m experiments.benchmark_pipeline --dataset=fma --data_dir=/data/fma --peers --output_dir=benchmark

Random crops of real files, every row in turn and several times over; medians. `limit` is a plain seek and read by
libsndfile on all cores. A minute or two for a hundred clips on two cores, three with --peers. Prints a table and writes
benchmark.json and benchmark.png.
"""

from pathlib import Path

from absl import flags

from experiments import console, settings

settings.define_flags("data")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "benchmark", "Where benchmark.json and benchmark.png go.")
_PEERS = flags.DEFINE_bool("peers", False, "Also measure what could be used instead; each needs its package.")
_SAMPLE_RATE_HZ = flags.DEFINE_integer("sample_rate_hz", 22050, "Sample rate of the waveforms in Hz.")
_CROP_SECONDS = flags.DEFINE_float("crop_seconds", 5.0, "Length of a crop in seconds.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Crops a batch.")
_CLIPS = flags.DEFINE_integer("clips", 200, "Clips at most, spread over the data set.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 4, "How often each clip occurs in a pass of a fast row.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Passes of each row, of which the median counts.", lower_bound=1)


def main(argv: list[str]) -> None:
    del argv
    from experiments import benchmark
    from experiments.data import load_catalog

    tracks = load_catalog(settings.settings_from_flags(flags.FLAGS)).tracks
    step = max(1, len(tracks) // _CLIPS.value)
    benchmark.run_benchmark(
        tracks["path"].tolist()[::step][: _CLIPS.value],
        Path(_OUTPUT_DIR.value),
        sample_rate_hz=_SAMPLE_RATE_HZ.value,
        crop_seconds=_CROP_SECONDS.value,
        batch_size=_BATCH_SIZE.value,
        rounds=_ROUNDS.value,
        repeats=_REPEATS.value,
        with_peers=_PEERS.value,
    )
    print(f"written to {_OUTPUT_DIR.value}")


if __name__ == "__main__":
    console.run(main, resumable=False)
