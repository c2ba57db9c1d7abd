"""PyAV: FFmpeg's libraries seek, decode, mix to mono and resample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.benchmark.rivals.threads import load_in_threads
from experiments.benchmark.workload import Workload


def decode_crops(work: Workload) -> Iterator[int]:
    """Decodes a crop of each file in as many threads as cores; yields 1 for each."""
    import av

    def load(path: str, offset: float) -> object:
        resampler = av.AudioResampler("flt", "mono", work.sample_rate_hz)
        blocks, size = [], 0
        with av.open(path) as container:
            container.seek(int(offset * 1e6))
            for frame in container.decode(audio=0):
                for resampled in resampler.resample(frame):
                    blocks.append(resampled.to_ndarray())
                    size += resampled.samples
                if size >= work.crop_samples:
                    break
        return np.concatenate(blocks, axis=1)

    yield from load_in_threads(load, work)
