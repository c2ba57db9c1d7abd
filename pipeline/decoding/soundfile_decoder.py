"""Decodes a file to a mono waveform at the model's sample rate, with soundfile and soxr: the default decoder.

Decoding a crop costs a seek and a read of the crop's own seconds. In an MP3 the seek takes no time, however long the file
is; an MP3 of variable bit rate is read once as a whole before its first crop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import soundfile
import soxr

from pipeline import windows
from pipeline.decoding.buffers import Buffers, buffer_pool
from pipeline.decoding.clip_parts import ClipParts, Part, find_parts
from pipeline.decoding.decoder import MAX_SAMPLE, AudioInfo, DecodeError
from pipeline.decoding.sound_files import open_sound
from pipeline.mp3 import frames as mp3_frames

# The stages of decoding a crop: open and seek, or read its bytes; libsndfile; sum of the channels; rate, mean and check.
STAGES = ("read", "decode", "mono", "resample")
OnStage = Callable[[str], object]
# Of windows that are decoded in one go: 47 s at 44.1 kHz, as much as a buffer keeps of two channels.
_MAX_STRETCH_SAMPLES = 1 << 21


def _ignore_stage(stage: str) -> None:
    """Measures nothing."""


def read_info(path: str | os.PathLike[str]) -> AudioInfo:
    """Reads a file's rate, channels and length without decoding the file.

    Args:
        path: an audio file, or a clip's path in a record shard.

    Returns:
        The file's own rate, channels and length; of a file in which several were joined, the length of all that is read.

    Raises:
        DecodeError: the file cannot be opened as audio.

    Example:
        >>> info = read_info(path)  # an MP3 of 6 s in stereo
        >>> info.sample_rate_hz, info.channels, info.samples
        (44100, 2, 264600)
    """
    return find_parts(os.fspath(path)).info


def find_remark(path: str | os.PathLike[str]) -> str:
    """Returns what the user of a file should know of it although it can be decoded, such as that music follows which is not read.

    Args:
        path: an audio file, or a clip's path in a record shard.

    Returns:
        A sentence, or "" where there is nothing to say, or the file cannot be decoded.
    """
    try:
        return find_parts(os.fspath(path)).remark
    except DecodeError:
        return ""


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
    clip = find_parts(os.fspath(path))
    start, wanted = _crop_span(clip.info, sample_rate_hz, crop_samples, position)
    with buffer_pool.borrow() as buffers:
        total, channels = _read_span(clip, start, wanted, buffers, on_stage)
        return _finish(total, channels, clip.info, sample_rate_hz, crop_samples, on_stage)


def decode_crops(
    path: str | os.PathLike[str], sample_rate_hz: int, crop_samples: int, positions: Sequence[float]
) -> list[np.ndarray | DecodeError]:
    """Decodes several crops of a file, and each of its seconds once where neighbours leave no gap.

    Args:
        path: as in `decode_crop`.
        sample_rate_hz: rate of the returned waveforms.
        crop_samples: length of each; 0 decodes the whole clip.
        positions: where each crop starts, as in `decode_crop`.

    Returns:
        For each position what `decode_crop` returns, bit for bit, or the error that it raises.
    """
    path = os.fspath(path)
    try:
        clip = find_parts(path)
    except DecodeError as error:
        return [error] * len(positions)
    spans = [_crop_span(clip.info, sample_rate_hz, crop_samples, position) for position in positions]
    crops: list[np.ndarray | DecodeError] = []
    while len(crops) < len(spans):
        first = len(crops)
        stretch = _stretch(spans[first:]) if clip.reads_exactly and crop_samples else 1
        try:
            if stretch == 1:
                crops.append(decode_crop(path, sample_rate_hz, crop_samples, positions[first]))
            else:
                crops += _decode_stretch(clip, sample_rate_hz, crop_samples, spans[first : first + stretch])
        except DecodeError as error:
            if stretch == 1:
                crops.append(error)
            else:  # each of them has an error of its own, or none
                for position in positions[first : first + stretch]:
                    crops += decode_crops(path, sample_rate_hz, crop_samples, [position])
    return crops


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

    Args:
        path: an audio file, or a clip's path in a record shard.
        block_samples: length of a block; the last one may be shorter.

    Yields:
        Mono float32 [block_samples] at the file's own rate.

    Raises:
        DecodeError: the file cannot be opened, breaks off, or holds no audio.
    """
    clip = find_parts(os.fspath(path))
    for start in range(0, clip.info.samples, block_samples):
        wanted = min(block_samples, clip.info.samples - start)
        total, channels = _read_span(clip, start, wanted, Buffers(), _ignore_stage)
        yield _mean(total, channels)


