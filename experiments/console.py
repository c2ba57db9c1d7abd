"""What the user sees: progress bars, errors without tracebacks, and no noise from C libraries."""

from __future__ import annotations

import atexit
import faulthandler
import gc
import io
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from absl import app, logging
from tqdm import tqdm

from experiments.keras_settings import use_own_keras_settings
from experiments.recipes import with_recipe

# libmpg123 prints its complaints to standard error from C, between the lines of a progress bar. What they mean for
# a file stands in the failure ledger. TensorFlow's converters print what they do.
_NATIVE_NOISE = re.compile(
    rb"\s*$|\[src/libmpg123/|Note: (Illegal Audio-MPEG|Trying to resync|Skipped|Hit end)|"
    rb"Warning: (Xing stream size|Encountered more data|Real sample count)|"
    rb"WARNING: All log messages before absl::InitializeLog|[WI]0000 00:00:|INFO: Created TensorFlow Lite XNNPACK"
)


def run(main: Callable[[list[str]], None], arguments: str = "", resumable: bool = True) -> None:
    """Runs a script's `main`: parses flags, and turns a user's mistake into one message.

    Args:
        main: is called with the program's name and what is left beside the flags.
        arguments: what that is, for a script that needs some; without it they are refused.
        resumable: whether the same command goes on where it was interrupted.
    """

    # TensorFlow's own allocator on the CPU as on a GPU: malloc gives tensors of many megabytes new pages at each step.
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")
    use_own_keras_settings()

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1 and not arguments:
            raise app.UsageError(f"expected only flags (--name=value), received {' '.join(argv[1:])!r}")
        if len(argv) == 1 and arguments:
            raise app.UsageError(f"expected {arguments} beside the flags, received none")
        if logging.get_verbosity() == logging.INFO:  # absl's default, under which TensorFlow reports each file it saves
            logging.set_verbosity(logging.WARNING)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")  # file names need not be text
        _filter_native_stderr()
        try:
            main(argv)
        except KeyboardInterrupt:
            print("\nInterrupted." + " Run the same command again to go on." * resumable, file=sys.stderr)
            sys.exit(130)
        except (ValueError, OSError) as error:
            if logging.level_debug():  # --verbosity=1 shows where it was raised
                raise
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        finally:
            gc.freeze()  # or the interpreter looks at all of TensorFlow's objects once more, for a second, before it ends

    app.run(guarded, with_recipe(sys.argv))


def progress(items: Iterable | None, total: int | None = None, description: str = "", **options: Any) -> tqdm:
    """A progress bar on standard error, over `items` or moved by hand; silent where that is no terminal."""
    return tqdm(items, total=total, desc=description, disable=None, dynamic_ncols=True, **options)


def write(text: str, file: TextIO) -> None:
    """Writes text without tearing a progress bar on the same terminal."""
    tqdm.write(text, file=file, end="")


def _filter_native_stderr() -> None:
    """Sends file descriptor 2, which C libraries write to, through a filter; Python's sys.stderr goes around it."""
    terminal = os.dup(2)
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(writer)
    sys.stderr = os.fdopen(os.dup(terminal), "w", buffering=1, errors="backslashreplace")
    faulthandler.enable(sys.stderr)

    def forward() -> None:
        with os.fdopen(reader, "rb") as lines:
            for line in lines:
                if not _NATIVE_NOISE.match(line):
                    os.write(terminal, line)

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()

    def restore() -> None:
        os.dup2(terminal, 2)  # closes the pipe's last writer, so the thread sees its end
        thread.join(timeout=1)

    atexit.register(restore)
