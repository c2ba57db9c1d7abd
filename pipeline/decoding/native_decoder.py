"""Decodes MP3s by the native kernels, many crops in one call that does not hold Python's lock."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import soxr

from pipeline import windows
from pipeline.decoding.buffers import Buffers, buffer_pool
from pipeline.decoding.decoder import MAX_SAMPLE
from pipeline.decoding.native_stream import NativeStream
from pipeline.mp3.native import crops as kernels
from pipeline.mp3.native.bands import LINES, LONG_BANDS, SHORT_BANDS
from pipeline.mp3.native.compiled import announce_compiling
from pipeline.mp3.native.lines import DECODED, FRAMES_MISSING, REASONS, main_words

# The stages of decoding a crop: reading its bytes and joining its frames; Huffman; lines; subbands; samples.
STAGES = ("read", "bits", "requantize", "transform", "synthesis")
# Longer spans are decoded piece by piece, so that a long clip takes no more memory than a short one.
_MAX_PIECE_SAMPLES = 512 * 576
_MIN_PIECE_SAMPLES = 1024
_MAX_BYTES_OF_A_CALL = 1 << 23


def decode_crops(
    crops: Sequence[tuple[NativeStream, float]],
    sample_rate_hz: int,
    crop_samples: int,
    batch: np.ndarray,
    last_stage: int = kernels.SYNTHESIS,
) -> list[str]:
    """Decodes crops of any number of clips.

    Args:
        crops: of each its stream, and its position in the clip (see `soundfile_decoder.decode_crop`).
        sample_rate_hz: rate of the waveforms.
        crop_samples: length of a crop; 0 for whole clips.
        batch: float32 [crops, samples], the result: each row the crop, and zeros behind its end.
        last_stage: number of the stage among `STAGES` after which to end, for measurements; the result is then undefined.

    Returns:
        Of each crop, why it cannot be decoded here, which leaves its row undefined; or "".
    """
    announce_compiling()
    reasons = [""] * len(crops)
    with buffer_pool.borrow() as buffers:
        halved = [n for n, (stream, _) in enumerate(crops) if stream.sample_rate_hz == 2 * sample_rate_hz]
        spans = [(*crops[n], n) for n in halved]
        for n, status in _decode(spans, sample_rate_hz, crop_samples, True, batch, buffers, last_stage):
            reasons[n] = reasons[n] or REASONS[status]  # of any piece
        for n in sorted({*range(len(crops))} - {*halved}):
            stream, position = crops[n]
            length = crop_length(stream, sample_rate_hz, crop_samples, stream.sample_rate_hz)
            total = buffers.array("full rate", 1, length)
            for _, status in _decode(
                [(stream, position, 0)], sample_rate_hz, crop_samples, False, total, buffers, last_stage
            ):
                reasons[n] = reasons[n] or REASONS[status]
            if not reasons[n]:
                waveform = total[0]
                if stream.sample_rate_hz != sample_rate_hz:
                    waveform = soxr.resample(waveform, stream.sample_rate_hz, sample_rate_hz)
                fitted = waveform[: batch.shape[1]]
                batch[n, : len(fitted)] = fitted
                batch[n, len(fitted) :] = 0
    return reasons


def compile_kernels() -> None:
    """Compiles the kernels, or reads them from their cache, by decoding nothing."""
    announce_compiling()
    with buffer_pool.borrow() as buffers:
        list(_run([], False, np.empty((0, 1), np.float32), buffers))


def find_doubts(stream: NativeStream) -> tuple[int, list[str]]:
    """Decodes a whole clip piece by piece.

    Returns:
        The number of pieces, and why each of those that cannot be decoded here cannot.
    """
    announce_compiling()
    doubts, pieces = [], len(_pieces(stream.samples))
    with buffer_pool.borrow() as buffers:
        for place, count in _pieces(stream.samples):
            piece = read_span(stream, place, count, count, False)
            statuses = [(0, FRAMES_MISSING)]
            if piece is not None:
                statuses = list(_run([(stream, *piece)], False, buffers.array("full rate", 1, count), buffers))
            doubts += [REASONS[status] for _, status in statuses if status != DECODED]
    return pieces, doubts


def crop_length(stream: NativeStream, sample_rate_hz: int, crop_samples: int, at_rate_hz: int) -> int:
    """Returns how many samples a crop has at another rate, before it is padded.

    Args:
        stream: of the clip.
        sample_rate_hz: rate of `crop_samples`.
        crop_samples: length of a crop; 0 for the whole clip.
        at_rate_hz: the rate to count at: the file's own or another.
    """
    _, wanted = windows.crop_span(stream.samples, stream.sample_rate_hz, crop_samples, sample_rate_hz, 0.0)
    rounded = (2 * int(wanted) * at_rate_hz + stream.sample_rate_hz) // (2 * stream.sample_rate_hz)  # as soxr rounds
    return min(rounded, crop_samples) if crop_samples and at_rate_hz == sample_rate_hz else rounded


def _decode(
    crops: Sequence[tuple[NativeStream, float, int]],
    sample_rate_hz: int,
    crop_samples: int,
    is_half_rate: bool,
    batch: np.ndarray,
    buffers: Buffers,
    last_stage: int,
) -> Iterator[tuple[int, int]]:
    """Decodes crops, each to a row of the batch; yields rows and their status, several times where there are several pieces."""
    pieces: list[tuple[NativeStream, bytes, np.ndarray]] = []
    held = 0
    for stream, position, row in crops:
        span = windows.crop_span(stream.samples, stream.sample_rate_hz, crop_samples, sample_rate_hz, position)
        start, wanted = (int(number) for number in span)
        rate = sample_rate_hz if is_half_rate else stream.sample_rate_hz
        length = crop_length(stream, sample_rate_hz, crop_samples, rate)
        batch[row, length:] = 0
        for place, count in _pieces(length):
            passed = place * (2 if is_half_rate else 1)
            piece = read_span(stream, start + passed, wanted - passed, count, is_half_rate)
            if piece is None:
                yield row, FRAMES_MISSING
                continue
            job = piece[1]
            job[kernels.ROW], job[kernels.PLACE] = row, place
            job[kernels.BEFORE] = place == 0
            job[kernels.BEHIND] = wanted - passed if place + count == length else 0
            pieces.append((stream, *piece))
            held += len(piece[0])
            if held > _MAX_BYTES_OF_A_CALL:
                yield from _run(pieces, is_half_rate, batch, buffers, last_stage)
                pieces, held = [], 0
    if pieces:
        yield from _run(pieces, is_half_rate, batch, buffers, last_stage)


def _pieces(samples: int) -> list[tuple[int, int]]:
    """Divides a span: where each piece begins, and how long it is. The last is longer rather than shorter than the filter."""
    places = [*range(0, max(samples - _MIN_PIECE_SAMPLES, 1), _MAX_PIECE_SAMPLES), samples]
    return [(begin, end - begin) for begin, end in itertools.pairwise(places)]


def read_span(
    stream: NativeStream, start: int, left: int, count: int, is_half_rate: bool
) -> tuple[bytes, np.ndarray] | None:
    """Reads the frames of a span and makes its job; returns None where the frames are not there.

    Args:
        stream: of the clip.
        start: where in the clip the span begins.
        left: how many samples of the crop, at the file's rate, begin there.
        count: samples of the span at its own rate.
        is_half_rate: whether that is half of the file's.
    """
    mp3 = stream.mp3
    # All frames that libsndfile would decode for the span have to be there, and lead to the same samples or to none.
    first_frame, end_frame = mp3.frames_of(start, left)
    start += stream.offset
    if start + left > mp3.frame_count * mp3.header.samples:
        return None
    frame_granules = mp3.header.samples // LINES
    span = kernels.plan_span(start, count, mp3.frame_count, frame_granules, is_half_rate)
    first_frame, end_frame = min(first_frame, span.first_frame), max(end_frame, span.end_frame)
    try:
        found = mp3.frames.read(stream.path, first_frame, end_frame, mp3.header)
    except OSError:
        return None  # libsndfile says what is wrong
    if found is None:
        return None
    data, first_frame, _ = found
    job = np.zeros(kernels.COLUMNS, np.int64)
    job[kernels.DATA_BYTES] = len(data)
    job[kernels.CHANNELS] = mp3.header.channels
    job[kernels.SKIPPED_FRAMES] = span.first_frame - first_frame
    job[kernels.IS_BEGINNING] = first_frame == 0
    job[kernels.SILENT_GRANULES] = span.silent_granules
    job[kernels.CODED_GRANULES] = frame_granules * (span.end_frame - span.first_frame)
    job[kernels.FIRST_SAMPLE] = span.first_sample
    job[kernels.PHASE] = span.phase
    job[kernels.SAMPLES] = count
    job[kernels.FRAMES] = end_frame - first_frame
    return data, job


def _run(
    pieces: Sequence[tuple[NativeStream, bytes, np.ndarray]],
    is_half_rate: bool,
    batch: np.ndarray,
    buffers: Buffers,
    last_stage: int = kernels.SYNTHESIS,
) -> Iterator[tuple[int, int]]:
    """Decodes the pieces in one call."""
    joined = join_pieces(pieces)
    granules = int((joined.jobs[:, kernels.SILENT_GRANULES] + joined.jobs[:, kernels.CODED_GRANULES]).max(initial=0))
    status = np.full(len(pieces), DECODED, np.int64)
    kernels.decode_jobs(
        *joined,
        is_half_rate,
        buffers.array("work", kernels.work_floats(granules, is_half_rate), 1)[:, 0],
        *joined.memory(buffers),
        MAX_SAMPLE,
        batch,
        status,
        last_stage,
    )
    for (_, _, job), result in zip(pieces, status, strict=True):
        yield int(job[kernels.ROW]), int(result)


class JoinedPieces(NamedTuple):
    """The pieces of one call, as the kernels take them.

    Attributes:
        data: uint8, the bytes of all.
        jobs: int64 [pieces, COLUMNS].
        frame_bytes: int32 [pieces, 256], and `long_edges`, `short_edges`: the tables of their streams.
    """

    data: np.ndarray
    jobs: np.ndarray
    frame_bytes: np.ndarray
    long_edges: np.ndarray
    short_edges: np.ndarray

    def memory(self, buffers: Buffers) -> tuple[np.ndarray, np.ndarray]:
        """Returns the memory for the main data of the longest piece, as bytes and as words."""
        words = int(main_words(int(self.jobs[:, kernels.DATA_BYTES].max(initial=0))))
        return (
            buffers.array("main", words, 1)[:, 0].view(np.uint8),
            buffers.array("words", 2 * words, 1)[:, 0].view(np.uint64),
        )


def join_pieces(pieces: Sequence[tuple[NativeStream, bytes, np.ndarray]]) -> JoinedPieces:
    """Joins pieces, of each its stream, the bytes of its frames and its job, for one call; there may be none."""
    jobs = np.array([job for _, _, job in pieces], np.int64).reshape(-1, kernels.COLUMNS)
    jobs[1:, kernels.DATA_BEGIN] = np.cumsum(jobs[:-1, kernels.DATA_BYTES])
    return JoinedPieces(
        np.frombuffer(b"".join([*(data for _, data, _ in pieces), bytes(kernels.PADDING_BYTES)]), np.uint8),
        jobs,
        _rows([stream.frame_bytes for stream, _, _ in pieces], 256),
        _rows([stream.long_edges for stream, _, _ in pieces], LONG_BANDS + 1),
        _rows([stream.short_edges for stream, _, _ in pieces], SHORT_BANDS + 1),
    )


def _rows(rows: list[np.ndarray], length: int) -> np.ndarray:
    return np.array(rows, np.int32).reshape(len(rows), length)
