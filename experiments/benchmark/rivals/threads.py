"""One crop of each file, loaded in as many threads as cores: how the rivals that decode single crops are run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import soundfile

from experiments.benchmark.workload import Workload


def load_in_threads(load: Callable[[str, float], object], work: Workload) -> Iterator[int]:
    """Loads a random crop of each file.

    Args:
        load: is called with a path and an offset in seconds.
        work: the crops.

    Yields:
        1 for each crop.
    """

    def load_crop(crop: tuple[str, float]) -> None:
        path, position = crop
        load(path, position * max(0.0, soundfile.info(path).duration - work.crop_seconds))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(load_crop, work.crops(1)):
            yield 1
