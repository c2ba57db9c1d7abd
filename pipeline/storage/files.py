"""Files on this machine, or on any that TensorFlow's file systems reach (gs://bucket/name), behind one set of errors.

TensorFlow is imported for the latter alone: it takes seconds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_BLOCK_BYTES = 1 << 23


def is_remote(path: str) -> bool:
    """Whether only TensorFlow's file systems can read a path."""
    return "://" in path


def join(folder: str, name: str) -> str:
    """The path of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else str(Path(folder, name))


def open_file(path: str) -> Any:
    """Opens a file for reading, without a buffer: an object with read, seek and close.

    Raises:
        OSError: it cannot be opened; where it is remote, its first read says so.
    """
    return _RemoteFile(path) if is_remote(path) else open(path, "rb", buffering=0)


def file_size(path: str) -> int:
    """Size of a file in bytes.

    Raises:
        OSError: it does not exist.
    """
    if not is_remote(path):
        return os.path.getsize(path)
    import tensorflow as tf

    with os_errors():
        return tf.io.gfile.stat(path).length


def is_file(path: str) -> bool:
    """Whether a file exists."""
    if not is_remote(path):
        return os.path.isfile(path)
    try:
        return file_size(path) >= 0
    except OSError:
        return False


def read_file(path: str) -> bytes:
    """Reads a whole file.

    Raises:
        OSError: it cannot be read.
    """
    return b"".join(_blocks(path))


def hash_file(path: str) -> tuple[int, str]:
    """A file's size in bytes, and its SHA-256 in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    for block in _blocks(path):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


@contextmanager
def written_whole(path: str) -> Iterator[str]:
    """Yields a temporary name beside `path`, which is renamed to `path` if the block succeeds.

    Raises:
        OSError: it cannot be written; what was at `path` is still there.
    """
    folder, slash, name = path.rpartition("/")
    temporary = f"{folder}{slash}.{name}.partial"
    if not is_remote(path):
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return
    import tensorflow as tf

    try:
        yield temporary
        with os_errors():
            tf.io.gfile.rename(temporary, path, overwrite=True)
    except BaseException:
        with suppress(tf.errors.OpError):
            tf.io.gfile.remove(temporary)
        raise


def write_file(path: str, data: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with written_whole(path) as temporary:
        if not is_remote(path):
            with open(temporary, "wb") as file:
                file.write(data)
            return
        import tensorflow as tf

        with os_errors(), tf.io.gfile.GFile(temporary, "wb") as remote:
            remote.write(data)


def make_folder(path: str) -> None:
    """Makes a folder and those above it, where they are missing."""
    if not is_remote(path):
        Path(path).mkdir(parents=True, exist_ok=True)
        return
    import tensorflow as tf

    with os_errors():
        tf.io.gfile.makedirs(path)


@contextmanager
def os_errors() -> Iterator[None]:
    """Turns TensorFlow's errors about files into Python's."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(error.message) from error
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


class _RemoteFile:
    """TensorFlow's GFile with Python's errors."""

    def __init__(self, path: str):
        import tensorflow as tf

        self._file = tf.io.gfile.GFile(path, "rb")

    def __enter__(self) -> _RemoteFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def seek(self, offset: int) -> None:
        with os_errors():
            self._file.seek(offset)

    def read(self, size: int) -> bytes:
        with os_errors():
            return self._file.read(size)

    def close(self) -> None:
        self._file.close()


def _blocks(path: str) -> Iterator[bytes]:
    with open_file(path) as file:
        while block := file.read(_BLOCK_BYTES):
            yield block
