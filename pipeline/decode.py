"""From a file to a mono waveform at the model's sample rate: the only decoder by soundfile and soxr.

A crop costs a seek and a read of just its own seconds, so the time does not grow with the clip.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import soundfile
import soxr

from pipeline import mp3_frames

_HEAD_BYTES = 8192
_MAX_BUFFER = 1 << 22  # samples of a buffer that is kept: 16 MB

Buffers = dict[str, np.ndarray]
_idle_buffers: collections.deque[Buffers] = collections.deque()


class DecodeError(ValueError):
    """A file that holds no usable audio where it was asked for; the message is the reason, without the path."""


@dataclasses.dataclass(frozen=True)
class AudioInfo:
    """What a file's header says, with an MP3's length counted where the header does not give it.

    Attributes:
        sample_rate_hz: the file's own rate.
        channels: number of channels.
        samples: length in samples at that rate.
    """

    sample_rate_hz: int
    channels: int
    samples: int

    @property
    def duration_seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate_hz


def read_info(path: str | os.PathLike) -> AudioInfo:
    """Reads a file's rate, channels and length without decoding it.

    Raises:
        DecodeError: the file cannot be opened as audio.
    """
    with _open(path) as (sound, samples):
        return AudioInfo(sound.samplerate, sound.channels, samples)


def decode_crop(path: str | os.PathLike, sample_rate_hz: int, crop_samples: int, position: float = 0.0) -> np.ndarray:
    """Decodes one crop of a file: seek, read, mono, resample.

    Args:
        path: an audio file of any rate and number of channels that libsndfile reads.
        sample_rate_hz: rate of the returned waveform.
        crop_samples: length of the returned waveform in samples at `sample_rate_hz`; a clip that ends earlier is
            padded with zeros. 0 decodes the whole clip.
        position: where the crop starts, as a fraction of the possible starts: 0 is the beginning of the clip, 1 is
            as late as the crop still fits.

    Returns:
        float32 [crop_samples] (or [samples of the whole clip]), nominally in -1...1.

    Raises:
        DecodeError: nothing usable could be decoded.
    """
    with _open(path) as (sound, samples), _borrowed_buffers() as buffers:
        wanted = samples if crop_samples == 0 else min(samples, -(-crop_samples * sound.samplerate // sample_rate_hz))
        start = round(position * (samples - wanted))
        if start:
            sound.seek(start)
        mono = _read_mono(sound, start, wanted, buffers)
        if sound.samplerate == sample_rate_hz:
            waveform = mono.copy()
        else:
            waveform = soxr.resample(mono, sound.samplerate, sample_rate_hz)
    return fit_length(waveform, crop_samples) if crop_samples else waveform


def decode_blocks(path: str | os.PathLike, block_samples: int = 1 << 18) -> Iterator[np.ndarray]:
    """Decodes a whole file in blocks of mono float32 [<= block_samples] at the file's own rate.

    Raises:
        DecodeError: the file cannot be opened, breaks off, or holds no audio.
    """
    with _open(path) as (sound, samples):
        for start in range(0, samples, block_samples):
            yield _read_mono(sound, start, min(block_samples, samples - start), {})


def fit_length(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Trims a waveform [n], or pads it with zeros at its end, to [samples]."""
    if len(waveform) == samples:
        return waveform
    fitted = np.zeros(samples, np.float32)
    fitted[: len(waveform)] = waveform[:samples]
    return fitted


@contextmanager
def _open(path: str | os.PathLike) -> Iterator[tuple[soundfile.SoundFile, int]]:
    """Opens a file; yields it with its true number of samples. Every failure in the block becomes a DecodeError."""
    path = os.fspath(path)
    try:
        with soundfile.SoundFile(os.fsencode(path)) as sound:  # bytes: a name need not be text
            samples = sound.frames
            if sound.format != "MP3" or (counted := _counted_mp3_samples(path)) is None or counted == samples:
                yield sound, _positive(samples)
                return
            if counted < samples:
                yield sound, _positive(counted)
                return
        # libsndfile would stop early: show it the stream behind an Info frame that states the true length.
        with soundfile.SoundFile(_with_info_frame(path)) as sound:
            yield sound, _positive(sound.frames)
    except soundfile.LibsndfileError as error:
        raise DecodeError(_open_failure(path, error)) from error
    except (OSError, RuntimeError, TypeError) as error:
        raise DecodeError(f"cannot be read: {error}") from error


