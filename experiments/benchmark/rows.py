"""What the benchmark compares: the limit, ours, and by name what users would pick instead. Each is one pass.

Imports nothing heavy before it is needed: the limit's worker processes import this module.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING

import soundfile

from experiments.benchmark import peers
from experiments.benchmark.workload import Workload

if TYPE_CHECKING:
    import tensorflow as tf


def limit_threads(work: Workload) -> Iterator[int]:
    """Plain soundfile seek + read on as many threads as cores: no mono, no resampling, nothing kept."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from _read_all(pool, work, chunk=1)


def limit_processes(work: Workload) -> Iterator[int]:
    """The same in as many processes."""
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("forkserver")) as pool:
        yield from _read_all(pool, work, chunk=8)


def our_dataset(work: Workload, decoder: str, rounds: int, crop_seconds: float) -> tf.data.Dataset:
    """`train_dataset`: decoded, mono, resampled, batched."""
    from pipeline.dataset import train_dataset
    from pipeline.failures import FailureLedger

    return train_dataset(
        work.paths,
        [0] * len(work.paths),
        FailureLedger(len(work.paths)),
        sample_rate_hz=work.sample_rate_hz,
        crop_seconds=crop_seconds,
        crops_per_clip=rounds,
        batch_size=work.batch_size,
        decoder=decoder,
    )


def ours(work: Workload, decoder: str, rounds: int, crop_seconds: float) -> Iterator[int]:
    """Pulls every batch."""
    for waveform, _ in our_dataset(work, decoder, rounds, crop_seconds):
        yield len(waveform)


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the benchmark.

    Attributes:
        start: begins a pass.
        package: what must be installed for it, if anything.
        is_peer: whether it is another's way.
        has_workers: whether other processes do its work.
        whole_clips: whether it decodes whole clips rather than crops.
    """

    start: Callable[[Workload], Iterator[int]]
    package: str = ""
    is_peer: bool = False
    has_workers: bool = False
    whole_clips: bool = False

    @property
    def missing(self) -> str:
        """What must be installed before it can be measured; empty if nothing."""
        if self.package and importlib.util.find_spec(self.package) is None:
            return self.package
        if self.package == "audioread" and not peers.audioread_has_ffmpeg():
            return "the ffmpeg command"
        return ""


ROWS = {
    "limit_threads": Row(limit_threads),
    "limit_processes": Row(limit_processes, has_workers=True),
    "ours_soundfile": Row(lambda work: ours(work, "soundfile", work.rounds, work.crop_seconds)),
    "ours_tfio": Row(lambda work: ours(work, "tfio", 1, work.crop_seconds), "tensorflow_io"),
    "ours_soundfile_whole": Row(lambda work: ours(work, "soundfile", 1, 0.0), whole_clips=True),
    "ours_tfio_whole": Row(lambda work: ours(_few(work), "tfio", 1, 0.0), "tensorflow_io", whole_clips=True),
    "torch_dataloader": Row(peers.torch_dataloader, "torch", is_peer=True, has_workers=True),
    "librosa_offset": Row(peers.librosa_offset, "librosa", is_peer=True),
    "torchcodec_range": Row(peers.torchcodec_range, "torchcodec", is_peer=True),
    "ffmpeg_pyav": Row(peers.ffmpeg_pyav, "av", is_peer=True),
    "audioread_from_start": Row(peers.audioread_from_start, "audioread", is_peer=True, has_workers=True),
    "study_librosa": Row(peers.study_librosa, "librosa", is_peer=True, whole_clips=True),
    "tfio_tutorial": Row(peers.tfio_tutorial, "tensorflow_io", is_peer=True),
}


def _few(work: Workload) -> Workload:
    """Four batches, for a slow row."""
    return dataclasses.replace(work, paths=work.paths[: 4 * work.batch_size])


def _read_all(pool: Executor, work: Workload, chunk: int) -> Iterator[int]:
    read = functools.partial(_read_crop, work.crop_seconds)
    for _ in pool.map(read, work.crops(work.rounds), chunksize=chunk):
        yield 1


def _read_crop(crop_seconds: float, crop: tuple[str, float]) -> int:
    path, position = crop
    with soundfile.SoundFile(path) as sound:
        samples = round(crop_seconds * sound.samplerate)
        sound.seek(int(position * max(0, sound.frames - samples)))
        return len(sound.read(samples, dtype="float32", always_2d=True))
