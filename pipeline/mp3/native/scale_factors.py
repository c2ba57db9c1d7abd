"""Reads scale factors, which say how coarsely the lines of a band are quantized.

Source: 11172-3 2.4.2.7 (scalefac_compress), 13818-3 2.4.3.2 (the same of MPEG-2).
"""

from __future__ import annotations

import numpy as np

from pipeline.mp3.native.bits import peek
from pipeline.mp3.native.compiled import kernel
from pipeline.mp3.native.side_info import BLOCK_TYPE, MIXED_BLOCK, PREFLAG, SCALEFAC_COMPRESS, SCFSI

MAX_SCALE_FACTORS = 39  # 13 bands of three windows
# The bits of a scale factor in the lower and in the upper bands, by scalefac_compress.
_LOWER_BITS = np.array([0, 0, 0, 0, 3, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4], np.int32)
_UPPER_BITS = np.array([0, 1, 2, 3, 0, 1, 2, 3, 1, 2, 3, 1, 2, 3, 2, 3], np.int32)
# Of MPEG-2: how many scale factors have each of four lengths, for three ranges of scalefac_compress, long and short blocks.
_GROUP_SIZES = np.array(
    [
        [[6, 5, 5, 5], [9, 9, 9, 9]],
        [[6, 5, 7, 3], [9, 9, 12, 6]],
        [[11, 10, 0, 0], [18, 18, 0, 0]],
    ],
    np.int32,
)
_GROUP_END = np.array([6, 11, 16, 21], np.int32)  # of the bands that one bit of scfsi is about


@kernel
def read_scale_factors(words, position, granule, factors):
    """Reads the scale factors of a granule and channel.

    Args:
        words: the main data (see `bits.peek`).
        position: of the first bit.
        granule: int32 [PARAMETERS] (see `side_info`).
        factors: int32 [MAX_SCALE_FACTORS], the result, which holds those of the granule before: for long blocks one a band; for
            short blocks three a band, one a window; for mixed blocks eight of long bands come first.

    Returns:
        The position behind them.
    """
    lower_bits = _LOWER_BITS[granule[SCALEFAC_COMPRESS] & 15]
    upper_bits = _UPPER_BITS[granule[SCALEFAC_COMPRESS] & 15]
    is_short = granule[BLOCK_TYPE] == 2
    lower, count = (17 if granule[MIXED_BLOCK] else 18, 18) if is_short else (11, 10)
    count += lower
    group = 0
    for number in range(count):
        if not is_short and granule[SCFSI]:
            while number >= _GROUP_END[group]:
                group += 1
            if (granule[SCFSI] >> (3 - group)) & 1:
                continue
        bits = lower_bits if number < lower else upper_bits
        if bits == 0:
            factors[number] = 0
            continue
        factors[number] = np.int32(peek(words, position) >> np.uint64(64 - bits))
        position += bits
    for number in range(count, MAX_SCALE_FACTORS):
        factors[number] = 0
    return position


@kernel
def read_mpeg_2_scale_factors(words, position, granule, factors):
    """Does the same for a granule of MPEG-2 or 2.5 without intensity stereo and mixed blocks; sets its preflag."""
    compress = granule[SCALEFAC_COMPRESS]
    lengths = np.zeros(4, np.int32)
    if compress < 400:
        kind = 0
        lengths[0], lengths[1] = (compress >> 4) // 5, (compress >> 4) % 5
        lengths[2], lengths[3] = (compress & 15) >> 2, compress & 3
    elif compress < 500:
        kind = 1
        compress -= 400
        lengths[0], lengths[1], lengths[2] = (compress >> 2) // 5, (compress >> 2) % 5, compress & 3
    else:
        kind = 2
        compress -= 500
        lengths[0], lengths[1] = compress // 3, compress % 3
    granule[PREFLAG] = kind == 2
    sizes = _GROUP_SIZES[kind, 1 if granule[BLOCK_TYPE] == 2 else 0]
    number = 0
    for group in range(4):
        for _ in range(sizes[group]):
            factors[number] = 0
            if lengths[group]:
                factors[number] = np.int32(peek(words, position) >> np.uint64(64 - lengths[group]))
                position += lengths[group]
            number += 1
    for rest in range(number, MAX_SCALE_FACTORS):
        factors[rest] = 0
    return position
