"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields a temporary name of the same suffix beside `path`, which is renamed to `path` if the block succeeds.

    Raises:
        OSError: it cannot be written; what there was before is as it was.
    """
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except Exception as error:
        if (full := _disk_full(error)) is None:
            raise
        raise OSError(
            full.errno,
            f"expected room to write {path}, found none ({os.strerror(full.errno or 0)}); what was there before is "
            "unharmed. Make room and run the same command again",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_partial(path: Path) -> bool:
    """Whether a file is what `written_whole` leaves when its process is killed."""
    return path.match(".*.partial*")


def remove_partial(directory: Path) -> None:
    """Removes such files from a directory, if it exists."""
    for path in directory.glob(".*.partial*"):
        path.unlink(missing_ok=True)


def _disk_full(error: BaseException | None) -> OSError | None:
    """The error of a full disk among an error and those that it came of: closing an archive may raise another."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return error
        error = error.__cause__ or error.__context__
    return None
