"""Decodes crops as far as the lines of their granules where the native decoder decodes them, and to samples elsewhere.

Both go in the same tensors (see `pipeline.mp3.native.line_crops`), of which the layer `Mp3Synthesis` makes waveforms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline import windows
from pipeline.decoding import auto_decoder
from pipeline.decoding.buffers import buffer_pool
from pipeline.decoding.decoder import DecodeError
from pipeline.decoding.native_decoder import crop_length, join_pieces, read_span
from pipeline.decoding.native_stream import NativeStream, native_stream
from pipeline.decoding.soundfile_decoder import find_remark
from pipeline.mp3.native import crops as kernels
from pipeline.mp3.native import line_crops
from pipeline.mp3.native.bands import RATES_HZ
from pipeline.mp3.native.compiled import announce_compiling
from pipeline.mp3.native.edges import EDGE_FLOATS
from pipeline.mp3.native.line_crops import MIN_CROP_SAMPLES
from pipeline.mp3.native.lines import DECODED

__all__ = ["HALF_RATES_HZ", "MIN_CROP_SAMPLES", "LineBatch", "decode_batch", "find_remark", "prepare"]

HALF_RATES_HZ = tuple(rate // 2 for rate in RATES_HZ if rate % 2 == 0)


class LineBatch(NamedTuple):
    """A batch of crops as lines, or as samples.

    Attributes:
        lines: float32 [batch, rows, lines of a row].
        blocks: int8 [batch, rows - 1].
        places: int32 [batch, columns].
    """

    lines: np.ndarray
    blocks: np.ndarray
    places: np.ndarray


def empty_batch(crops: int, crop_samples: int) -> LineBatch:
    """Returns the tensors of so many crops, of silence, but the lines of unknown contents."""
    rows, spare = line_crops.all_rows(crop_samples), line_crops.spare_rows(crop_samples)
    return LineBatch(
        np.empty((crops, rows, line_crops.LINES_OF_ROW), np.float32),
        np.zeros((crops, rows - 1), np.int8),
        np.zeros((crops, line_crops.PLACE_SPARE_ROWS + spare), np.int32),
    )


def decode_batch(
    paths: Sequence[str], sample_rate_hz: int, crop_samples: int, positions: Sequence[float]
) -> tuple[LineBatch, list[DecodeError | None]]:
    """Decodes crops of any number of files.

    Args:
        paths: of each crop.
        sample_rate_hz: rate of the waveforms; of files of twice that rate the lines are sent.
        crop_samples: length of each, at least `line_crops.MIN_CROP_SAMPLES`.
        positions: where each crop starts, as in `soundfile_decoder.decode_crop`.

    Returns:
        The crops, and of each the error that `auto_decoder.decode_crop` raises, or None.
    """
    announce_compiling()
    batch = empty_batch(len(paths), crop_samples)
    errors: list[DecodeError | None] = [None] * len(paths)
    spans = []
    for n, (path, position) in enumerate(zip(paths, positions, strict=True)):
        if span := _read(path, sample_rate_hz, crop_samples, position):
            span[2][kernels.ROW] = n
            spans.append(span)
    as_lines = _decode(spans, crop_samples, batch) if spans else set()
    others = [n for n in range(len(paths)) if n not in as_lines]
    if others:
        waveforms, other_errors = auto_decoder.decode_batch(
            [paths[n] for n in others], sample_rate_hz, crop_samples, [positions[n] for n in others]
        )
        samples = batch.lines.reshape(len(paths), -1)
        for n, waveform, error in zip(others, waveforms, other_errors, strict=True):
            samples[n, :crop_samples] = waveform
            samples[n, crop_samples:] = 0
            batch.blocks[n] = 0
            batch.places[n] = 0
            batch.places[n, line_crops.PLACE_IS_WAVEFORM] = 1
            errors[n] = error
    return batch, errors


def prepare() -> None:
    """Compiles the kernels, or reads them from their cache, by decoding nothing."""
    auto_decoder.prepare()
    _decode([], MIN_CROP_SAMPLES, empty_batch(0, MIN_CROP_SAMPLES))


def _read(
    path: str, sample_rate_hz: int, crop_samples: int, position: float
) -> tuple[NativeStream, bytes, np.ndarray] | None:
    """Reads the frames of a crop and makes its job; returns None if it cannot be sent as lines."""
    try:
        stream = native_stream(path)
    except DecodeError:
        return None  # the other way says so again
    if not isinstance(stream, NativeStream) or stream.sample_rate_hz != 2 * sample_rate_hz:
        return None
    if crop_length(stream, sample_rate_hz, crop_samples, sample_rate_hz) < crop_samples:
        return None  # a clip that ends within the crop
    span = windows.crop_span(stream.samples, stream.sample_rate_hz, crop_samples, sample_rate_hz, position)
    start, wanted = (int(number) for number in span)
    piece = read_span(stream, start, wanted, crop_samples, is_half_rate=True)
    if piece is None:
        return None
    piece[1][kernels.BEHIND] = wanted
    return stream, *piece


def _decode(spans: Sequence[tuple[NativeStream, bytes, np.ndarray]], crop_samples: int, batch: LineBatch) -> set[int]:
    """Decodes in one call; returns the rows that hold lines."""
    joined = join_pieces(spans)
    granules = line_crops.granule_rows(crop_samples)
    status = np.full(len(spans), DECODED, np.int64)
    with buffer_pool.borrow() as buffers:
        line_crops.decode_line_jobs(
            *joined,
            granules,
            buffers.array("work", granules * line_crops.LINES_OF_ROW + EDGE_FLOATS, 1)[:, 0],
            *joined.memory(buffers),
            *batch,
            status,
        )
    return {int(job[kernels.ROW]) for job, result in zip(joined.jobs, status, strict=True) if result == DECODED}
