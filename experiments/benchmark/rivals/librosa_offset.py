"""librosa: `librosa.load` with offset and duration."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.benchmark.rivals.threads import load_in_threads
from experiments.benchmark.workload import Workload


def decode_crops(work: Workload) -> Iterator[int]:
    """Decodes a crop of each file in as many threads as cores; yields 1 for each."""
    import librosa

    def load(path: str, offset: float) -> object:
        return librosa.load(path, sr=work.sample_rate_hz, offset=offset, duration=work.crop_seconds)

    yield from load_in_threads(load, work)
