"""Memory that one decode after the other uses again, because new pages for each crop would cost a fifth of its decoding."""

from __future__ import annotations

import collections
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_MAX_KEPT_SAMPLES = 1 << 22  # of an array: 16 MB


class Buffers:
    """The arrays and the file in memory that one decode uses."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}
        self._file: int | None = None

    def array(self, name: str, samples: int, channels: int) -> np.ndarray:
        """Returns a float32 array [samples, channels] of unknown contents; a very large one is not kept."""
        size = samples * channels
        if size > _MAX_KEPT_SAMPLES:
            return np.empty((samples, channels), np.float32)
        if name not in self._arrays or len(self._arrays[name]) < size:
            self._arrays[name] = np.empty(size, np.float32)
        return self._arrays[name][:size].reshape(samples, channels)

    def file_of(self, pieces: list[bytes]) -> int:
        """Writes pieces to the file in memory and returns its descriptor; libsndfile reads it without calling Python."""
        if self._file is None:
            self._file = os.memfd_create("crop")
        os.ftruncate(self._file, os.pwritev(self._file, pieces, 0))
        os.lseek(self._file, 0, os.SEEK_SET)
        return self._file

    @contextmanager
    def named_file(self, pieces: list[bytes], suffix: str) -> Iterator[str]:
        """Yields a path of that file that ends with `suffix` and exists as long as the block runs."""
        file = self.file_of(pieces)
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / f"clip{suffix}"
            link.symlink_to(f"/proc/self/fd/{file}")
            yield str(link)


class BufferPool:
    """Buffers for any number of threads. Not thread-local: a thread of TensorFlow's is new to Python at every call."""

    def __init__(self) -> None:
        self._idle: collections.deque[Buffers] = collections.deque()
        # A forked process would share the files' contents and positions with its parent.
        os.register_at_fork(after_in_child=self._idle.clear)

    @contextmanager
    def borrow(self) -> Iterator[Buffers]:
        """Lends buffers to the block."""
        try:
            buffers = self._idle.pop()
        except IndexError:
            buffers = Buffers()
        try:
            yield buffers
        finally:
            self._idle.append(buffers)


buffer_pool = BufferPool()
