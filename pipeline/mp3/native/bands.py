"""The scale factor bands: groups of neighbouring lines that share a scale factor (11172-3 table B.8; 13818-3 table B.2)."""

from __future__ import annotations

import functools

import numpy as np

LONG_BANDS, SHORT_BANDS = 22, 13
LINES = 576  # of a granule
_LOW_LONG = (6, 6, 6, 6, 6, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 38, 46, 52, 60, 68, 58, 54)
_LOW_SHORT = (4, 4, 4, 6, 8, 10, 12, 14, 18, 24, 30, 40, 18)
# Widths of the bands of a long block, and of one window of a short block.
_WIDTHS = {
    44100: (
        (4, 4, 4, 4, 4, 4, 6, 6, 8, 8, 10, 12, 16, 20, 24, 28, 34, 42, 50, 54, 76, 158),
        (4, 4, 4, 4, 6, 8, 10, 12, 14, 18, 22, 30, 56),
    ),
    48000: (
        (4, 4, 4, 4, 4, 4, 6, 6, 6, 8, 10, 12, 16, 18, 22, 28, 34, 40, 46, 54, 54, 192),
        (4, 4, 4, 4, 6, 6, 10, 12, 14, 16, 20, 26, 66),
    ),
    32000: (
        (4, 4, 4, 4, 4, 4, 6, 6, 8, 10, 12, 16, 20, 24, 30, 38, 46, 56, 68, 84, 102, 26),
        (4, 4, 4, 4, 6, 8, 12, 16, 20, 26, 34, 42, 12),
    ),
    24000: (
        (6, 6, 6, 6, 6, 6, 8, 10, 12, 14, 16, 18, 22, 26, 32, 38, 46, 54, 62, 70, 76, 36),
        (4, 4, 4, 6, 8, 10, 12, 14, 18, 24, 32, 44, 12),
    ),
    22050: (_LOW_LONG, (4, 4, 4, 6, 6, 8, 10, 14, 18, 26, 32, 42, 18)),
    16000: (_LOW_LONG, _LOW_SHORT),
    12000: (_LOW_LONG, _LOW_SHORT),
    11025: (_LOW_LONG, _LOW_SHORT),
    8000: (
        (12, 12, 12, 12, 12, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 76, 90, 2, 2, 2, 2, 2),
        (8, 8, 8, 12, 16, 20, 24, 28, 36, 2, 2, 2, 26),
    ),
}
RATES_HZ = tuple(sorted(_WIDTHS))


@functools.cache
def band_edges(sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the bands begin and where the last one ends.

    Args:
        sample_rate_hz: of the stream.

    Returns:
        int32 [23] for long blocks, 0...576, and int32 [14] for a window of short blocks, 0...192.
    """
    long, short = _WIDTHS[sample_rate_hz]
    return np.cumsum((0, *long), dtype=np.int32), np.cumsum((0, *short), dtype=np.int32)
