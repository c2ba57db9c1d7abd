"""Files on this machine and on those that TensorFlow's file systems reach (gs://bucket/name), with Python's errors for both.

Only remote paths import TensorFlow, because the import takes seconds.
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
    """Returns whether only TensorFlow's file systems can read a path."""
    return "://" in path


def join(folder: str, name: str) -> str:
    """Returns the path of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else str(Path(folder, name))


def open_file(path: str) -> Any:
    """Opens a file for unbuffered reading.

    Returns:
        An object with read, seek and close.

    Raises:
        OSError: the file cannot be opened. For a remote file, its first read raises the error.
    """
    return _RemoteFile(path) if is_remote(path) else open(path, "rb", buffering=0)


def file_size(path: str) -> int:
    """Returns the size of a file in bytes.

    Raises:
        OSError: the file does not exist.
    """
    if not is_remote(path):
        return os.path.getsize(path)
    import tensorflow as tf

    with os_errors():
        return tf.io.gfile.stat(path).length


def is_file(path: str) -> bool:
    """Returns whether a file exists."""
    if not is_remote(path):
        return os.path.isfile(path)
    try:
        return file_size(path) >= 0
    except OSError:
        return False


def read_file(path: str) -> bytes:
    """Reads a whole file.

    Raises:
        OSError: the file cannot be read.
    """
    return b"".join(_blocks(path))


def hash_file(path: str) -> tuple[int, str]:
    """Returns a file's size in bytes, and its SHA-256 in hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    for block in _blocks(path):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def create_file(path: str, data: bytes) -> None:
    """Writes a file under its final name; `pipeline.storage.atomic.write_file` writes one whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    if not is_remote(path):
        with open(path, "wb") as file:
            file.write(data)
        return
    import tensorflow as tf

    with os_errors(), tf.io.gfile.GFile(path, "wb") as remote:
        remote.write(data)


def rename_file(path: str, new_path: str) -> None:
    """Renames a file, and replaces the file that has the new name.

    Raises:
        OSError: the file cannot be renamed.
    """
    if not is_remote(path):
        os.replace(path, new_path)
        return
    import tensorflow as tf

    with os_errors():
        tf.io.gfile.rename(path, new_path, overwrite=True)


def remove_file(path: str) -> None:
    """Removes a file, if there is one; a remote file that cannot be removed stays."""
    if not is_remote(path):
        Path(path).unlink(missing_ok=True)
        return
    import tensorflow as tf

    with suppress(tf.errors.OpError):
        tf.io.gfile.remove(path)


def make_folder(path: str) -> None:
    """Makes a folder and its parents, if they do not exist."""
    if not is_remote(path):
        Path(path).mkdir(parents=True, exist_ok=True)
        return
    import tensorflow as tf

    with os_errors():
        tf.io.gfile.makedirs(path)


@contextmanager
def os_errors() -> Iterator[None]:
    """Turns TensorFlow's file errors in the block into Python's."""
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
