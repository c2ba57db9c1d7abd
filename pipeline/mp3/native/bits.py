"""Reads numbers of a few bits at any place, the highest bit first (11172-3 2.2)."""

from __future__ import annotations

import numpy as np

from pipeline.mp3.native.compiled import kernel


@kernel
def read_bits(data, position, count):
    """Returns the unsigned number at a bit position.

    Args:
        data: uint8 [bytes]; at least three bytes follow the number's first one.
        position: of the first bit, at least 0.
        count: number of bits, 1 to 16.
    """
    byte = position >> 3
    word = (
        (np.int64(data[byte]) << 24)
        | (np.int64(data[byte + 1]) << 16)
        | (np.int64(data[byte + 2]) << 8)
        | np.int64(data[byte + 3])
    )
    return (word >> (32 - (position & 7) - count)) & ((1 << count) - 1)


@kernel
def words_of(data, words):
    """Writes bytes as words of 32 bits.

    Args:
        data: uint8 [4 * n].
        words: uint64 [n], the result.
    """
    for number in range(len(words)):
        words[number] = (
            (np.uint64(data[4 * number]) << np.uint64(24))
            | (np.uint64(data[4 * number + 1]) << np.uint64(16))
            | (np.uint64(data[4 * number + 2]) << np.uint64(8))
            | np.uint64(data[4 * number + 3])
        )


@kernel
def peek(words, position):
    """Returns the 32 bits or more from a bit position on, at the top of a uint64; the lower bits may be incomplete.

    Args:
        words: uint64 [n], 32 bits each; one more follows the word at `position`.
        position: of the first bit, at least 0.
    """
    word = position >> 5
    return ((words[word] << np.uint64(32)) | words[word + 1]) << np.uint64(position & 31)
