"""Flags that every command defines alike: paths, in which ~ is a home folder, and numbers with a range."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from absl import flags

from experiments.setting_fields import Range

flags.disclaim_key_flags()  # the flags belong to the script that defines them, and so appear in its --help


def expand_home(path: str) -> str:
    """Returns a path with ~ or ~USER at its beginning replaced by that home folder, as a shell does before a command starts.

    A shell leaves `--output_dir=~/run` as it is. A remote path (gs://…) never begins with ~. A file whose own name begins
    with ~ is taken as it is, if it exists.

    Raises:
        ValueError: there is no such user, and no such file.
    """
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # no such user
        name = path.partition("/")[0]
        if os.path.lexists(name):
            return path
        raise ValueError(
            f"expected ~ or ~USER as somebody's home folder, found none for {name} in {path}; write ./{path} for a file or "
            "folder of that name"
        ) from None


class PathParser(flags.ArgumentParser):
    """Parses a path of a file or folder, here or remote."""

    syntactic_help = "a path"

    def parse(self, argument: str) -> str:
        """Returns the path with its home folder written out.

        Raises:
            flags.IllegalFlagValueError: there is no such user.
        """
        try:
            return expand_home(argument)
        except ValueError as error:
            raise flags.IllegalFlagValueError(str(error)) from None

    def flag_type(self) -> str:
        """The type that --helpxml shows."""
        return "path"


class NumberParser(flags.ArgumentParser):
    """Parses a number, and checks its range.

    Args:
        name: of the flag.
        kind: int or float.
        bounds: the numbers that the flag may have.
    """

    def __init__(self, name: str, kind: type[int] | type[float], bounds: Range) -> None:
        super().__init__()
        self.name, self.kind, self.bounds = name, kind, bounds
        self.syntactic_help = "a whole number" if kind is int else "a number"

    def parse(self, argument: Any) -> int | float:
        """Returns the number.

        Raises:
            flags.IllegalFlagValueError: it is none, or outside of its range.
        """
        try:
            value = self.kind(argument)
        except (TypeError, ValueError, OverflowError):
            expected = f"as {self.syntactic_help}"
        else:
            expected = self.bounds.unmet(value)
        if expected:
            raise flags.IllegalFlagValueError(
                f"expected {self.name} {expected}, received {_shortened(argument)}; choose another --{self.name}"
            )
        return value

    def flag_type(self) -> str:
        """The type that --help and --helpxml show."""
        return self.kind.__name__


def define_path(
    name: str,
    default: str | None,
    help_text: str,
    required: bool = False,
    flag_values: flags.FlagValues = flags.FLAGS,
) -> flags.FlagHolder[Any]:
    """Defines a flag whose value is the path of a file or folder.

    Args:
        name: of the flag.
        default: its value where none is given.
        help_text: of the flag.
        required: whether it has to be given.
        flag_values: where it is defined.
    """
    return flags.DEFINE(
        PathParser(), name, default, help_text, flag_values, flags.ArgumentSerializer(), required=required
    )


def define_number(
    name: str,
    default: float | None,
    help_text: str,
    kind: type[int] | type[float] = int,
    bounds: Range | None = None,
    flag_values: flags.FlagValues = flags.FLAGS,
    **limits: float,
) -> flags.FlagHolder[Any]:
    """Defines a flag whose value is a number; its help says the range.

    Args:
        name: of the flag.
        default: its value where none is given.
        help_text: of the flag.
        kind: int or float.
        bounds: the numbers that it may have.
        flag_values: where it is defined.
        **limits: the bounds instead of `bounds`, as in `Range`.
    """
    bounds = bounds or Range(**limits)
    words = str(bounds).removeprefix("of ")
    help_text += f" Range: {words}." * bool(words)
    parser = NumberParser(name, kind, bounds)
    return flags.DEFINE(parser, name, default, help_text, flag_values, flags.ArgumentSerializer())


def _shortened(argument: Any) -> str:
    text = str(argument)
    return text if len(text) <= 40 else f"{text[:40]}…"
