"""Music with faults planted in it, as MP3s."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
from support.audio import write_mp3

Change = Callable[[np.ndarray, int], tuple[np.ndarray, int]]  # audio [samples, channels] and its rate, to others
_HIGHEST_KBPS, _LOWEST_KBPS = 320, 32  # between which soundfile's compression level chooses, from 32 kHz on


def tune(seconds: float, sample_rate_hz: int, seed: int) -> np.ndarray:
    """A tune that is unlike any other seed's [samples, 2]: notes with overtones and decay over soft noise up to half the rate."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    audio = 0.003 * rng.standard_normal((len(time), 2))
    for begin in np.arange(0, seconds, 0.2):
        begin += rng.uniform(0, 0.1)
        pitch_hz, length = rng.uniform(150, 900), rng.uniform(0.2, 0.8)
        span = slice(round(begin * sample_rate_hz), round((begin + length) * sample_rate_hz))
        local = time[span] - begin
        note = sum(np.sin(2 * np.pi * k * pitch_hz * local) / k for k in (1, 2, 3, 5)) * np.exp(-4 * local)
        audio[span] += 0.15 * note[:, np.newaxis] * rng.uniform(0.4, 1, 2)
    return audio.astype(np.float32)


def encode(path: Path, audio: np.ndarray, sample_rate_hz: int, kbps: int = 128) -> Path:
    """Encodes [samples, channels] at a constant bit rate."""
    if sample_rate_hz < 32000:
        return write_mp3(path, audio, sample_rate_hz)
    quality = (_HIGHEST_KBPS - kbps) / (_HIGHEST_KBPS - _LOWEST_KBPS)
    return write_mp3(path, audio, sample_rate_hz, quality=quality)


def decode(path: Path | str) -> tuple[np.ndarray, int]:
    """Decodes an MP3 to [samples, 2], by libsndfile."""
    audio, rate_hz = soundfile.read(path, always_2d=True, dtype="float32")
    return (audio if audio.shape[1] == 2 else np.repeat(audio, 2, axis=1)), rate_hz


def without_tags(data: bytes) -> bytes:
    """An MP3 without its ID3v2 tag."""
    if data[:3] != b"ID3":
        return data
    a, b, c, d = data[6:10]
    return data[10 + (a << 21 | b << 14 | c << 7 | d) :]


def with_title(data: bytes, title: str) -> bytes:
    """An MP3 with another ID3v2 tag than it had."""
    text = b"\0" + title.encode()
    frame = b"TIT2" + len(text).to_bytes(4, "big") + b"\0\0" + text
    return b"ID3\3\0\0" + bytes([0, 0, len(frame) >> 7, len(frame) & 127]) + frame + without_tags(data)


def resampled(to_hz: int) -> Change:
    return lambda audio, rate_hz: (soxr.resample(audio, rate_hz, to_hz), to_hz)


def cut(begin: float, end: float | None = None) -> Change:
    return lambda audio, rate_hz: (audio[round(begin * rate_hz) : end and round(end * rate_hz)], rate_hz)


def scaled(factor: float) -> Change:
    return lambda audio, rate_hz: (audio * np.float32(factor), rate_hz)


def chained(*changes: Change) -> Change:
    def change(audio: np.ndarray, rate_hz: int) -> tuple[np.ndarray, int]:
        for one in changes:
            audio, rate_hz = one(audio, rate_hz)
        return audio, rate_hz

    return change


def upsampled_from(low_hz: int) -> Change:
    return chained(resampled(low_hz), resampled(44100))


def overdriven(audio: np.ndarray, rate_hz: int) -> tuple[np.ndarray, int]:
    """12 dB above full scale, cut off there."""
    return np.clip(audio * (4 / np.abs(audio).max()), -1, 1), rate_hz


def inverted(audio: np.ndarray, rate_hz: int) -> tuple[np.ndarray, int]:
    mono = audio.mean(axis=1)
    return np.stack([mono, -mono], axis=1), rate_hz


def left_only(audio: np.ndarray, rate_hz: int) -> tuple[np.ndarray, int]:
    return audio * np.array([1, 0], np.float32), rate_hz


# How a copy is changed before it is encoded at a bit rate; the twelfth kind is the same file with another tag.
COPIES: dict[str, tuple[Change, int]] = {
    "64 kbit/s": (scaled(1), 64),
    "128 kbit/s": (scaled(1), 128),
    "320 kbit/s": (scaled(1), 320),
    "22.05 kHz": (resampled(22050), 64),
    "1.3 s cut off": (cut(1.3), 128),
    "-6 dB": (scaled(0.5), 128),
    "22.05 kHz, 1.3 s cut off": (chained(cut(1.3), resampled(22050)), 64),
    "64 kbit/s, 1.3 s cut off": (cut(1.3), 64),
    "64 kbit/s, 1.3 s cut off, -6 dB": (chained(cut(1.3), scaled(0.5)), 64),
    "22.05 kHz, -6 dB": (chained(resampled(22050), scaled(0.5)), 64),
    "7 s of it": (cut(4.37, 11.37), 128),
}
# The finding that each fault should be, and how it is planted.
FAULTS: dict[str, tuple[str, Change]] = {
    "silent": ("silent", scaled(0)),
    "at -80 dB": ("silent", scaled(1e-4)),
    "clipped": ("clipped", overdriven),
    "clipped, then -6 dB": ("clipped", chained(overdriven, scaled(0.5))),
    "out of phase": ("out_of_phase", inverted),
    "one channel": ("one_channel", left_only),
    "from 8 kHz": ("band_limited", upsampled_from(8000)),
    "from 16 kHz": ("band_limited", upsampled_from(16000)),
    "a tenth": ("too_short", cut(0, 3)),
}
