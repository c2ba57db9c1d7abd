"""Turns quantized values to lines of the spectrum: sign(v) |v|^(4/3) 2^(exponent / 4) (11172-3 2.4.3.4.7.1)."""

from __future__ import annotations

import numpy as np

from pipeline.mp3.native.bands import LONG_BANDS, SHORT_BANDS
from pipeline.mp3.native.compiled import kernel
from pipeline.mp3.native.huffman import MAX_VALUE
from pipeline.mp3.native.side_info import (
    BLOCK_TYPE,
    GLOBAL_GAIN,
    MIXED_BLOCK,
    PREFLAG,
    SCALEFAC_SCALE,
    SUBBLOCK_GAIN,
)

_POWERS = np.arange(MAX_VALUE + 1.0) ** (4 / 3)
_POWERS = np.concatenate([-_POWERS[:0:-1], _POWERS]).astype(np.float32)  # of -MAX_VALUE ... MAX_VALUE
_LOWEST_EXPONENT, _HIGHEST_EXPONENT = -512, 127
_GAINS = (2.0 ** (np.arange(_LOWEST_EXPONENT, _HIGHEST_EXPONENT + 1) / 4)).astype(np.float32)
_GAIN_OFFSET = 210
# What preflag adds to the scale factors of long blocks.
_PRETAB = np.array([0] * 11 + [1, 1, 1, 1, 2, 2, 3, 3, 3, 2, 0], np.int32)
_MIXED_LONG_BANDS, _MIXED_FIRST_SHORT_BAND = 8, 3


@kernel
def add_lines(granule, factors, values, count, halvings, long_edges, short_edges, lines):
    """Adds the lines of a granule and channel to those that are there already.

    Lines of short blocks are ordered by frequency, three windows side by side (11172-3 2.4.3.4.8).

    Args:
        granule: int32 [PARAMETERS] (see `side_info`).
        factors: int32 [MAX_SCALE_FACTORS].
        values: int16 [VALUES].
        count: how many of the values are not 0 for sure.
        halvings: how many quarters of a halving the channel is to be weakened by.
        long_edges: int32 [23], the bands of long blocks (see `bands`).
        short_edges: int32 [14], those of short blocks.
        lines: float32 [lines], the result; lines beyond its end are left out.
    """
    limit = len(lines)
    gain = granule[GLOBAL_GAIN] - _GAIN_OFFSET - halvings
    step = 4 if granule[SCALEFAC_SCALE] else 2
    long_bands = LONG_BANDS
    if granule[BLOCK_TYPE] == 2:
        long_bands = _MIXED_LONG_BANDS if granule[MIXED_BLOCK] else 0
    for band in range(long_bands):
        begin = long_edges[band]
        if begin >= count or begin >= limit:
            return
        factor = factors[band] + (_PRETAB[band] if granule[PREFLAG] else 0)
        scale = _gain(gain - step * factor)
        for line in range(begin, min(long_edges[band + 1], count, limit)):
            lines[line] += _POWERS[np.int64(values[line]) + MAX_VALUE] * scale
    if granule[BLOCK_TYPE] != 2:
        return
    first_band = _MIXED_FIRST_SHORT_BAND if granule[MIXED_BLOCK] else 0
    for band in range(first_band, SHORT_BANDS):
        begin, width = 3 * short_edges[band], short_edges[band + 1] - short_edges[band]
        if begin >= count or begin >= limit:
            return
        for window in range(3):
            place = long_bands + 3 * (band - first_band) + window
            scale = _gain(gain - 8 * granule[SUBBLOCK_GAIN + window] - step * factors[place])
            source = begin + window * width
            for number in range(width):
                line = begin + 3 * number + window
                if source + number < count and line < limit:
                    lines[line] += _POWERS[np.int64(values[source + number]) + MAX_VALUE] * scale


@kernel
def _gain(exponent):
    return _GAINS[min(max(exponent, _LOWEST_EXPONENT), _HIGHEST_EXPONENT) - _LOWEST_EXPONENT]
