"""torchcodec: its decoder (FFmpeg) of a range of seconds, to mono and resampled."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.benchmark.rivals.threads import load_in_threads
from experiments.benchmark.workload import Workload


def decode_crops(work: Workload) -> Iterator[int]:
    """Decodes a crop of each file in as many threads as cores; yields 1 for each."""
    from torchcodec.decoders import AudioDecoder

    def load(path: str, offset: float) -> object:
        decoder = AudioDecoder(path, sample_rate=work.sample_rate_hz, num_channels=1)
        return decoder.get_samples_played_in_range(offset, offset + work.crop_seconds)

    yield from load_in_threads(load, work)
