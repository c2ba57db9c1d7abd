"""A lock that keeps two processes from writing the same files of a folder."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked_folder(
    folder: Path, work: str, remedy: str = "let it end", say: Callable[[str], None] = print
) -> Iterator[None]:
    """Locks a folder for the block.

    The lock leaves no file behind, and ends with its process, however that ends. Some file systems have no locks, such as
    some network mounts. There the work goes on without one.

    Args:
        folder: an existing one.
        work: what is done there, in words, such as "download".
        remedy: what to do if another process has locked it.
        say: is told, in one line, if the file system has no locks.

    Raises:
        ValueError: another process has locked it; the message says which, where the system tells.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"expected to be alone in {folder}, found another {work} at work there{_holder(descriptor)}; {remedy}"
            ) from None
        except OSError as error:
            say(
                f"note: {folder} cannot be locked ({error.strerror or error}): do not run another {work} there at the same "
                "time"
            )
        yield
    finally:
        os.close(descriptor)  # which ends the lock


def _holder(descriptor: int) -> str:
    """Names the process that has locked a folder, as " (process 123)"; "" where the system does not tell."""
    status = os.fstat(descriptor)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        locks = Path("/proc/locks").read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    found = re.search(rf" FLOCK .* (\d+) {place} ", locks)
    return f" (process {found[1]})" if found and found[1] != "0" else ""
