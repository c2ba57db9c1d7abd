"""Decodes the quantized values of a granule: pairs of three regions, then four values of -1, 0, 1 at a time (11172-3 2.4.2.7)."""

from __future__ import annotations

import numpy as np

from pipeline.mp3.native.bands import LINES
from pipeline.mp3.native.bits import peek
from pipeline.mp3.native.codes import LINK, LOOK_BITS, PARTIAL, build_tables
from pipeline.mp3.native.compiled import kernel
from pipeline.mp3.native.side_info import BIG_VALUES, BLOCK_TYPE, COUNT1TABLE_SELECT, REGION_END, SHORT, TABLE_SELECT

VALUES = LINES + 2  # of a buffer: the last four may end behind the last line
CONTRADICTORY, CUT_SHORT = -1, -2
MAX_VALUE = 15 + (1 << 13) - 1

_TABLES = build_tables()
_FIRST, _BEGIN, _LINBITS, _SECOND = _TABLES.first, _TABLES.begin, _TABLES.linbits, _TABLES.second
_SECOND_BEGIN, _SECOND_BITS, _SKIPPED, _QUADS = (
    _TABLES.second_begin,
    _TABLES.second_bits,
    _TABLES.skipped,
    _TABLES.quads,
)
# Tables have a power of two entries, and masks keep whatever the bits say inside.
_SECOND_MASK, _LINK_MASK = len(_SECOND) - 1, len(_SECOND_BEGIN) - 1
_TABLE_SIZE, _LOOK_SHIFT, _LOOK = 1 << LOOK_BITS, np.uint64(64 - LOOK_BITS), np.uint64(LOOK_BITS)
_TOP = np.uint64(63)
_NOWHERE = 1 << 60


@kernel
def read_values(words, position, end, granule, limit, values):
    """Decodes the values of a granule and channel up to a limit; of those above it, it only checks whether their bits are there.

    Args:
        words: the main data (see `bits.peek`), followed by at least 600 words: as much as broken values can take.
        position: of the first bit.
        end: where the granule's bits end.
        granule: int32 [PARAMETERS] (see `side_info`).
        limit: how many values are wanted, an even number up to LINES.
        values: int16 [VALUES], the result, as far as it is told; the rest is left as it is.

    Returns:
        How many values there are, at most `limit`, all others up to there being 0. Or CONTRADICTORY, if the bits contradict
        the side information; or CUT_SHORT, if the last values of a short block have no signs, which libmpg123 takes from before.
    """
    # The next bits stand at the top of `bits`; `held` of them are valid, at least 33 whenever a code begins.
    bits = peek(words, position)
    held = 64 - (position & 31)
    word = (position >> 5) + 2
    if held <= 32:
        bits |= words[word] << np.uint64(32 - held)
        word += 1
        held += 32
    count = 0
    pairs_end = min(2 * granule[BIG_VALUES], LINES)
    for region in range(3):
        region_end = min(limit, pairs_end if region == 2 else min(pairs_end, granule[REGION_END + region]))
        if count >= region_end:
            continue
        select = granule[TABLE_SELECT + region] & 31
        begin, linbits = _BEGIN[select], _LINBITS[select]
        if begin < 0:
            return CONTRADICTORY
        table = _FIRST[begin : begin + _TABLE_SIZE]
        while count < region_end:
            entry = np.int64(table[np.int64(bits >> _LOOK_SHIFT)])
            if entry < PARTIAL:
                values[count] = ((entry >> 5) & 31) - 16
                values[count + 1] = (entry & 31) - 16
                bits <<= np.uint64(entry >> 10)
                held -= entry >> 10
            else:
                if entry >= LINK:
                    bits <<= _LOOK
                    held -= LOOK_BITS
                    entry = _look_further(bits, entry)
                length = (entry >> 10) & 15
                bits <<= np.uint64(length)
                held -= length
                for place in range(2):
                    if held <= 32:
                        bits |= words[word] << np.uint64(32 - held)
                        word += 1
                        held += 32
                    value = (entry >> (4 - 4 * place)) & 15
                    if value == 15 and linbits > 0:
                        value += np.int64(bits >> np.uint64(64 - linbits))
                        bits <<= np.uint64(linbits)
                        held -= linbits
                    # Without a branch, which would go either way as often: the sign, and whether there is one.
                    sign, has_sign = np.int64(bits >> _TOP), np.int64(value > 0)
                    values[count + place] = (value ^ -sign) + sign
                    bits <<= np.uint64(has_sign)
                    held -= has_sign
            count += 2
            if held <= 32:
                bits |= words[word] << np.uint64(32 - held)
                word += 1
                held += 32
    if count < pairs_end:
        return count if _skip_pairs(words, bits, held, word, granule, count, pairs_end) <= end else CONTRADICTORY
    left = end - (word * 32 - held)
    if left < 0:
        return CONTRADICTORY
    quads = _QUADS[granule[COUNT1TABLE_SELECT] << LOOK_BITS :]
    # As in libmpg123, four more may begin at the last pair; those whose bits are not there are 0, which is no error.
    while count < min(limit, LINES - 2) and left > 0:
        entry = np.int64(quads[np.int64(bits >> _LOOK_SHIFT)])
        length = entry >> 8
        if length > left:
            written = _cut_quad(entry, left, values, count)
            if written > count and granule[BLOCK_TYPE] == SHORT:
                return CUT_SHORT
            return min(written, limit)
        for place in range(4):
            values[count + place] = ((entry >> (6 - 2 * place)) & 3) - 1
        count += 4
        left -= length
        bits <<= np.uint64(length)
        held -= length
        if held <= 32:
            bits |= words[word] << np.uint64(32 - held)
            word += 1
            held += 32
    return min(count, limit)


