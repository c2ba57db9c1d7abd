"""Decodes spans of streams, many in one call: from the bytes of their frames to mono samples at the file's rate or at half of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.mp3.native.compiled import inlined_kernel, kernel
from pipeline.mp3.native.edges import (
    EDGE_FLOATS,
    HALF_TAPS,
    decode_outside,
    full_hybrid,
    subtract_before,
    subtract_behind,
)
from pipeline.mp3.native.half_band import REACH, filter_subbands
from pipeline.mp3.native.hybrid import SLOTS, hybrid_kernel
from pipeline.mp3.native.lines import DECODED, SAMPLES_TOO_LARGE, decode_lines, join_frames
from pipeline.mp3.native.synthesis import (
    BANDS,
    HALF_BANDS,
    HALF_RATE,
    HISTORY,
    synthesize_full,
    synthesize_half,
)

# What is done one after another; a measurement may end after any of them.
JOIN, BITS, REQUANTIZE, TRANSFORM, SYNTHESIS = range(5)
PADDING_BYTES = 8  # behind the bytes of a span, for reading
# The columns of a job.
DATA_BEGIN, DATA_BYTES = 0, 1  # its frames among the bytes of all jobs
CHANNELS = 2
SKIPPED_FRAMES = 3  # as in `lines.decode_lines`
IS_BEGINNING = 4  # likewise
SILENT_GRANULES = 5  # before the first granule, which is then the stream's first
CODED_GRANULES = 6  # behind those, of whole frames
FIRST_SAMPLE = 7  # of the span, among the samples that all those granules make
PHASE = 8  # at half rate: whether the odd samples are taken
ROW, PLACE, SAMPLES = 9, 10, 11  # where the span's samples go, and how many they are
BEFORE, BEHIND = (
    12,
    13,
)  # at half rate: 1 if the crop begins here, and how many of the file's samples it lasts, if it ends here
FRAMES = 14  # how many are joined: those that are skipped, those that are decoded, and some more that must be there
COLUMNS = 15

_half_hybrid = hybrid_kernel(HALF_BANDS)


class Span(NamedTuple):
    """Which granules a span is made of, and where it lies in what they make.

    Attributes:
        first_frame: first frame that is decoded.
        end_frame: last one plus one; not behind the stream's last.
        silent_granules: granules of silence before them.
        first_sample: of the span in what they make, at the span's rate.
        phase: at half rate, whether the span takes the odd samples of the slots.
    """

    first_frame: int
    end_frame: int
    silent_granules: int
    first_sample: int
    phase: int


def plan_span(start: int, samples: int, frame_count: int, frame_granules: int, is_half_rate: bool) -> Span:
    """Finds out what has to be decoded for a span.

    Args:
        start: the span's first sample, from the beginning of the stream's first granule, at the file's rate.
        samples: its length at its own rate.
        frame_count: frames of the stream.
        frame_granules: granules of a frame.
        is_half_rate: whether its rate is half the file's: every second sample from `start` on.
    """
    step, reach = (2, REACH) if is_half_rate else (1, 0)
    first_slot = start // BANDS - HISTORY - reach
    last_slot = (start + step * (samples - 1)) // BANDS + reach
    first_granule = first_slot // SLOTS - 1  # one more, for the overlap
    first_frame = max(first_granule // frame_granules, 0)
    silent = max(-first_granule, 0)
    # The first granule of all makes nothing but its overlap, and the slots behind it only what later ones need.
    made = ((frame_granules * first_frame - silent + 1) * SLOTS + HISTORY) * BANDS
    phase = start % step
    return Span(
        first_frame,
        min(last_slot // SLOTS // frame_granules + 1, frame_count),
        silent,
        (start - phase - made) // step,
        phase,
    )


def work_floats(granules: int, is_half_rate: bool) -> int:
    """Returns how many float32 of working memory a job of so many granules takes."""
    bands = HALF_BANDS if is_half_rate else BANDS
    return 4 * granules * SLOTS * bands + EDGE_FLOATS


@kernel
def decode_jobs(
    data,
    jobs,
    frame_bytes,
    long_edges,
    short_edges,
    is_half_rate,
    work,
    main,
    words,
    max_sample,
    samples,
    status,
    last_stage=SYNTHESIS,
):
    """Decodes spans.

    Args:
        data: uint8, the bytes of all jobs' frames, and PADDING_BYTES.
        jobs: int64 [jobs, COLUMNS].
        frame_bytes: int32 [jobs, 256], as in `lines.decode_lines`.
        long_edges: int32 [jobs, 23], and `short_edges` [jobs, 14]: the bands of each job's stream (see `bands`).
        is_half_rate: whether all spans are at half of their files' rates.
        work: float32, at least `work_floats` of the longest job.
        main: uint8 [4 * words] and `words` uint64: more working memory, at least `lines.main_words` of the longest job.
        max_sample: what a sample must not exceed.
        samples: float32 [rows, samples], the result.
        status: int64 [jobs], the result: DECODED, or why the span cannot be decoded here (see `lines`).
        last_stage: after which to end; the samples are undefined if it is not the last one.
    """
    for number in range(len(jobs)):
        job = jobs[number]
        begin = job[DATA_BEGIN]
        status[number] = _decode_job(
            data[begin : begin + job[DATA_BYTES] + PADDING_BYTES],
            job,
            frame_bytes[number],
            long_edges[number],
            short_edges[number],
            is_half_rate,
            work,
            main,
            words,
            max_sample,
            samples[job[ROW], job[PLACE] : job[PLACE] + job[SAMPLES]],
            last_stage,
        )


@inlined_kernel
def _decode_job(
    data,
    job,
    frame_bytes,
    long_edges,
    short_edges,
    is_half_rate,
    work,
    main,
    words,
    max_sample,
    samples,
    last_stage,
):
    bands = HALF_BANDS if is_half_rate else BANDS
    silent, granules = job[SILENT_GRANULES], job[SILENT_GRANULES] + job[CODED_GRANULES]
    width = SLOTS * bands
    size = granules * width
    lines, other_lines = work[:size].reshape((granules, width)), work[size : 2 * size].reshape((granules, width))
    subbands = work[2 * size : 3 * size - width].reshape(((granules - 1) * SLOTS, bands))
    made = work[3 * size : 4 * size]
    blocks = np.zeros((granules, 2), np.int8)
    for granule in range(silent):
        for line in range(width):
            lines[granule, line] = 0
    frames = job[FRAMES]
    places, main_begin = np.empty(frames + 1, np.int64), np.empty(frames + 1, np.int64)
    status = join_frames(data, job[DATA_BYTES], frame_bytes, job[CHANNELS], places, main, main_begin, words)
    if status != DECODED or last_stage == JOIN:
        return status
    status = decode_lines(
        data,
        places,
        main_begin,
        words,
        job[CHANNELS],
        job[SKIPPED_FRAMES],
        job[IS_BEGINNING],
        long_edges,
        short_edges,
        blocks[silent:],
        lines[silent:],
        other_lines[silent:],
        last_stage >= REQUANTIZE,
    )
    if status != DECODED or last_stage < TRANSFORM:
        return status
    if is_half_rate:
        _half_hybrid(lines, other_lines, blocks, subbands)
        filter_subbands(subbands)
    else:
        full_hybrid(lines, other_lines, blocks, subbands)
    if last_stage == TRANSFORM:
        return status
    if is_half_rate:
        synthesize_half(subbands, HALF_RATE[job[PHASE]], made)
    else:
        synthesize_full(subbands, work[: 2 * size], made)  # the lines are no longer needed
    held = (len(subbands) - HISTORY) * (BANDS // 2 if is_half_rate else BANDS)
    first = job[FIRST_SAMPLE]
    count = max(min(len(samples), held - first), 0)
    for place in range(count):
        samples[place] = made[first + place]
    for place in range(count, len(samples)):
        samples[place] = 0
    if is_half_rate:
        # Where the crop begins, in samples of the file from the first granule on, those of silence too.
        begin = (SLOTS + HISTORY) * BANDS + job[PHASE] + 2 * first
        for edge in range(2):
            if not job[BEFORE + edge]:
                continue
            status, outside = decode_outside(
                data,
                places,
                main_begin,
                words,
                job[CHANNELS],
                job[SKIPPED_FRAMES],
                job[IS_BEGINNING],
                long_edges,
                short_edges,
                silent,
                begin - HALF_TAPS if edge == 0 else begin + job[BEHIND],
                work[4 * size :],
                last_stage >= REQUANTIZE,
            )
            if status != DECODED:
                return status
            if edge == 0:
                subtract_before(outside, samples)
            else:
                subtract_behind(outside, job[BEHIND], samples)
    too_large, highest = 0, np.float32(max_sample)
    for sample in samples:
        too_large += sample > highest or sample < -highest
    return SAMPLES_TOO_LARGE if too_large else DECODED
