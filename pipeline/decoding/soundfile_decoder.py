"""Decodes a file to a mono waveform at the model's sample rate, with soundfile and soxr: the default decoder.

Decoding a crop costs a seek and a read of the crop's own seconds. In an MP3 the seek takes no time, however long the file
is; an MP3 of variable bit rate is read once as a whole before its first crop.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator

import numpy as np
import soundfile
import soxr

from pipeline import windows
from pipeline.decoding.buffers import Buffers, buffer_pool
from pipeline.decoding.decoder import AudioInfo, DecodeError
from pipeline.decoding.sound_files import open_sound
from pipeline.mp3 import excerpt as mp3_excerpt
from pipeline.mp3 import frames as mp3_frames
from pipeline.storage.clips import clip_version

# The stages of decoding a crop: open and seek, or read its bytes; libsndfile; sum of the channels; rate, mean and check.
STAGES = ("read", "decode", "mono", "resample")
OnStage = Callable[[str], object]


def _ignore_stage(stage: str) -> None:
    """Measures nothing."""


def read_info(path: str | os.PathLike[str]) -> AudioInfo:
    """Reads a file's rate, channels and length without decoding the file.

    Args:
        path: an audio file, or a clip's path in a record shard.

    Returns:
        The file's own rate, channels and length.

    Raises:
        DecodeError: the file cannot be opened as audio.

    Example:
        >>> info = read_info(path)  # an MP3 of 6 s in stereo
        >>> info.sample_rate_hz, info.channels, info.samples
        (44100, 2, 264600)
    """
    with open_sound(path) as (sound, samples):
        return AudioInfo(sound.samplerate, sound.channels, samples)


def decode_crop(
    path: str | os.PathLike[str],
    sample_rate_hz: int,
    crop_samples: int,
    position: float = 0.0,
    on_stage: OnStage = _ignore_stage,
) -> np.ndarray:
    """Decodes one crop of a file to a mono waveform.

    Args:
        path: an audio file of any rate and number of channels that libsndfile reads, or a clip's path in a record shard.
        sample_rate_hz: rate of the returned waveform.
        crop_samples: length of the returned waveform in samples at `sample_rate_hz`; a clip that ends earlier is
            padded with zeros. 0 decodes the whole clip.
        position: where the crop starts, as a fraction of the possible starts: 0 is the beginning of the clip, 1 is
            as late as the crop still fits.
        on_stage: called with the name of each of `STAGES` when the stage ends, for measurements.

    Returns:
        float32 [crop_samples] (or [samples of the whole clip]), nominally in -1...1.

    Raises:
        DecodeError: nothing usable could be decoded.

    Example:
        >>> waveform = decode_crop(path, sample_rate_hz=22050, crop_samples=5 * 22050, position=0.5)
        >>> waveform.shape, waveform.dtype
        ((110250,), dtype('float32'))
    """
    crop = _Crop(os.fspath(path), sample_rate_hz, crop_samples, position, on_stage)
    with buffer_pool.borrow() as buffers:
        total, info = _read_excerpt(crop, buffers) or _read_crop(crop, buffers)
        if info.sample_rate_hz != sample_rate_hz:
            total = soxr.resample(total, info.sample_rate_hz, sample_rate_hz)
        waveform = _mean(total, info.channels)
        on_stage("resample")
    return fit_length(waveform, crop_samples) if crop_samples else waveform


def count_windows(path: str | os.PathLike[str], crop_seconds: float) -> int:
    """Returns how many windows cover a file, and 1 for a file that cannot be opened.

    Args:
        path: an audio file, or a clip's path in a record shard.
        crop_seconds: length of a window; 0 means the whole clip.
    """
    if crop_seconds == 0:
        return 1
    try:
        info = read_info(path)
    except DecodeError:
        return 1  # decoding that one window records the reason
    return int(windows.window_count(info.samples, info.sample_rate_hz, crop_seconds))


def decode_blocks(path: str | os.PathLike[str], block_samples: int = 1 << 18) -> Iterator[np.ndarray]:
    """Decodes a whole file in blocks, for lengths and checks.

    The blocks are not meant for features: soundfile seeks after each block, and libmpg123's seek may spoil a frame of an
    MP3 of variable bit rate (see `pipeline.mp3.excerpt`).

    Args:
        path: an audio file, or a clip's path in a record shard.
        block_samples: length of a block; the last one may be shorter.

    Yields:
        Mono float32 [block_samples] at the file's own rate.

    Raises:
        DecodeError: the file cannot be opened, breaks off, or holds no audio.
    """
    with open_sound(path) as (sound, samples):
        for start in range(0, samples, block_samples):
            total = _read_sum(sound, start, min(block_samples, samples - start), Buffers(), _ignore_stage)
            yield _mean(total, sound.channels)


def fit_length(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Trims a waveform [n], or pads it with zeros at its end, to [samples]."""
    if len(waveform) == samples:
        return waveform
    fitted = np.zeros(samples, np.float32)
    fitted[: len(waveform)] = waveform[:samples]
    return fitted


