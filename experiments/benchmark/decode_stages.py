"""The stages of decoding a crop, of the decoders that have some: batches of crops are decoded up to the end of any of them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from experiments.benchmark.workload import Workload
from pipeline.decoding import native_decoder, soundfile_decoder
from pipeline.decoding.native_stream import NativeStream, native_stream

Crops = Sequence[tuple[str, float]]  # path, position 0...1


class StagedDecoder(NamedTuple):
    """A decoder whose stages can be measured.

    Attributes:
        stages: their names, in order.
        decode_until: decodes crops up to the end of a stage.
    """

    stages: tuple[str, ...]
    decode_until: Callable[[Workload, Crops, str], None]


class _ReachedError(Exception):
    """Ends a decode after a stage."""


def decode_on_all_cores(work: Workload, decoder: StagedDecoder, last: str) -> Iterator[int]:
    """Decodes every crop up to the end of a stage; yields the number of crops of each batch."""
    batches = _batched(work.crops(work.rounds), work.batch_size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch, _ in zip(
            batches, pool.map(lambda crops: decoder.decode_until(work, crops, last), batches), strict=True
        ):
            yield len(batch)


def cpu_ms_by_stage(work: Workload, decoder: StagedDecoder, repeats: int) -> dict[str, float]:
    """CPU milliseconds a crop of each stage, in this thread: what each adds to those before it; medians."""
    crops = work.crops(1)
    until: dict[str, list[float]] = {stage: [] for stage in decoder.stages}
    for _ in range(repeats):
        for stage in decoder.stages:
            begin = time.thread_time()
            for batch in _batched(crops, work.batch_size):
                decoder.decode_until(work, batch, stage)
            until[stage].append((time.thread_time() - begin) / len(crops) * 1e3)
    sums = [0.0, *(statistics.median(times) for times in until.values())]
    return {stage: max(0.0, sums[n + 1] - sums[n]) for n, stage in enumerate(decoder.stages)}


def _decode_by_soundfile(work: Workload, crops: Crops, last: str) -> None:
    def on_stage(stage: str) -> None:
        if stage == last:
            raise _ReachedError

    for path, position in crops:
        with suppress(_ReachedError):
            soundfile_decoder.decode_crop(path, work.sample_rate_hz, work.crop_samples, position, on_stage)


def _decode_natively(work: Workload, crops: Crops, last: str) -> None:
    """Decodes natively; crops of other files are decoded by libsndfile, all at the first stage."""
    streams = [(native_stream(path), position) for path, position in crops]
    others = [crop for crop, (stream, _) in zip(crops, streams, strict=True) if not isinstance(stream, NativeStream)]
    _decode_by_soundfile(work, others, "")
    native = [(stream, position) for stream, position in streams if isinstance(stream, NativeStream)]
    batch = np.empty((len(native), work.crop_samples), np.float32)
    stage = native_decoder.STAGES.index(last)
    native_decoder.decode_crops(native, work.sample_rate_hz, work.crop_samples, batch, stage)


def _batched(crops: Crops, size: int) -> list[Crops]:
    return [crops[first : first + size] for first in range(0, len(crops), size)]


STAGED_DECODERS = {
    "auto": StagedDecoder(native_decoder.STAGES, _decode_natively),
    "soundfile": StagedDecoder(soundfile_decoder.STAGES, _decode_by_soundfile),
}