def fit_length(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Trims a waveform [n], or pads it with zeros at its end, to [samples]."""
    if len(waveform) == samples:
        return waveform
    fitted = np.zeros(samples, np.float32)
    fitted[: len(waveform)] = waveform[:samples]
    return fitted


def _crop_span(info: AudioInfo, sample_rate_hz: int, crop_samples: int, position: float) -> tuple[int, int]:
    """Returns where a crop starts and how long it is, in samples of the file."""
    start, length = windows.crop_span(info.samples, info.sample_rate_hz, crop_samples, sample_rate_hz, position)
    return int(start), int(length)


def _stretch(spans: Sequence[tuple[int, int]]) -> int:
    """Returns how many of the spans, from the first on, are worth decoding in one go: each begins where the last one ends or before."""
    first, (end, count) = spans[0][0], (sum(spans[0]), 1)
    for start, wanted in spans[1:]:
        if not first < start <= end < start + wanted <= first + _MAX_STRETCH_SAMPLES:
            break
        end, count = start + wanted, count + 1
    return count


def _decode_stretch(
    clip: ClipParts, sample_rate_hz: int, crop_samples: int, spans: Sequence[tuple[int, int]]
) -> list[np.ndarray]:
    """Decodes the crops of a stretch."""
    first, end = spans[0][0], sum(spans[-1])
    with buffer_pool.borrow() as buffers:
        total, channels = _read_span(clip, first, end - first, buffers, _ignore_stage)
        return [
            _finish(total[start - first :][:wanted], channels, clip.info, sample_rate_hz, crop_samples, _ignore_stage)
            for start, wanted in spans
        ]


def _finish(
    total: np.ndarray, channels: int, info: AudioInfo, sample_rate_hz: int, crop_samples: int, on_stage: OnStage
) -> np.ndarray:
    """Turns the sum of the channels at the file's rate to a crop."""
    if info.sample_rate_hz != sample_rate_hz:
        total = soxr.resample(total, info.sample_rate_hz, sample_rate_hz)
    waveform = _mean(total, channels)
    on_stage("resample")
    return fit_length(waveform, crop_samples) if crop_samples else waveform


def _read_span(clip: ClipParts, start: int, wanted: int, buffers: Buffers, on_stage: OnStage) -> tuple[np.ndarray, int]:
    """Reads a span of a clip, [start, start + wanted) in its own samples.

    Returns:
        The sum of the channels, float32 [wanted], perhaps in borrowed memory, and the number of the channels.
    """
    if len(clip.parts) == 1:
        return _read_part(clip.parts[0], start, wanted, buffers, on_stage), clip.parts[0].channels
    total, at = np.empty(wanted, np.float32), 0
    for part, first, samples in clip.pieces(start, wanted):
        piece = _read_part(part, first, samples, buffers, on_stage)
        total[at : at + samples] = piece * np.float32(1 / part.channels)
        at += samples
    return total, 1


def _read_part(part: Part, start: int, wanted: int, buffers: Buffers, on_stage: OnStage) -> np.ndarray:
    """Reads a span of a part; returns the sum of its channels [wanted], in borrowed memory."""
    total = _read_excerpt(part, start, wanted, buffers, on_stage)
    if total is not None:
        return total
    with open_sound(part.path) as (sound, samples):
        start = min(start, samples)  # the file has changed
        if start:
            sound.seek(start)
        on_stage("read")
        return _read_sum(sound, start, wanted, buffers, on_stage)


def _read_excerpt(part: Part, start: int, wanted: int, buffers: Buffers, on_stage: OnStage) -> np.ndarray | None:
    """Does the same for an MP3 by reading the span's bytes alone; returns None where that is impossible."""
    # A whole part is read in one go, as libsndfile reads it.
    if part.mp3 is None or (wanted == part.samples and not part.mp3.is_follower):
        return None
    try:
        cut = part.mp3.cut(part.path, start, wanted)
        if cut is None:
            return None
        data, first = cut
        with soundfile.SoundFile(buffers.file_of(data), closefd=False) as sound:
            if sound.channels != part.channels:
                return None
            on_stage("read")
            return _read_sum(sound, start, wanted, buffers, on_stage, skip=start - first)
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
    if len(waveform) and not max(waveform.max(), -waveform.min()) <= MAX_SAMPLE:  # also where one is not a number
        raise DecodeError(
            f"holds samples that are no sound: not finite, or larger than {MAX_SAMPLE:g} (full scale is 1)"
        )
    return waveform
