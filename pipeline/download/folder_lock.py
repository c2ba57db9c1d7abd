"""A lock that keeps two downloads from writing to the same folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from pipeline.download.http_client import in_words


def lock_folder(folder: Path, say: Callable[[str], None] = print) -> None:
    """Locks a folder until this process ends.

    Some file systems have no locks, such as some network mounts. There the download goes on without one.

    Args:
        folder: an existing one.
        say: is told, in one line, if the file system has no locks.

    Raises:
        ValueError: another process has locked it.
    """
    descriptor = os.open(folder, os.O_RDONLY)  # stays open: closing it would end the lock
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ValueError(
            f"expected to be alone in {folder}, found another download at work there; let it end"
        ) from None
    except OSError as error:
        os.close(descriptor)
        say(f"note: {folder} cannot be locked ({in_words(error)}): do not run another download there at the same time")