@dataclasses.dataclass(frozen=True)
class _Crop:
    """The arguments of `decode_crop`."""

    path: str
    sample_rate_hz: int
    crop_samples: int
    position: float
    on_stage: OnStage

    def span(self, info: AudioInfo) -> tuple[int, int]:
        """Returns where the crop starts and how long it is, in samples of the file."""
        start, length = windows.crop_span(
            info.samples, info.sample_rate_hz, self.crop_samples, self.sample_rate_hz, self.position
        )
        return int(start), int(length)


def _read_crop(crop: _Crop, buffers: Buffers) -> tuple[np.ndarray, AudioInfo]:
    """Reads a crop by libsndfile's own seek; returns the sum of its channels [samples], in borrowed memory."""
    with open_sound(crop.path) as (sound, samples):
        info = AudioInfo(sound.samplerate, sound.channels, samples)
        start, wanted = crop.span(info)
        if start:
            sound.seek(start)
        crop.on_stage("read")
        return _read_sum(sound, start, wanted, buffers, crop.on_stage), info


def _read_excerpt(crop: _Crop, buffers: Buffers) -> tuple[np.ndarray, AudioInfo] | None:
    """Does the same for an MP3 by reading the crop's bytes alone; returns None where that is impossible."""
    known = _seekable(crop.path, *clip_version(crop.path)) if crop.crop_samples else None
    if known is None:
        return None
    mp3, info = known
    start, wanted = crop.span(info)
    try:
        cut = mp3.cut(crop.path, start, wanted)
        if cut is None:
            return None
        data, first = cut
        with soundfile.SoundFile(buffers.file_of(data), closefd=False) as sound:
            if sound.channels != info.channels:
                return None
            crop.on_stage("read")
            return _read_sum(sound, start, wanted, buffers, crop.on_stage, skip=start - first), info
    except (OSError, RuntimeError, DecodeError):
        return None  # whatever is wrong, the file itself will say it better


def _read_sum(
    sound: soundfile.SoundFile, start: int, wanted: int, buffers: Buffers, on_stage: OnStage, skip: int = 0
) -> np.ndarray:
    """Reads the sum of the channels from the file's current position; pads it with zeros within the tolerance.

    Args:
        sound: the file; its position is `skip` samples before the crop.
        start: where the crop begins in the clip, for messages.
        wanted: length of the crop in samples.
        buffers: memory that the returned array may lie in.
        on_stage: called at the end of each stage.
        skip: samples to leave out before the crop.

    Returns:
        float32 [wanted].
    """
    audio = sound.read(out=buffers.array("audio", skip + wanted, sound.channels))[skip:]  # [samples, channels]
    on_stage("decode")
    if len(audio) < wanted - mp3_frames.TRUNCATION_TOLERANCE_SECONDS * sound.samplerate or (
        start == 0 and len(audio) == 0
    ):
        decoded, promised = (start + len(audio)) / sound.samplerate, (start + wanted) / sound.samplerate
        raise DecodeError(f"truncated: no audio after {decoded:.2f} s where its header promises {promised:.2f} s")
    total = audio[:, 0]
    # Adding columns is several times faster than audio.mean(axis=1), which strides over pairs.
    for channel in range(1, audio.shape[1]):
        total = np.add(total, audio[:, channel], out=buffers.array("sum", len(audio), 1)[:, 0])
    on_stage("mono")
    return total if len(total) == wanted else fit_length(total, wanted)


def _mean(total: np.ndarray, channels: int) -> np.ndarray:
    """Returns the mean of the channels as a new array, from their sum, after checking the samples."""
    waveform = total * np.float32(1 / channels)
    if not np.isfinite(waveform.sum()):
        raise DecodeError("holds samples that are not finite numbers")
    return waveform


@functools.lru_cache(maxsize=200_000)
def _seekable(path: str, *version: int) -> tuple[mp3_excerpt.SeekableMp3, AudioInfo] | None:
    """Indexes an MP3's frames. The result is cached under the file's version too: it costs as much as a seek."""
    del version
    if not hasattr(os, "memfd_create"):
        return None  # not Linux
    try:
        mp3 = mp3_excerpt.index_mp3(path)
        if mp3 is None:
            return None
        info = read_info(path)
        if not mp3.states_length and info.samples == mp3.frame_count * mp3.header.samples:
            # `open_sound` reads it as it is, without an Info frame.
            mp3 = dataclasses.replace(mp3, lead_samples=mp3_excerpt.DECODER_DELAY_SAMPLES)
        return mp3, info
    except (OSError, DecodeError):
        return None
