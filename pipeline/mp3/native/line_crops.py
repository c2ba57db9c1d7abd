"""Decodes crops only as far as the lines of their granules, in the same shape for every crop of a length.

A layer turns the lines to samples (`pipeline.decoding.mp3_synthesis`), on the device that trains. Of a crop at half the file's
rate these rows are sent, each of `LINES_OF_ROW` numbers:

- a row a granule: its lines (see `lines.decode_lines`);
- `spare_rows`: the second channel's lines of granules whose channels have blocks of different types;
- one row for the ends: what `edges` adds to the first and to the last samples.

Whatever is not sent as lines is sent as samples in the same place, because there are at least as many numbers as samples.
"""

from __future__ import annotations

import functools

import numpy as np

from pipeline.mp3.native.bands import LINES
from pipeline.mp3.native.compiled import inlined_kernel, kernel
from pipeline.mp3.native.crops import (
    BEHIND,
    CHANNELS,
    CODED_GRANULES,
    DATA_BEGIN,
    DATA_BYTES,
    FIRST_SAMPLE,
    FRAMES,
    IS_BEGINNING,
    PADDING_BYTES,
    PHASE,
    ROW,
    SAMPLES,
    SILENT_GRANULES,
    SKIPPED_FRAMES,
    plan_span,
)
from pipeline.mp3.native.edges import EDGE_FLOATS, HALF_TAPS, decode_outside, subtract_before, subtract_behind
from pipeline.mp3.native.hybrid import SLOTS
from pipeline.mp3.native.lines import DECODED, SAMPLES_TOO_LARGE, decode_lines, join_frames
from pipeline.mp3.native.synthesis import BANDS, HALF_BANDS, HISTORY

LINES_OF_ROW = SLOTS * HALF_BANDS
EDGE_SAMPLES = HALF_TAPS // 2 + 1  # at each end, that a filter which reaches over it changes
MIN_CROP_SAMPLES = 2 * EDGE_SAMPLES
NO_GRANULE = 8  # stands for a block type behind the stream's last granule: not even the one before rings on there
# The columns of `places`. Behind them, for each spare row, the row of the granule that it belongs to, plus 1, and 0 for none.
PLACE_FIRST_SAMPLE = (
    0  # of the crop among the samples at the file's rate that its granules make; every second one is taken
)
PLACE_IS_WAVEFORM = 1  # whether the numbers are samples
PLACE_SPARE_ROWS = 2
TOO_MANY_SPARE_ROWS = SAMPLES_TOO_LARGE + 1
_MAX_LINE = 1e4  # louder ones, which no sound has, are left to where samples are checked
_SPARE_SHARE = 10  # of the granules; FMA clips that have any have 0 to 14 % in 5 s, most below 8


@functools.cache
def granule_rows(crop_samples: int) -> int:
    """Returns how many granules a crop of so many samples at half rate is made of at most."""
    many = 1 << 40
    granules = 2  # of a frame of MPEG-1; those of MPEG-2 have one, and take no more rows
    spans = [plan_span(start, crop_samples, many, granules, True) for start in range(many, many + granules * LINES)]
    return max(granules * (span.end_frame - span.first_frame) for span in spans)


