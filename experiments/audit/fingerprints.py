"""A clip's fingerprint: where in its spectrogram the peaks stand to one another, which encoders leave as it is.

After Wang, "An Industrial-Strength Audio Search Algorithm" (ISMIR 2003): a spectral peak and two that follow it make a
landmark, of which the frequencies and the times between are hashed to 32 bits. Three peaks instead of Wang's two make a
landmark so rare that 100,000 clips hardly share one by chance. Peaks depend neither on level, nor on what lies above
3.6 kHz; the place of a clip's beginning only moves all landmarks alike.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.signal import get_window, resample_poly

VERSION = 2  # changes whenever an equal clip would get other landmarks
RATE_HZ = 8000  # what is below 4 kHz passes every bit rate, and 22.05 kHz
HOP_SECONDS = 0.032
_N_FFT, _HOP = 1024, 256  # bins of 7.8 Hz
_LOWEST_BIN, _HIGHEST_BIN = 16, 460  # 125 Hz to 3.6 kHz: below, a bin is wider than a semitone
_FRAMES, _BINS = 7, 10  # a peak is the largest value within so many on either side: 0.45 s by 160 Hz
_DYNAMIC_RANGE_DB = 70.0  # below the clip's loudest bin nothing is a peak: it is an encoder's noise
_SHORTEST, _LONGEST = 2, 63  # frames between a peak and the next of its landmark
_WIDEST = 63  # bins
_FOLLOWERS = 4  # peaks that a peak is joined with: their pairs, six landmarks a peak
_ONE_OF = 4  # landmarks, of which one is kept, the same in every copy: 1,500 of 30 s are enough
_BLOCK_FRAMES = 4096


def fingerprint(waveform: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the landmarks of a clip.

    Args:
        waveform: mono [samples].
        sample_rate_hz: its rate.

    Returns:
        Hashes uint32 [landmarks], in order of time, and the frame in which each begins, uint16 [landmarks]; frames are
        `HOP_SECONDS` apart. Both are empty for a clip without sound.
    """
    peaks = _peaks(_spectrogram(_resample(waveform, sample_rate_hz)))
    return _landmarks(*peaks)


def _resample(waveform: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    ratio = Fraction(RATE_HZ, sample_rate_hz)
    if ratio == 1:
        return waveform.astype(np.float32)
    if ratio.denominator > 1000:  # an odd rate, such as 44,101 Hz: 0.1 % off moves no peak by a bin
        ratio = ratio.limit_denominator(1000)
    return resample_poly(waveform.astype(np.float32), ratio.numerator, ratio.denominator)


def _spectrogram(waveform: np.ndarray) -> np.ndarray:
    """Returns decibels float32 [frames, bins]; no frames where the waveform is shorter than a window."""
    frames = max(0, 1 + (len(waveform) - _N_FFT) // _HOP)
    decibels = np.empty((frames, _HIGHEST_BIN - _LOWEST_BIN), np.float32)
    if not frames:
        return decibels
    window = get_window("hann", _N_FFT).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(waveform, _N_FFT)[::_HOP][:frames]
    for first in range(0, frames, _BLOCK_FRAMES):
        block = windows[first : first + _BLOCK_FRAMES] * window
        # Of float32 NumPy 1 takes the transform in double precision, NumPy 2 in single: kept fingerprints would differ.
        spectrum = np.fft.rfft(block.astype(np.float64), axis=1)
        power = np.abs(spectrum[:, _LOWEST_BIN:_HIGHEST_BIN]) ** 2
        decibels[first : first + _BLOCK_FRAMES] = 10 * np.log10(power + 1e-12)
    return decibels


def _peaks(decibels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the frames and bins of the peaks, in order of time."""
    if not decibels.size or decibels.max() < -60:  # 1e-6 of a tone's power: nothing but zeros
        return np.empty(0, np.int64), np.empty(0, np.int64)
    largest = maximum_filter(decibels, (2 * _FRAMES + 1, 2 * _BINS + 1))
    is_peak = (decibels == largest) & (decibels > decibels.max() - _DYNAMIC_RANGE_DB)
    frames, bins = np.nonzero(is_peak)
    return frames, bins


def _landmarks(frames: np.ndarray, bins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joins each peak with pairs of those that follow it nearby in time and frequency."""
    followers = np.full((len(frames), _FOLLOWERS), -1)  # [peaks, _FOLLOWERS]: places of the first so many, -1: none
    found = np.zeros(len(frames), np.int64)
    for step in range(1, len(frames)):
        apart = frames[step:] - frames[:-step]
        if apart.min() > _LONGEST:
            break
        near = (apart >= _SHORTEST) & (apart <= _LONGEST) & (np.abs(bins[step:] - bins[:-step]) <= _WIDEST)
        places = np.flatnonzero(near & (found[:-step] < _FOLLOWERS))
        followers[places, found[places]] = places + step
        found[places] += 1
    pairs = itertools.combinations(range(_FOLLOWERS), 2)
    triples = np.concatenate([np.column_stack((np.arange(len(frames)), followers[:, pair])) for pair in pairs])
    triples = triples[(triples >= 0).all(axis=1)]
    anchor, second, third = triples[np.argsort(triples[:, 0], kind="stable")].T
    key = bins[anchor].astype(np.uint64)
    for other in (second, third):
        key = key << np.uint64(7) | (bins[other] - bins[anchor] + _WIDEST).astype(np.uint64)
        key = key << np.uint64(6) | (frames[other] - frames[anchor]).astype(np.uint64)
    hashes, begins = _mix(key), frames[anchor].astype(np.uint16)
    kept = hashes % _ONE_OF == 0
    return hashes[kept], begins[kept]


def _mix(key: np.ndarray) -> np.ndarray:
    """Hashes 35 bits to 32, evenly: the last step of MurmurHash3's finaliser for 64 bits."""
    key = (key ^ (key >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    key = (key ^ (key >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return ((key ^ (key >> np.uint64(33))) >> np.uint64(32)).astype(np.uint32)
