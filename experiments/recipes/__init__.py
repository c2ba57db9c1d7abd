"""Recipes: named sets of flags, such as the study's. `--recipe=NAME` stands for the lines of NAME.flags.

A line is a flag, a comment (#), or `--recipe=OTHER`, which stands for that recipe's lines. Flags of the command line come
after a recipe's and override them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

_FOLDER = Path(__file__).parent
_PREFIX = "--recipe="


def recipe_names() -> list[str]:
    """The recipes that there are, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.flags"))


def with_recipe(arguments: Sequence[str]) -> list[str]:
    """A command line (program's name first) with the flags of its recipes put before its own."""
    recipes = [argument for argument in arguments[1:] if argument.startswith(_PREFIX)]
    return [arguments[0], *_expand(recipes), *arguments[1:]]


def _expand(lines: Sequence[str]) -> Iterator[str]:
    for line in map(str.strip, lines):
        name = line.removeprefix(_PREFIX)
        if name in recipe_names():  # absl refuses other names, and lists these
            yield from _expand((_FOLDER / f"{name}.flags").read_text(encoding="utf-8").splitlines())
        elif line.startswith("--"):
            yield line
