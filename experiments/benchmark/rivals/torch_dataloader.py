"""PyTorch: a `DataLoader` with two workers over soundfile and soxr."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import soundfile

from experiments.benchmark.workload import Workload


def decode_crops(work: Workload) -> Iterator[int]:
    """Decodes random crops of all files in two processes; yields the size of each batch."""
    from torch.utils.data import DataLoader

    crops = _Crops(work, work.crops(work.rounds))
    loader = DataLoader(crops, batch_size=work.batch_size, num_workers=2)  # type: ignore[arg-type]
    for batch in loader:
        yield len(batch)


class _Crops:
    """What `DataLoader` takes for a data set."""

    def __init__(self, work: Workload, crops: list[tuple[str, float]]):
        self.work, self.crops = work, crops

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, i: int) -> np.ndarray:
        import soxr

        path, position = self.crops[i]
        with soundfile.SoundFile(path) as sound:
            samples = round(self.work.crop_seconds * sound.samplerate)
            sound.seek(int(position * max(0, sound.frames - samples)))
            audio = sound.read(samples, dtype="float32", always_2d=True)
            waveform = soxr.resample(sum(audio.T) / sound.channels, sound.samplerate, self.work.sample_rate_hz)
        fitted = np.zeros(self.work.crop_samples, np.float32)
        fitted[: len(waveform)] = waveform[: len(fitted)]
        return fitted
