"""From lines to subband samples: alias reduction, inverse MDCT, windows, overlap, frequency inversion (11172-3 2.4.3.4.10).

The transform is linear, so the mean of two channels is transformed once. Where their blocks are of different types, each is
transformed by its own, and the results are added.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.mp3.native.compiled import kernel
from pipeline.mp3.native.lines import MIXED

SLOTS = 18  # samples of a subband in a granule
_SHORT = 2  # block type


def _inverse_mdct(size: int) -> np.ndarray:
    """Returns the matrix [size, size / 2] of an inverse MDCT without its window."""
    time, line = np.arange(size)[:, np.newaxis], np.arange(size // 2)
    return np.cos(np.pi / (2 * size) * (2 * time + 1 + size // 2) * (2 * line + 1))


def _windows() -> np.ndarray:
    """Returns the windows of block types 0 to 3, float64 [4, 36]; that of short blocks is in their matrix."""
    long, short = (np.sin(np.pi / size * (np.arange(size) + 0.5)) for size in (36, 12))
    windows = np.zeros((4, 36))
    windows[0] = long
    windows[1] = np.concatenate([long[:18], np.ones(6), short[6:], np.zeros(6)])
    windows[3] = np.concatenate([np.zeros(6), short[:6], np.ones(6), long[18:]])
    return windows


def _short_matrix() -> np.ndarray:
    """Returns the matrix [36, 18] of the three windows of a short block, whose lines are interleaved."""
    windowed = np.sin(np.pi / 12 * (np.arange(12) + 0.5))[:, np.newaxis] * _inverse_mdct(12)
    matrix = np.zeros((36, 18))
    for window in range(3):
        matrix[6 + 6 * window : 18 + 6 * window, window::3] += windowed
    return matrix


# Half of the 36 rows follow from the others: x[17 - i] = -x[i] and x[35 - i] = x[18 + i] for i < 9.
_UNIQUE_ROWS = (*range(9), *range(18, 27))
_LONG = _inverse_mdct(36)[list(_UNIQUE_ROWS)].astype(np.float32)
_WINDOWS = _windows().astype(np.float32)
_SHORT_MATRIX = _short_matrix().astype(np.float32)
_ALIAS = np.array([-0.6, -0.535, -0.33, -0.185, -0.095, -0.041, -0.0142, -0.0037])  # 11172-3 table B.9
_KEEP, _CROSS = ((v / np.sqrt(1 + _ALIAS**2)).astype(np.float32) for v in (1.0, _ALIAS))


def hybrid_kernel(bands: int) -> Callable[..., None]:
    """Returns a kernel for so many subbands, from the lowest on: loops of a known length are several times as fast.

    The kernel has these arguments:
        lines: float32 [granules, 18 * bands], as from `lines.decode_lines`.
        other_lines: the same, of granules whose channels have different blocks.
        blocks: int8 [granules, 2].
        subbands: float32 [18 * (granules - 1), bands], the result. The first granule only gives the overlap for the second.
    """
    block_size = SLOTS * bands

    @kernel
    def to_subbands(lines, other_lines, blocks, subbands):
        by_line = np.zeros(block_size, np.float32)  # [18, bands]
        half = np.zeros(block_size, np.float32)
        new = np.zeros(2 * block_size, np.float32)  # [36, bands]
        spare = np.zeros(2 * block_size, np.float32)
        overlap = np.zeros(block_size, np.float32)
        result = subbands.reshape(-1)
        for granule in range(len(lines)):
            transform(lines[granule], blocks[granule, 0], by_line, half, new, spare)
            if blocks[granule, 0] != blocks[granule, 1]:
                first = new.copy()
                transform(other_lines[granule], blocks[granule, 1], by_line, half, new, spare)
                new += first
            if granule:
                target = result[block_size * (granule - 1) : block_size * granule]
                for place in range(block_size):
                    target[place] = overlap[place] + new[place]
                for slot in range(1, SLOTS, 2):
                    for band in range(1, bands, 2):
                        target[slot * bands + band] *= -1
            for place in range(block_size):
                overlap[place] = new[block_size + place]

    @kernel
    def transform(lines, block, by_line, half, new, spare):
        """Writes the 36 windowed samples of each subband to `new`."""
        kind, is_mixed = block & 3, block >= MIXED
        for line in range(SLOTS):
            for band in range(bands):
                by_line[line * bands + band] = lines[SLOTS * band + line]
        # Neighbouring subbands of long blocks share what the filterbank mirrors from one into the other.
        last = (2 if is_mixed else 1) if kind == _SHORT else bands
        for place in range(8):
            below, above = by_line[(17 - place) * bands :], by_line[place * bands + 1 :]
            keep, cross = _KEEP[place], _CROSS[place]
            for band in range(last - 1):
                low, high = below[band], above[band]
                below[band] = low * keep - high * cross
                above[band] = high * keep + low * cross
        if kind == _SHORT:
            multiply_short(by_line, new)
        else:
            multiply_long(by_line, kind, half, new)
        if is_mixed:
            multiply_long(by_line, 0, half, spare)
            for row in range(2 * SLOTS):
                for band in range(2):
                    new[row * bands + band] = spare[row * bands + band]

    @kernel
    def multiply_short(by_line, new):
        for row in range(2 * SLOTS):
            target = new[row * bands : (row + 1) * bands]
            for band in range(bands):
                total = np.float32(0)
                for line in range(SLOTS):
                    total += _SHORT_MATRIX[row, line] * by_line[line * bands + band]
                target[band] = total

    @kernel
    def multiply_long(by_line, kind, half, new):
        for row in range(SLOTS):
            target = half[row * bands : (row + 1) * bands]
            for band in range(bands):
                total = np.float32(0)
                for line in range(SLOTS):
                    total += _LONG[row, line] * by_line[line * bands + band]
                target[band] = total
        for row in range(SLOTS):
            mirrored = row < 9
            early = half[(row if mirrored else 17 - row) * bands :]
            late = half[(9 + row if mirrored else 26 - row) * bands :]
            early_gain = _WINDOWS[kind, row] if mirrored else -_WINDOWS[kind, row]
            late_gain = _WINDOWS[kind, SLOTS + row]
            first, second = new[row * bands :], new[(SLOTS + row) * bands :]
            for band in range(bands):
                first[band] = early_gain * early[band]
            for band in range(bands):
                second[band] = late_gain * late[band]

    return to_subbands