def _read_mono(sound: soundfile.SoundFile, start: int, wanted: int, buffers: Buffers) -> np.ndarray:
    """Reads [wanted] samples of mono from `start`, where the file stands, zero-padded within the tolerance.

    The array may be one of the buffers.
    """
    audio = sound.read(out=_buffer(buffers, "audio", wanted, sound.channels))  # [samples, channels]
    if len(audio) < wanted - mp3_frames.TRUNCATION_TOLERANCE_SECONDS * sound.samplerate or (
        start == 0 and len(audio) == 0
    ):
        decoded, promised = (start + len(audio)) / sound.samplerate, (start + wanted) / sound.samplerate
        raise DecodeError(f"truncated: no audio after {decoded:.2f} s where its header promises {promised:.2f} s")
    # Adding columns is several times faster than audio.mean(axis=1), which strides over pairs.
    mono = _buffer(buffers, "mono", len(audio), 1)[:, 0]
    np.add(audio[:, 0], audio[:, 1] if audio.shape[1] > 1 else 0, out=mono)
    for channel in range(2, audio.shape[1]):
        mono += audio[:, channel]
    if audio.shape[1] > 1:
        mono *= np.float32(1.0 / audio.shape[1])
    if not np.isfinite(mono.sum()):
        raise DecodeError("holds samples that are not finite numbers")
    return mono if len(mono) == wanted else fit_length(mono, wanted)


@contextmanager
def _borrowed_buffers() -> Iterator[Buffers]:
    """Lends buffers for one call: new pages for each crop would cost a fifth of its decoding.

    Not thread-local: a thread of TensorFlow's is a new one to Python at every call.
    """
    try:
        buffers = _idle_buffers.pop()
    except IndexError:
        buffers = {}
    try:
        yield buffers
    finally:
        _idle_buffers.append(buffers)


def _buffer(buffers: Buffers, name: str, samples: int, channels: int) -> np.ndarray:
    """A float32 array [samples, channels] of unknown contents, from the buffers unless it is very large."""
    size = samples * channels
    if size > _MAX_BUFFER:
        return np.empty((samples, channels), np.float32)
    if name not in buffers or len(buffers[name]) < size:
        buffers[name] = np.empty(size, np.float32)
    return buffers[name][:size].reshape(samples, channels)


def _open_failure(path: str, error: soundfile.LibsndfileError) -> str:
    if not os.path.exists(path):
        return "file not found"
    if os.path.getsize(path) == 0:
        return "empty file"
    # libsndfile 1.2 answers "File does not exist …" (code 7) for any MP3-like file in which it finds no frame.
    return "not recognised as audio" if error.code == 7 else f"not decodable: {error.error_string.rstrip('.')}"


def _positive(samples: int) -> int:
    if samples <= 0:
        raise DecodeError("holds no audio")
    return samples


@functools.lru_cache(maxsize=200_000)
def _counted_mp3_samples(path: str) -> int | None:
    """Counts an MP3's samples per channel from its frame headers; None where a Xing/Info frame already states them.

    Cached: the count reads the whole file, and a clip is cropped again in every epoch.
    """
    with open(path, "rb") as file:
        tag_bytes = mp3_frames.skip_id3v2(file.read(_HEAD_BYTES))
        file.seek(tag_bytes)
        head = file.read(_HEAD_BYTES)
        first = mp3_frames.find_frame(head, 0)
        if first is not None and mp3_frames.has_length_tag(head, *first):
            return None
        file.seek(tag_bytes)
        data = file.read()
    first = mp3_frames.find_frame(data, 0)
    return None if first is None else mp3_frames.count_frames(data, *first) * first[1].samples


def _with_info_frame(path: str) -> io.BytesIO:
    """Returns an MP3's bytes with an Info frame that states their true length in front."""
    with open(path, "rb") as file:
        data = file.read()
    first = mp3_frames.find_frame(data, mp3_frames.skip_id3v2(data))
    if first is None:
        raise DecodeError("changed while it was being read")
    offset, header = first
    frame_count = mp3_frames.count_frames(data, offset, header)
    return io.BytesIO(mp3_frames.info_frame(header, frame_count) + data[offset:])
