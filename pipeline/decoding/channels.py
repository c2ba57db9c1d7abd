"""A clip's channels as its file holds them, for whoever looks at the sound itself: a model hears their mean."""

from __future__ import annotations

import os

import numpy as np

from pipeline.decoding.clip_parts import find_parts
from pipeline.decoding.decoder import MAX_SAMPLE, DecodeError
from pipeline.decoding.sound_files import open_sound
from pipeline.mp3.frames import TRUNCATION_TOLERANCE_SECONDS


def decode_channels(path: str | os.PathLike[str], max_seconds: float) -> tuple[np.ndarray, int]:
    """Decodes the beginning of a clip, with all of its channels, at the file's own rate.

    Of files that were joined in one, the first is decoded.

    Args:
        path: an audio file of any kind that libsndfile reads, or a clip's path in a record shard.
        max_seconds: how much is decoded at most.

    Returns:
        float32 [samples, channels], nominally in -1...1, and the sample rate in Hz. Peaks of a decoded MP3 exceed 1.

    Raises:
        DecodeError: the file cannot be opened, breaks off in these seconds, or holds no audio.

    Example:
        >>> audio, sample_rate_hz = decode_channels(path, max_seconds=2)  # of an MP3 in stereo
        >>> audio.shape, sample_rate_hz
        ((88200, 2), 44100)
    """
    part = find_parts(os.fspath(path)).parts[0]
    with open_sound(part.path) as (sound, samples):
        rate_hz = sound.samplerate
        wanted = min(samples, part.samples, round(max_seconds * rate_hz))
        audio = sound.read(wanted, dtype="float32", always_2d=True)
    if len(audio) == 0 or len(audio) < wanted - TRUNCATION_TOLERANCE_SECONDS * rate_hz:
        held, promised = len(audio) / rate_hz, wanted / rate_hz
        raise DecodeError(f"truncated: no audio after {held:.2f} s where its header promises {promised:.2f} s")
    if not max(audio.max(), -audio.min()) <= MAX_SAMPLE:  # also where one is not a number
        raise DecodeError(
            f"holds samples that are no sound: not finite, or larger than {MAX_SAMPLE:g} (full scale is 1)"
        )
    return audio, rate_hz
