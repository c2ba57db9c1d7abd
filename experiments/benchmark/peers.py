"""What users would pick instead of this pipeline, each as one pass over the benchmark's crops.

Every one needs a package of its own, which it imports when it is started.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import soundfile

from experiments.benchmark.workload import Workload


def librosa_offset(work: Workload) -> Iterator[int]:
    """`librosa.load` with offset and duration in as many threads as cores."""
    import librosa

    def load(path: str, offset: float) -> object:
        return librosa.load(path, sr=work.sample_rate_hz, offset=offset, duration=work.crop_seconds)

    yield from _in_threads(load, work)


def torchcodec_range(work: Workload) -> Iterator[int]:
    """torchcodec's decoder (FFmpeg) of a range of seconds, to mono and resampled, in as many threads as cores."""
    from torchcodec.decoders import AudioDecoder

    def load(path: str, offset: float) -> object:
        decoder = AudioDecoder(path, sample_rate=work.sample_rate_hz, num_channels=1)
        return decoder.get_samples_played_in_range(offset, offset + work.crop_seconds)

    yield from _in_threads(load, work)


def ffmpeg_pyav(work: Workload) -> Iterator[int]:
    """FFmpeg's libraries by PyAV: seek, decode, mono, resample, in as many threads as cores."""
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

    yield from _in_threads(load, work)


def audioread_from_start(work: Workload) -> Iterator[int]:
    """audioread (the ffmpeg command): it cannot seek, so every crop is decoded from the beginning of its clip."""
    import audioread

    def load(path: str, offset: float) -> object:
        with audioread.audio_open(path) as sound:
            wanted = int((offset + work.crop_seconds) * sound.samplerate) * sound.channels * 2  # bytes of int16
            blocks, size = [], 0
            for block in sound:
                blocks.append(block)
                size += len(block)
                if size >= wanted:
                    break
        return b"".join(blocks)

    yield from _in_threads(load, dataclasses.replace(work, paths=work.paths[:16]))


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

    from pipeline.decoding.tfio_decoder import load_ops

    ops = load_ops()

    def load(path: tf.Tensor, rate_hz: tf.Tensor) -> tf.Tensor:
        audio = ops.io_audio_decode_mp3(tf.io.read_file(path), shape=tf.constant([-1, -1], tf.int64))
        audio = ops.io_audio_resample(audio, rate_hz, work.sample_rate_hz)
        return tf.image.random_crop(tf.reduce_mean(audio, axis=1), [work.crop_samples])

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


def audioread_has_ffmpeg() -> bool:
    """Whether the ffmpeg command is there, by which audioread (which must be) decodes MP3s."""
    from audioread import ffdec

    return bool(ffdec.available())


def _in_threads(load: Callable[[str, float], object], work: Workload) -> Iterator[int]:
    """Loads a crop of each file by (path, offset in seconds) in as many threads as cores."""

    def load_crop(crop: tuple[str, float]) -> None:
        path, position = crop
        load(path, position * max(0.0, soundfile.info(path).duration - work.crop_seconds))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(load_crop, work.crops(1)):
            yield 1
