"""What the user sees: progress bars, errors without tracebacks, and no noise from C libraries.

Standard output and standard error take any text: a byte of a file name that is no character of its encoding is written as
that byte, and a character that the terminal's encoding lacks as an escape, such as \\u6797. A reader that closes its end
of a pipe, as `head` does, ends the command quietly with exit code 141, which is what a shell reports of other programs.
"""

from __future__ import annotations

import atexit
import codecs
import faulthandler
import gc
import io
import os
import re
import select
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO

from absl import app, flags, logging
from tqdm import tqdm

from experiments.command_help import MODULE_PREFIX, asks_for_help, show_help
from experiments.flag_types import expand_home
from experiments.keras_settings import use_own_keras_settings
from experiments.recipes import with_recipe

CLOSED_PIPE = 128 + 13  # the exit code when SIGPIPE ends a program
_ANY_TEXT = "bytes_or_escapes"

# How --help and messages write the commands; `melstream`, which runs them, has its own.
command_prefix = MODULE_PREFIX

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
        arguments: what that is, for a script that needs some files or folders, in which ~ is a home folder; without it
            they are refused.
        resumable: whether the same command goes on where it was interrupted.
    """

    # TensorFlow's own allocator on the CPU as on a GPU: malloc gives tensors of many megabytes new pages at each step.
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")
    use_own_keras_settings()

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1 and not arguments:
            _refuse(f"expected only flags (--name=value), received {' '.join(argv[1:])!r}; --help lists the flags")
        if len(argv) == 1 and arguments:
            _refuse(f"expected {arguments} beside the flags, received none; --help shows how")
        if logging.get_verbosity() == logging.INFO:  # absl's default, under which TensorFlow reports each file it saves
            logging.set_verbosity(logging.WARNING)
        _filter_native_stderr()
        try:
            main([argv[0], *map(expand_home, argv[1:])])
        except KeyboardInterrupt:
            print("\nInterrupted." + " Run the same command again to go on." * resumable, file=sys.stderr)
            sys.exit(130)
        except (ValueError, OSError) as error:
            if isinstance(error, BrokenPipeError) and _nobody_reads():
                raise
            if logging.level_debug():  # --verbosity=1 shows where it was raised
                raise
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        finally:
            gc.freeze()  # or the interpreter looks at all of TensorFlow's objects once more, for a second, before it ends

    with standard_streams():
        if asks_for_help(sys.argv[1:]):
            show_help(main.__globals__["__doc__"] or "", command_prefix)
            return
        app.run(guarded, with_recipe(sys.argv), flags_parser=_parse_flags)


def progress(items: Iterable | None, total: int | None = None, description: str = "", **options: Any) -> tqdm:
    """A progress bar on standard error, over `items` or moved by hand; silent where that is no terminal."""
    return tqdm(items, total=total, desc=description, disable=None, dynamic_ncols=True, **options)


def write(text: str, file: TextIO) -> None:
    """Writes text without tearing a progress bar on the same terminal."""
    tqdm.write(text, file=file, end="")


def _parse_flags(arguments: list[str]) -> list[str]:
    """Parses the flags; returns the program's name and what is left. A mistake in a flag is one message."""
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        if missing := re.search(r"Flag --(\w+) must have a value other than None", str(error)):
            error = flags.Error(f"expected --{missing[1]}, received none; --help says what it is")
        hint = "; --help lists the flags" * isinstance(error, flags.UnrecognizedFlagError)
        _refuse(f"{error}{hint}")


def _refuse(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def _bytes_or_escapes(error: UnicodeError) -> tuple[str | bytes, int]:
    """Handles a character that an encoding lacks, as `codecs.register_error` has it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # Python's stand-in for a byte of a file name that is not text
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return character.encode("ascii", "backslashreplace"), error.start + 1


def _open_standard_streams() -> None:
    """Makes standard output and standard error take any text, also where they are closed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # closed: the next file opened would take its place
        pass
    os.close(descriptor)
    codecs.register_error(_ANY_TEXT, _bytes_or_escapes)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ANY_TEXT)


def _nobody_reads() -> bool:
    """Returns whether standard output or standard error is a pipe whose reader has closed it."""
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)  # errors alone
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


@contextmanager
def standard_streams() -> Iterator[None]:
    """Lets the block write any text; then writes what is left, and ends the process quietly where nobody reads it."""
    _open_standard_streams()
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        status = CLOSED_PIPE
        if not (isinstance(error, BrokenPipeError) and _nobody_reads()):
            ending = error.__context__
            status = ending.code if isinstance(ending, SystemExit) and isinstance(ending.code, int) else 0
            if not status:  # otherwise the user has been told of a mistake already
                status = 1
                print(f"error: expected to write to standard output, but: {error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries once more, and complains
        sys.exit(status)


def _filter_native_stderr() -> None:
    """Sends file descriptor 2, which C libraries write to, through a filter; Python's sys.stderr goes around it."""
    terminal = os.dup(2)
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(writer)
    sys.stderr = os.fdopen(os.dup(terminal), "w", buffering=1, encoding=sys.stderr.encoding, errors=_ANY_TEXT)
    faulthandler.enable(sys.stderr)

    def forward() -> None:
        with os.fdopen(reader, "rb") as lines:
            for line in lines:
                if not _NATIVE_NOISE.match(line):
                    with suppress(OSError):  # closed
                        os.write(terminal, line)

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()

    def restore() -> None:
        os.dup2(terminal, 2)  # closes the pipe's last writer, so the thread sees its end
        thread.join(timeout=1)

    atexit.register(restore)
