"""What the benchmark compares: the limit, ours, and what users would pick instead. Each is one pass over the clips.

Imports nothing heavy before it is needed: the limit's worker processes import this module.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import soundfile


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

    def crops(self, rounds: int) -> list[tuple[str, float]]:
        """(path, position 0...1) of each crop of a pass, shuffled."""
        rng = np.random.default_rng(0)
        paths = [*self.paths] * rounds
        return [(paths[i], float(rng.random())) for i in rng.permutation(len(paths))]


def limit_threads(work: Workload) -> Iterator[int]:
    """Plain soundfile seek + read on as many threads as cores: no mono, no resampling, nothing kept."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from _read_all(pool, work, chunk=1)


def limit_processes(work: Workload) -> Iterator[int]:
    """The same in as many processes."""
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("forkserver")) as pool:
        yield from _read_all(pool, work, chunk=8)


def ours(work: Workload, decoder: str, rounds: int, crop_seconds: float) -> Iterator[int]:
    """`train_dataset`: decoded, mono, resampled, batched."""
    from pipeline.dataset import train_dataset
    from pipeline.failures import FailureLedger

    dataset = train_dataset(
        work.paths,
        [0] * len(work.paths),
        FailureLedger(len(work.paths)),
        sample_rate_hz=work.sample_rate_hz,
        crop_seconds=crop_seconds,
        crops_per_clip=rounds,
        batch_size=work.batch_size,
        decoder=decoder,
    )
    for waveform, _ in dataset:
        yield len(waveform)


def librosa_offset(work: Workload) -> Iterator[int]:
    """`librosa.load` with offset and duration in as many threads as cores."""
    import librosa

    def load(crop: tuple[str, float]) -> np.ndarray:
        path, position = crop
        offset = position * max(0.0, soundfile.info(path).duration - work.crop_seconds)
        return librosa.load(path, sr=work.sample_rate_hz, offset=offset, duration=work.crop_seconds)[0]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(load, work.crops(1)):
            yield 1


def study_librosa(work: Workload) -> Iterator[int]:
    """The study's conversion: `librosa.load` of the whole clip and its log-mel spectrogram, one clip after another."""
    import librosa

    for path in work.paths[:16]:
        waveform, _ = librosa.load(path, sr=work.sample_rate_hz)
        mel = librosa.feature.melspectrogram(y=waveform, sr=work.sample_rate_hz, n_fft=2048, hop_length=512, n_mels=128)
        librosa.power_to_db(mel, ref=np.max)
        yield 1


def tfio_tutorial(work: Workload) -> Iterator[int]:
    """tensorflow-io's way: decode the whole MP3, resample with its op, then crop. Files that it refuses are left out."""
    import tensorflow as tf

    from pipeline.mp3_graph import load_ops

    ops = load_ops()
    crop = round(work.crop_seconds * work.sample_rate_hz)

    def load(path: tf.Tensor, rate_hz: tf.Tensor) -> tf.Tensor:
        audio = ops.io_audio_decode_mp3(tf.io.read_file(path), shape=tf.constant([-1, -1], tf.int64))
        audio = ops.io_audio_resample(audio, rate_hz, work.sample_rate_hz)
        return tf.image.random_crop(tf.reduce_mean(audio, axis=1), [crop])

    paths = list(work.paths[:16])
    rates = [soundfile.info(path).samplerate for path in paths]
    dataset = tf.data.Dataset.from_tensor_slices((paths, tf.constant(rates, tf.int64)))
    for _ in dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors():
        yield 1


def torch_dataloader(work: Workload) -> Iterator[int]:
    """A PyTorch `DataLoader` with two workers over soundfile and soxr."""
    from torch.utils.data import DataLoader

    crops = work.crops(work.rounds)
    loader = DataLoader(_TorchCrops(work, crops), batch_size=work.batch_size, num_workers=2)  # type: ignore[arg-type]
    for batch in loader:
        yield len(batch)


class _TorchCrops:
    """What `DataLoader` takes for a data set."""

    def __init__(self, work: Workload, crops: list[tuple[str, float]]):
        self.work, self.crops = work, crops

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, i: int) -> np.ndarray:
        from pipeline.decode import decode_crop

        path, position = self.crops[i]
        return decode_crop(
            path, self.work.sample_rate_hz, round(self.work.crop_seconds * self.work.sample_rate_hz), position
        )


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the benchmark.

    Attributes:
        start: begins a pass.
        package: what must be installed for it, if anything.
        is_peer: whether it is another's way.
        has_workers: whether other processes do its work.
    """

    start: Callable[[Workload], Iterator[int]]
    package: str = ""
    is_peer: bool = False
    has_workers: bool = False

    @property
    def is_installed(self) -> bool:
        """Whether its package is there."""
        return not self.package or importlib.util.find_spec(self.package) is not None


ROWS = {
    "limit_threads": Row(limit_threads),
    "limit_processes": Row(limit_processes, has_workers=True),
    "ours_soundfile": Row(lambda work: ours(work, "soundfile", work.rounds, work.crop_seconds)),
    "ours_tfio": Row(lambda work: ours(work, "tfio", 1, work.crop_seconds), "tensorflow_io"),
    "ours_soundfile_whole": Row(lambda work: ours(work, "soundfile", 1, 0.0)),
    "torch_dataloader": Row(torch_dataloader, "torch", is_peer=True, has_workers=True),
    "librosa_offset": Row(librosa_offset, "librosa", is_peer=True),
    "study_librosa": Row(study_librosa, "librosa", is_peer=True),
    "tfio_tutorial": Row(tfio_tutorial, "tensorflow_io", is_peer=True),
}


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
