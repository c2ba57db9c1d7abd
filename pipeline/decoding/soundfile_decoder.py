"""From a file to a mono waveform at the model's sample rate: the only decoder by soundfile and soxr.

A crop costs a seek and a read of just its own seconds. In an MP3 the seek takes no time, whatever the length of the file;
that of a variable bit rate is read through once before.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr

from pipeline.decoding.buffers import Scratch, borrowed_scratch
from pipeline.mp3 import excerpt as mp3_excerpt
from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3 import length as mp3_length
from pipeline.storage.clips import clip_size, clip_version, find_place, open_clip

# Of a crop: open, seek or bytes; libsndfile; sum of the channels; rate, mean and check.
STAGES = ("read", "decode", "mono", "resample")
Lap = Callable[[str], object]
# A longer clip in a shard is read through calls back into Python, which wait for its lock, but only where it is needed.
_MAX_IN_MEMORY_BYTES = 1 << 24


def _no_lap(stage: str) -> None:
    """Measures nothing."""


class DecodeError(ValueError):
    """A file that holds no usable audio where it was asked for; the message is the reason, without the path."""


@dataclasses.dataclass(frozen=True, slots=True)
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


def read_info(path: str | os.PathLike[str]) -> AudioInfo:
    """Reads a file's rate, channels and length without decoding it.

    Raises:
        DecodeError: the file cannot be opened as audio.
    """
    with _open(path) as (sound, samples):
        return AudioInfo(sound.samplerate, sound.channels, samples)


def decode_crop(
    path: str | os.PathLike[str],
    sample_rate_hz: int,
    crop_samples: int,
    position: float = 0.0,
    lap: Lap = _no_lap,
) -> np.ndarray:
    """Decodes one crop of a file: seek, read, mono, resample.

    Args:
        path: an audio file of any rate and number of channels that libsndfile reads, or its place in a record shard.
        sample_rate_hz: rate of the returned waveform.
        crop_samples: length of the returned waveform in samples at `sample_rate_hz`; a clip that ends earlier is
            padded with zeros. 0 decodes the whole clip.
        position: where the crop starts, as a fraction of the possible starts: 0 is the beginning of the clip, 1 is
            as late as the crop still fits.
        lap: called with the name of each of `STAGES` as it ends, for measurements.

    Returns:
        float32 [crop_samples] (or [samples of the whole clip]), nominally in -1...1.

    Raises:
        DecodeError: nothing usable could be decoded.
    """
    crop = _Crop(os.fspath(path), sample_rate_hz, crop_samples, position, lap)
    with borrowed_scratch() as scratch:
        total, info = _read_excerpt(crop, scratch) or _read_crop(crop, scratch)
        if info.sample_rate_hz != sample_rate_hz:
            total = soxr.resample(total, info.sample_rate_hz, sample_rate_hz)
        waveform = _mean(total, info.channels)
        lap("resample")
    return fit_length(waveform, crop_samples) if crop_samples else waveform


def decode_blocks(path: str | os.PathLike[str], block_samples: int = 1 << 18) -> Iterator[np.ndarray]:
    """Decodes a whole file in blocks of mono float32 [<= block_samples] at the file's own rate.

    soundfile seeks after each block, and libmpg123's seek may spoil a frame of an MP3 of variable bit rate
    (`pipeline.mp3.excerpt`): for lengths and checks, not for features.

    Raises:
        DecodeError: the file cannot be opened, breaks off, or holds no audio.
    """
    with _open(path) as (sound, samples):
        for start in range(0, samples, block_samples):
            total = _read_sum(sound, start, min(block_samples, samples - start), Scratch(), _no_lap)
            yield _mean(total, sound.channels)


def fit_length(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Trims a waveform [n], or pads it with zeros at its end, to [samples]."""
    if len(waveform) == samples:
        return waveform
    fitted = np.zeros(samples, np.float32)
    fitted[: len(waveform)] = waveform[:samples]
    return fitted


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[tuple[soundfile.SoundFile, int]]:
    """Opens a file; yields it with its true number of samples. Every failure in the block becomes a DecodeError."""
    path = os.fspath(path)
    try:
        with _open_sound(path) as sound:
            samples = sound.frames
            counted = mp3_length.counted_samples(path, *clip_version(path)) if sound.format == "MP3" else samples
            if counted is None:
                yield sound, _credible(samples, sound.samplerate, path)
                return
            if counted <= samples:
                yield sound, _positive(counted)
                return
        # libsndfile would stop early: show it the stream behind an Info frame that states the true length.
        with soundfile.SoundFile(mp3_length.with_info_frame(path)) as sound:
            yield sound, _positive(sound.frames)
    except soundfile.LibsndfileError as error:
        raise DecodeError(_open_failure(path, error)) from error
    except FileNotFoundError as error:
        raise DecodeError("file not found") from error
    except (OSError, RuntimeError, TypeError, MemoryError) as error:
        raise DecodeError(f"cannot be read: {error}") from error


@contextmanager
def _open_sound(path: str) -> Iterator[soundfile.SoundFile]:
    """Opens a clip as libsndfile would its file, wherever its bytes are."""
    if find_place(path) is None:
        with soundfile.SoundFile(os.fsencode(path)) as sound:  # bytes: a name need not be text
            yield sound
        return
    with open_clip(path) as file, borrowed_scratch() as scratch:
        in_memory = file.size <= _MAX_IN_MEMORY_BYTES
        try:
            sound = soundfile.SoundFile(scratch.file_of([file.read()]) if in_memory else file, closefd=False)
        except soundfile.LibsndfileError:
            # Where the contents leave doubt, as of an MP3 behind junk, libsndfile goes by the name.
            file.seek(0)
            with scratch.named_file([file.read()], Path(path).suffix) as name:
                sound = soundfile.SoundFile(name)
        with sound:
            yield sound


