"""The scale factor bands: groups of neighbouring lines that share a scale factor (11172-3 table B.8; 13818-3 table B.2)."""

from __future__ import annotations

import functools

import numpy as np

LONG_BANDS, SHORT_BANDS = 22, 13
LINES = 576  # of a granule
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
}
RATES_HZ = tuple(sorted(_WIDTHS))


@functools.cache
def band_edges(sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns where the bands begin and where the last one ends.

    Args:
        sample_rate_hz: of the stream.

    Returns:
        int32 [23] for long blocks, 0...576, and int32 [14] for a window of short blocks, 0...192; None if the rate is not
        of MPEG-1.
    """
    if sample_rate_hz not in _WIDTHS:
        return None
    long, short = _WIDTHS[sample_rate_hz]
    return np.cumsum((0, *long), dtype=np.int32), np.cumsum((0, *short), dtype=np.int32)
