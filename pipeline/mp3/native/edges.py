"""Makes the edges of a crop at half rate what a resampler makes of them: as if there was silence outside the crop.

Samples at half rate are made by a filter that reaches `HALF_TAPS` samples of the file to both sides. Here, what it takes from
outside the crop is subtracted again, for which a few granules are decoded at the file's rate.
"""

from __future__ import annotations

import numpy as np

from pipeline.mp3.native.bands import LINES
from pipeline.mp3.native.compiled import kernel
from pipeline.mp3.native.half_band import resampling_filter
from pipeline.mp3.native.hybrid import SLOTS, hybrid_kernel
from pipeline.mp3.native.lines import DECODED, decode_lines, granules_of_frame
from pipeline.mp3.native.synthesis import BANDS, HISTORY, synthesize_full

_TAPS = resampling_filter()
HALF_TAPS = len(_TAPS) // 2
# One half of the symmetric filter, its even and its odd taps apart: at half rate every second one counts.
_TAPS_OF = np.stack([_TAPS[HALF_TAPS::2], np.append(_TAPS[HALF_TAPS + 1 :: 2], 0)]).astype(np.float32)
_MOST_GRANULES = 8  # that the samples of an edge are made of, and those of their frames
EDGE_FLOATS = _MOST_GRANULES * LINES * 4 + HALF_TAPS

full_hybrid = hybrid_kernel(BANDS)


@kernel
def decode_outside(
    data,
    places,
    main_begin,
    words,
    channels,
    skipped,
    is_beginning,
    long_edges,
    short_edges,
    first_row,
    begin,
    work,
    is_requantized,
):
    """Decodes the samples [begin, begin + HALF_TAPS) at the file's rate.

    Args:
        data, places, main_begin, words, channels, is_beginning, long_edges, short_edges: as in `lines.decode_lines`.
        skipped: frames before the first granule.
        first_row: granules of silence before the first granule.
        begin: the first sample, from the beginning of those on.
        work: float32 [EDGE_FLOATS], working memory.
        is_requantized: True. Numba compiles `lines.decode_lines` once if it is told so in one way.

    Returns:
        The status (see `lines`), and float32 [HALF_TAPS], in the working memory.
    """
    samples = work[:HALF_TAPS]
    for place in range(HALF_TAPS):
        samples[place] = 0
    frames, per_frame = len(places) - 1 - skipped, granules_of_frame(data)
    first_slot, last_slot = begin // BANDS - HISTORY, (begin + HALF_TAPS - 1) // BANDS
    # Rows are granules, those of silence too; whole frames are decoded.
    first, last = first_slot // SLOTS - 1 - first_row, last_slot // SLOTS - first_row
    first_frame = max(first // per_frame, 0)
    end_frame = min(last // per_frame + 1, frames)
    if end_frame <= first_frame:
        return DECODED, samples
    silent = max(-first, 0)
    granules = silent + per_frame * (end_frame - first_frame)
    if granules > _MOST_GRANULES:
        return DECODED, samples
    size = granules * LINES
    memory = work[HALF_TAPS:]
    lines, other_lines = memory[:size].reshape((granules, LINES)), memory[size : 2 * size].reshape((granules, LINES))
    # One granule more, of silence: behind the last frame only the filterbank rings on.
    subbands = memory[2 * size : 3 * size].reshape((granules * SLOTS, BANDS))
    for slot in range((granules - 1) * SLOTS, granules * SLOTS):
        for band in range(BANDS):
            subbands[slot, band] = 0
    made = memory[3 * size : 4 * size]
    blocks = np.zeros((granules, 2), np.int8)
    for granule in range(silent):
        for line in range(LINES):
            lines[granule, line] = 0
    status = decode_lines(
        data,
        places,
        main_begin,
        words,
        channels,
        skipped + first_frame,
        is_beginning,
        long_edges,
        short_edges,
        blocks[silent:],
        lines[silent:],
        other_lines[silent:],
        is_requantized,
    )
    if status != DECODED:
        return status, samples
    full_hybrid(lines, other_lines, blocks, subbands)
    synthesize_full(subbands, memory[: 2 * size], made)  # the lines are no longer needed
    # The first row that was decoded gives the overlap, and the first slots behind it what later ones need.
    origin = ((first_row + per_frame * first_frame - silent + 1) * SLOTS + HISTORY) * BANDS
    held = (len(subbands) - HISTORY) * BANDS
    for place in range(max(origin - begin, 0), min(HALF_TAPS, held + origin - begin)):
        samples[place] = made[begin - origin + place]
    return DECODED, samples


@kernel
def subtract_before(outside, samples):
    """Subtracts from the first samples what the filter takes from before them.

    Args:
        outside: float32 [HALF_TAPS], the samples of the file before the crop.
        samples: float32 [samples] at half rate, the crop; changed in place.
    """
    for distance in range(1, HALF_TAPS + 1):  # from the crop's first sample
        weights = _TAPS_OF[distance & 1, distance >> 1 :]  # of the first sample of the crop, the second, ...
        sample = outside[HALF_TAPS - distance]
        for number in range(min(len(samples), (HALF_TAPS - distance) // 2 + 1)):
            samples[number] -= weights[number] * sample


@kernel
def subtract_behind(outside, end, samples):
    """Subtracts from the last samples what the filter takes from behind the crop.

    Args:
        outside: float32 [HALF_TAPS], the samples of the file behind the crop.
        end: where the crop ends, in samples of the file from its first sample at half rate on.
        samples: float32 [samples] at half rate, the crop; changed in place.
    """
    last = end - 2 * (len(samples) - 1)  # the distance of the first sample outside from the last one inside
    for distance in range(last, HALF_TAPS + 1):
        weights = _TAPS_OF[distance & 1, distance >> 1 :]  # of the last sample of the crop, the last but one, ...
        sample = outside[distance - last]
        for number in range(min(len(samples), (HALF_TAPS - distance) // 2 + 1)):
            samples[len(samples) - 1 - number] -= weights[number] * sample
