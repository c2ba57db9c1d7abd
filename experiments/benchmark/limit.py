"""The limit of the machine: plain libsndfile, seek and read, and nothing else.

Imports nothing heavy: the worker processes import this module.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

import soundfile

from experiments.benchmark.workload import Workload


def limit_threads(work: Workload) -> Iterator[int]:
    """Reads every crop in as many threads as cores: no mono, no resampling, nothing kept; yields 1 for each."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from _read_all(pool, work, chunk=1)


def limit_processes(work: Workload) -> Iterator[int]:
    """Does the same in as many processes."""
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("forkserver")) as pool:
        yield from _read_all(pool, work, chunk=8)


def _read_all(pool: Executor, work: Workload, chunk: int) -> Iterator[int]:
    read = functools.partial(_read_crop, work.crop_seconds)
    for _ in pool.map(read, work.crops(work.rounds), chunksize=chunk):
        yield 1


def _read_crop(crop_seconds: float, crop: tuple[str, float]) -> int:
    path, position = crop
    with soundfile.SoundFile(path) as sound:
        samples = round(crop_seconds * sound.samplerate)
        sound.seek(int(position * max(0, sound.frames - samples)))
        return len(sound.read(samples, dtype="float32", always_2d=True))
