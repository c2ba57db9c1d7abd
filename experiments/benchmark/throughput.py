"""How fast clips come out of a pipeline: real ones, pulled to the end, the first batch apart from the steady state."""

from __future__ import annotations

import dataclasses
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Mapping

# Starts one pass; each item is the number of clips that came with it.
Pass = Callable[[], Iterable[int]]
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclasses.dataclass(frozen=True)
class Throughput:
    """What was measured of one pipeline, in its steady state (after the first batch), medians over repeats.

    Attributes:
        name: of the pipeline.
        clips_per_second: rate.
        realtime_factor: seconds of audio a second.
        cpu_ms_per_clip: CPU time of this process; None where other processes do the work.
        peak_rss_mb: highest resident memory of this process during a pass.
        spread: (highest - lowest) / median of the rates.
        first_batch_seconds: from starting a pass to its first batch.
    """

    name: str
    clips_per_second: float
    realtime_factor: float
    cpu_ms_per_clip: float | None
    peak_rss_mb: float
    spread: float
    first_batch_seconds: float


@dataclasses.dataclass(frozen=True)
class _Sample:
    rate: float
    cpu_ms: float
    rss_mb: float
    first: float


def measure(
    passes: Mapping[str, Pass],
    clip_seconds: Mapping[str, float],
    repeats: int,
    done: Callable[[], object] = lambda: None,
) -> list[Throughput]:
    """Measures pipelines in turn, `repeats` times each, so that a noisy machine is equally noisy to all.

    Args:
        passes: a pass of each pipeline by name; every pass must yield at least two batches.
        clip_seconds: seconds of audio a clip of each pipeline.
        repeats: passes that count; one more before them does not.
        done: called after each pass.

    Returns:
        One result a pipeline, in their order.

    Raises:
        ValueError: a pass yields too little to measure.
    """
    samples: dict[str, list[_Sample]] = {name: [] for name in passes}
    for repeat in range(repeats + 1):
        for name, start in passes.items():
            sample = _measure_pass(name, start)
            if repeat:
                samples[name].append(sample)
            done()
    results = []
    for name, taken in samples.items():
        rates = [sample.rate for sample in taken]
        rate = statistics.median(rates)
        results.append(
            Throughput(
                name,
                clips_per_second=rate,
                realtime_factor=rate * clip_seconds[name],
                cpu_ms_per_clip=statistics.median(sample.cpu_ms for sample in taken),
                peak_rss_mb=max(sample.rss_mb for sample in taken),
                spread=(max(rates) - min(rates)) / rate,
                first_batch_seconds=statistics.median(sample.first for sample in taken),
            )
        )
    return results


def _measure_pass(name: str, start: Pass) -> _Sample:
    with _PeakMemory() as memory:
        begin = time.perf_counter()
        batches = iter(start())
        if next(batches, 0) == 0:
            raise ValueError(f"expected clips from {name}, received none; see that its files can be decoded")
        first, cpu = time.perf_counter(), _cpu_seconds()
        clips = sum(batches)
        seconds = time.perf_counter() - first
        cpu = _cpu_seconds() - cpu
    if clips == 0:
        raise ValueError(f"expected at least two batches from {name}, received one; use more clips or smaller batches")
    return _Sample(clips / seconds, cpu / clips * 1e3, memory.peak_bytes / 1e6, first - begin)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


class _PeakMemory:
    """Samples this process's resident memory while it is open."""

    def __enter__(self) -> _PeakMemory:
        self.peak_bytes = self._resident_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.02):
            self.peak_bytes = max(self.peak_bytes, self._resident_bytes())

    @staticmethod
    def _resident_bytes() -> int:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * _PAGE_BYTES