def spare_rows(crop_samples: int) -> int:
    """Returns for how many granules with blocks of different types there is room."""
    return -(-granule_rows(crop_samples) // _SPARE_SHARE)


def all_rows(crop_samples: int) -> int:
    """Returns how many rows a crop has."""
    return granule_rows(crop_samples) + spare_rows(crop_samples) + 1


@kernel
def decode_line_jobs(
    data, jobs, frame_bytes, long_edges, short_edges, granules, work, main, words, lines, blocks, places, status
):
    """Decodes crops to lines.

    Args:
        data, jobs, frame_bytes, long_edges, short_edges, main, words: as in `crops.decode_jobs`.
        granules: as `granule_rows` returns it.
        work: float32 [granules * LINES_OF_ROW + EDGE_FLOATS], working memory.
        lines: float32 [crops, all_rows, LINES_OF_ROW], the result, in the rows that the jobs name.
        blocks: int8 [crops, all_rows - 1], the result: the block type of each row, plus MIXED for mixed blocks.
        places: int32 [crops, PLACE_SPARE_ROWS + spare rows], the result.
        status: int64 [jobs], the result: DECODED, or why the crop cannot be sent as lines.
    """
    for number in range(len(jobs)):
        job = jobs[number]
        begin, row = job[DATA_BEGIN], job[ROW]
        status[number] = _decode_line_job(
            data[begin : begin + job[DATA_BYTES] + PADDING_BYTES],
            job,
            frame_bytes[number],
            long_edges[number],
            short_edges[number],
            granules,
            work,
            main,
            words,
            lines[row],
            blocks[row],
            places[row],
        )


@inlined_kernel
def _decode_line_job(
    data, job, frame_bytes, long_edges, short_edges, granules, work, main, words, lines, blocks, places
):
    silent = job[SILENT_GRANULES]
    coded_end = silent + job[CODED_GRANULES]
    if coded_end > granules:
        return TOO_MANY_SPARE_ROWS
    lines[:silent] = 0
    lines[coded_end:] = 0
    blocks[:] = 0
    places[:] = 0
    places[PLACE_FIRST_SAMPLE] = 2 * job[FIRST_SAMPLE] + job[PHASE]
    frames = job[FRAMES]
    frame_places, main_begin = np.empty(frames + 1, np.int64), np.empty(frames + 1, np.int64)
    status = join_frames(data, job[DATA_BYTES], frame_bytes, job[CHANNELS], frame_places, main, main_begin, words)
    if status != DECODED:
        return status
    pairs = np.zeros((granules, 2), np.int8)
    size = granules * LINES_OF_ROW
    other_lines = work[:size].reshape((granules, LINES_OF_ROW))
    status = decode_lines(
        data,
        frame_places,
        main_begin,
        words,
        job[CHANNELS],
        job[SKIPPED_FRAMES],
        job[IS_BEGINNING],
        long_edges,
        short_edges,
        pairs[silent:coded_end],
        lines[silent:coded_end],
        other_lines[silent:coded_end],
        True,
    )
    if status != DECODED:
        return status
    spare = granules
    for row in range(coded_end):
        blocks[row] = pairs[row, 0]
        if pairs[row, 0] != pairs[row, 1]:
            if spare == len(blocks):
                return TOO_MANY_SPARE_ROWS
            lines[spare] = other_lines[row]
            blocks[spare] = pairs[row, 1]
            places[PLACE_SPARE_ROWS + spare - granules] = row + 1
            spare += 1
    for row in range(coded_end, granules):
        blocks[row] = NO_GRANULE
    begin = (SLOTS + HISTORY) * BANDS + places[PLACE_FIRST_SAMPLE]
    for edge in range(2):
        status, outside = decode_outside(
            data,
            frame_places,
            main_begin,
            words,
            job[CHANNELS],
            job[SKIPPED_FRAMES],
            job[IS_BEGINNING],
            long_edges,
            short_edges,
            silent,
            begin - HALF_TAPS if edge == 0 else begin + job[BEHIND],
            work[size : size + EDGE_FLOATS],
            True,
        )
        if status != DECODED:
            return status
        ends = lines[len(lines) - 1, edge * EDGE_SAMPLES : (edge + 1) * EDGE_SAMPLES]
        if edge == 0:
            subtract_before(outside, ends)
        else:
            subtract_behind(outside, job[BEHIND] - 2 * (job[SAMPLES] - EDGE_SAMPLES), ends)
    highest = np.float32(0)
    for row in range(len(lines)):
        for line in range(LINES_OF_ROW):
            highest = max(highest, abs(lines[row, line]))
    return DECODED if highest <= _MAX_LINE else SAMPLES_TOO_LARGE
