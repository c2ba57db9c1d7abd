"""Ends a process that waits in C with Python's lock held, where neither a thread nor a signal handler of Python runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_after(seconds: float, message: str) -> Iterator[None]:
    """Kills this process, with a message on standard error, if the block takes longer; and at Ctrl-C, at once."""
    command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(seconds), message]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # the watcher must have it when it is ready
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=sys.stderr) as watcher:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            yield
        finally:
            watcher.kill()


def _watch(process: int, seconds: float, message: str) -> None:
    end = time.monotonic() + seconds
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        while time.monotonic() < end:
            time.sleep(0.5)
            if os.getppid() != process:
                return
    except KeyboardInterrupt:
        message = "\nInterrupted."
    print(message, file=sys.stderr, flush=True)
    os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    _watch(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
