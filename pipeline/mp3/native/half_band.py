"""The low-pass filter of a conversion to half the rate, applied to subbands instead of samples.

A resampler keeps what is below half of its target rate. To subbands 0 to 13 it does nothing (-100 dB), and 17 to 31 it removes.
In between its output is, again, a sum of subbands, because the filterbank's filters, shifted by 32 samples each, make up any
sound. So the samples of subbands 13 to 15 are replaced by sums over those of 14 and 15 around them, and the synthesis at half
the rate then gives the resampler's output. Subband 16, which leaks into it by -73 dB, is left out.
"""

from __future__ import annotations

import numpy as np

from pipeline.mp3.native.compiled import kernel
from pipeline.mp3.native.synthesis import BANDS, TAPS, window

REACH = 9  # slots before and after
_SOURCES, _TARGETS = (14, 15), (13, 14, 15)
_FIRST_SOURCE, _FIRST_TARGET = _SOURCES[0], _TARGETS[0]
# soxr's filter of quality HQ as a windowed sinc, in units of half the lower rate and in samples at the higher rate.
_CUTOFF, _BETA, _HALF_WIDTH = 0.956872, 13.711, 204.5


def resampling_filter() -> np.ndarray:
    """Returns the resampler's filter at the file's rate, float64 [409]; its gain at 0 Hz is 1."""
    distance = np.arange(-int(_HALF_WIDTH), int(_HALF_WIDTH) + 1)
    kaiser = np.i0(_BETA * np.sqrt(1 - (distance / _HALF_WIDTH) ** 2))
    taps = np.sinc(_CUTOFF * distance / 2) * kaiser
    return taps / taps.sum()


def _subband_filters() -> np.ndarray:
    """Returns the weights, float32 [sources, targets, 2 * REACH + 1], by least squares."""
    place = np.arange(TAPS)
    filters = {band: window() * np.cos((2 * band + 1) * (place + 16) * np.pi / 64) for band in {*_SOURCES, *_TARGETS}}
    lowpass, middle = resampling_filter(), 2 * REACH * BANDS
    reach = len(lowpass) // 2
    weights = np.zeros((len(_SOURCES), len(_TARGETS), 2 * REACH + 1))
    for number, source in enumerate(_SOURCES):
        wanted = np.zeros(2 * middle + TAPS)
        wanted[middle - reach : middle + TAPS + reach] = np.convolve(filters[source], lowpass)
        targets = [target for target in _TARGETS if abs(target - source) <= 1]
        columns = np.zeros((len(wanted), len(targets), 2 * REACH + 1))
        for column, target in enumerate(targets):
            for shift in range(-REACH, REACH + 1):
                begin = middle + BANDS * shift
                columns[begin : begin + TAPS, column, shift + REACH] = filters[target]
        found, *_ = np.linalg.lstsq(columns.reshape(len(wanted), -1), wanted, rcond=None)
        for target, row in zip(targets, found.reshape(len(targets), -1), strict=True):
            weights[number, target - _FIRST_TARGET] = row
    return weights.astype(np.float32)


_WEIGHTS = _subband_filters()


@kernel
def filter_subbands(subbands):
    """Applies the filter in place, as if zeros stood before the first slot and behind the last.

    Args:
        subbands: float32 [slots, HALF_BANDS].
    """
    slots = len(subbands)
    filtered = np.zeros((len(_TARGETS), slots), np.float32)
    for band in range(_FIRST_TARGET, _FIRST_SOURCE):
        for slot in range(slots):
            filtered[band - _FIRST_TARGET, slot] = subbands[slot, band]
    padded = np.zeros(slots + 2 * REACH, np.float32)
    for number in range(len(_SOURCES)):
        for slot in range(slots):
            padded[REACH + slot] = subbands[slot, _FIRST_SOURCE + number]
        for target in range(len(_TARGETS)):
            row = filtered[target]
            for shift in range(2 * REACH + 1):
                weight = _WEIGHTS[number, target, shift]
                if weight != 0:  # what is sounded `shift` slots later
                    shifted = padded[2 * REACH - shift : 2 * REACH - shift + slots]
                    for slot in range(slots):
                        row[slot] += weight * shifted[slot]
    for target in range(len(_TARGETS)):
        for slot in range(slots):
            subbands[slot, _FIRST_TARGET + target] = filtered[target, slot]
