"""Files that appear whole or not at all, here or where TensorFlow's file systems reach."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pipeline.storage.files import create_file, remove_file, rename_file

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
AnyPath = TypeVar("AnyPath", str, Path)


@contextmanager
def atomic_write(path: AnyPath) -> Iterator[AnyPath]:
    """Lends a temporary name beside a file, and gives the file its own name when the block has succeeded.

    Args:
        path: where the file is to appear; a string where it may be remote.

    Yields:
        The name to write to, of the same type and suffix as `path`.

    Raises:
        OSError: the file cannot be written; the file that was there before is unchanged.
    """
    folder, slash, name = str(path).rpartition("/")
    temporary = f"{folder}{slash}.{Path(name).stem}.partial{Path(name).suffix}"
    try:
        yield type(path)(temporary)
        rename_file(temporary, str(path))
    except Exception as error:
        if (full := _disk_full(error)) is None:
            raise
        raise OSError(
            full.errno,
            f"expected room to write {path}, found none ({os.strerror(full.errno or 0)}); what was there before is "
            "unharmed. Make room and run the same command again",
        ) from error
    finally:
        remove_file(temporary)


def write_file(path: str | Path, data: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        OSError: the file cannot be written; the file that was there before is unchanged.
    """
    with atomic_write(str(path)) as temporary:
        create_file(temporary, data)


def write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 text file whole or not at all.

    Raises:
        OSError: the file cannot be written; the file that was there before is unchanged.
    """
    write_file(path, text.encode())


def is_partial(path: Path) -> bool:
    """Returns whether a file is one that `atomic_write` left behind when its process was killed."""
    return path.match(".*.partial*")


def remove_partial(directory: Path) -> None:
    """Removes such files from a directory, if the directory exists."""
    for path in directory.glob(".*.partial*"):
        path.unlink(missing_ok=True)


def _disk_full(error: BaseException | None) -> OSError | None:
    """Finds the error of a full disk among an error and its causes: closing an archive may raise another one."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return error
        error = error.__cause__ or error.__context__
    return None
