"""The crops that every row of the benchmark decodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Workload:
    """The same for every row: random crops of these files.

    Attributes:
        paths: audio files, each decodable.
        sample_rate_hz: rate of the waveforms.
        crop_seconds: length of a crop.
        batch_size: crops a batch.
        rounds: how often each file occurs in a pass of a fast row.
    """

    paths: Sequence[str]
    sample_rate_hz: int
    crop_seconds: float
    batch_size: int
    rounds: int

    @property
    def crop_samples(self) -> int:
        """Length of a crop in samples."""
        return round(self.crop_seconds * self.sample_rate_hz)

    def crops(self, rounds: int) -> list[tuple[str, float]]:
        """(path, position 0...1) of each crop of a pass, shuffled."""
        rng = np.random.default_rng(0)
        paths = [*self.paths] * rounds
        return [(paths[i], float(rng.random())) for i in rng.permutation(len(paths))]