@dataclasses.dataclass(frozen=True)
class _Crop:
    """The arguments of `decode_crop`."""

    path: str
    sample_rate_hz: int
    crop_samples: int
    position: float
    lap: Lap

    def place(self, info: AudioInfo) -> tuple[int, int]:
        """Where it starts and how long it is, in samples of the file."""
        wanted = min(info.samples, -(-self.crop_samples * info.sample_rate_hz // self.sample_rate_hz)) or info.samples
        return round(self.position * (info.samples - wanted)), wanted


def _read_crop(crop: _Crop, scratch: Scratch) -> tuple[np.ndarray, AudioInfo]:
    """Reads a crop by libsndfile's own seek: the sum of its channels [samples], in scratch memory."""
    with _open(crop.path) as (sound, samples):
        info = AudioInfo(sound.samplerate, sound.channels, samples)
        start, wanted = crop.place(info)
        if start:
            sound.seek(start)
        crop.lap("read")
        return _read_sum(sound, start, wanted, scratch, crop.lap), info


def _read_excerpt(crop: _Crop, scratch: Scratch) -> tuple[np.ndarray, AudioInfo] | None:
    """The same from an MP3 of which only the crop's bytes are read; None where that cannot be."""
    known = _seekable(crop.path, *clip_version(crop.path)) if crop.crop_samples else None
    if known is None:
        return None
    mp3, info = known
    start, wanted = crop.place(info)
    try:
        cut = mp3.cut(crop.path, start, wanted)
        if cut is None:
            return None
        data, first = cut
        with soundfile.SoundFile(scratch.file_of(data), closefd=False) as sound:
            if sound.channels != info.channels:
                return None
            crop.lap("read")
            return _read_sum(sound, start, wanted, scratch, crop.lap, skip=start - first), info
    except (OSError, RuntimeError, DecodeError):
        return None  # whatever is wrong, the file itself will say it better


def _read_sum(
    sound: soundfile.SoundFile, start: int, wanted: int, scratch: Scratch, lap: Lap, skip: int = 0
) -> np.ndarray:
    """Reads the sum of the channels, float32 [wanted], from where the file stands, zero-padded within the tolerance.

    The array may be scratch memory. `start` is the place in the whole clip; so many samples before it are skipped.
    """
    audio = sound.read(out=scratch.array("audio", skip + wanted, sound.channels))[skip:]  # [samples, channels]
    lap("decode")
    if len(audio) < wanted - mp3_frames.TRUNCATION_TOLERANCE_SECONDS * sound.samplerate or (
        start == 0 and len(audio) == 0
    ):
        decoded, promised = (start + len(audio)) / sound.samplerate, (start + wanted) / sound.samplerate
        raise DecodeError(f"truncated: no audio after {decoded:.2f} s where its header promises {promised:.2f} s")
    total = audio[:, 0]
    # Adding columns is several times faster than audio.mean(axis=1), which strides over pairs.
    for channel in range(1, audio.shape[1]):
        total = np.add(total, audio[:, channel], out=scratch.array("sum", len(audio), 1)[:, 0])
    lap("mono")
    return total if len(total) == wanted else fit_length(total, wanted)


def _mean(total: np.ndarray, channels: int) -> np.ndarray:
    """The mean of the channels as a new array, from their sum; checked."""
    waveform = total * np.float32(1 / channels)
    if not np.isfinite(waveform.sum()):
        raise DecodeError("holds samples that are not finite numbers")
    return waveform


@functools.lru_cache(maxsize=200_000)
def _seekable(path: str, *version: int) -> tuple[mp3_excerpt.SeekableMp3, AudioInfo] | None:
    """Describes an MP3. Cached, by the file's version too: it costs as much as a seek."""
    del version
    if not hasattr(os, "memfd_create"):
        return None  # not Linux
    try:
        mp3 = mp3_excerpt.describe(path)
        if mp3 is None:
            return None
        info = read_info(path)
        if not mp3.states_length and info.samples == mp3.frame_count * mp3.header.samples:
            # `_open` reads it as it is, without an Info frame.
            mp3 = dataclasses.replace(mp3, lead_samples=mp3_excerpt.DECODER_DELAY_SAMPLES)
        return mp3, info
    except (OSError, DecodeError):
        return None


def _open_failure(path: str, error: soundfile.LibsndfileError) -> str:
    try:
        if clip_size(path) == 0:
            return "empty file"
    except OSError:
        return "file not found"
    # libsndfile 1.2 answers "File does not exist …" (code 7) for any MP3-like file in which it finds no frame.
    return "not recognised as audio" if error.code == 7 else f"not decodable: {error.error_string.rstrip('.')}"


def _positive(samples: int) -> int:
    if samples <= 0:
        raise DecodeError("holds no audio")
    return samples


def _credible(samples: int, sample_rate_hz: int, path: str) -> int:
    """Returns the length that an MP3's header promises, unless no file of its size can hold that much."""
    file_bytes = clip_size(path)
    tolerance = mp3_frames.TRUNCATION_TOLERANCE_SECONDS * sample_rate_hz
    if samples > mp3_frames.MAX_SAMPLES_PER_BYTE * file_bytes + tolerance:
        promised = samples / sample_rate_hz
        raise DecodeError(f"truncated: its header promises {promised:.2f} s, more than its {file_bytes} bytes can hold")
    return _positive(samples)