@kernel
def _look_further(bits, link):
    """Returns the entry of the second table that an entry of the first one links to."""
    link &= _LINK_MASK
    index = _SECOND_BEGIN[link] + np.int64(bits >> np.uint64(64 - _SECOND_BITS[link]))
    return np.int64(_SECOND[index & _SECOND_MASK])


@kernel
def _skip_pairs(words, bits, held, word, granule, count, pairs_end):
    """Returns where the pairs from `count` on end, or a place behind any end if a table is unknown. As for the rest, see `read_values`."""
    for region in range(3):
        region_end = pairs_end if region == 2 else min(pairs_end, granule[REGION_END + region])
        if count >= region_end:
            continue
        select = granule[TABLE_SELECT + region] & 31
        begin, linbits = _BEGIN[select], _LINBITS[select]
        if begin < 0:
            return _NOWHERE
        if select == 0:
            count = region_end
            continue
        table, skipped = _FIRST[begin : begin + _TABLE_SIZE], _SKIPPED[begin : begin + _TABLE_SIZE]
        while count < region_end:
            several = np.int64(skipped[np.int64(bits >> _LOOK_SHIFT)])
            if several > 255 and count + 2 * (several >> 8) <= region_end:
                count += 2 * (several >> 8)
                bits <<= np.uint64(several & 255)
                held -= several & 255
            else:
                count += 2
                entry = np.int64(table[np.int64(bits >> _LOOK_SHIFT)])
                if entry < PARTIAL:
                    length = entry >> 10
                else:
                    if entry >= LINK:
                        bits <<= _LOOK
                        held -= LOOK_BITS
                        entry = _look_further(bits, entry)
                    first, second = (entry >> 4) & 15, entry & 15
                    length = ((entry >> 10) & 15) + np.int64(first > 0)
                    length += linbits if first == 15 else 0
                    bits <<= np.uint64(length)
                    held -= length
                    if held <= 32:
                        bits |= words[word] << np.uint64(32 - held)
                        word += 1
                        held += 32
                    length = np.int64(second > 0)
                    length += linbits if second == 15 else 0
                bits <<= np.uint64(length)
                held -= length
            if held <= 32:
                bits |= words[word] << np.uint64(32 - held)
                word += 1
                held += 32
    return word * 32 - held


@kernel
def _cut_quad(entry, left, values, count):
    """Writes those of the last four values whose bits are there, as libmpg123 does, and returns how many values there are."""
    signs = 0
    for place in range(4):
        if ((entry >> (6 - 2 * place)) & 3) != 1:
            signs += 1
    left -= (entry >> 8) - signs
    for place in range(4):
        value = ((entry >> (6 - 2 * place)) & 3) - 1
        if left <= 0:
            break
        if value != 0:
            left -= 1
        values[count] = value
        count += 1
    return count
