"""Memory that is used again by one decode after the other."""

from __future__ import annotations

import collections
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_MAX_SCRATCH = 1 << 22  # samples of an array that is kept: 16 MB


class Scratch:
    """Arrays and a file in memory: new pages for each crop would cost a fifth of its decoding."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}
        self._file: int | None = None

    def array(self, name: str, samples: int, channels: int) -> np.ndarray:
        """A float32 array [samples, channels] of unknown contents, new if it is very large."""
        size = samples * channels
        if size > _MAX_SCRATCH:
            return np.empty((samples, channels), np.float32)
        if name not in self._arrays or len(self._arrays[name]) < size:
            self._arrays[name] = np.empty(size, np.float32)
        return self._arrays[name][:size].reshape(samples, channels)

    def file_of(self, pieces: list[bytes]) -> int:
        """A file in memory that holds these pieces; libsndfile reads it without a call back into Python."""
        if self._file is None:
            self._file = os.memfd_create("crop")
        os.ftruncate(self._file, os.pwritev(self._file, pieces, 0))
        os.lseek(self._file, 0, os.SEEK_SET)
        return self._file

    @contextmanager
    def named_file(self, pieces: list[bytes], suffix: str) -> Iterator[str]:
        """The same under a name that ends with `suffix`, as long as the block runs."""
        file = self.file_of(pieces)
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / f"clip{suffix}"
            link.symlink_to(f"/proc/self/fd/{file}")
            yield str(link)


_idle_scratch: collections.deque[Scratch] = collections.deque()


@contextmanager
def borrowed_scratch() -> Iterator[Scratch]:
    """Lends scratch memory. Not thread-local: a thread of TensorFlow's is a new one to Python at every call."""
    try:
        scratch = _idle_scratch.pop()
    except IndexError:
        scratch = Scratch()
    try:
        yield scratch
    finally:
        _idle_scratch.append(scratch)


# A forked process would share the files' contents and positions with its parent.
os.register_at_fork(after_in_child=_idle_scratch.clear)
