"""What all pictures share: matplotlib without a screen, and how a figure becomes a file.

Each package that draws has its pictures in its own `plots.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import matplotlib

from pipeline.storage.atomic import atomic_write

matplotlib.use("Agg")

from matplotlib import pyplot as plt

matplotlib.rcdefaults()  # a matplotlibrc of the user is for other pictures


def save_figure(figure: plt.Figure, path: Path) -> None:
    """Writes a figure whole and closes it."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)


@contextmanager
def picture(path: Path) -> Iterator[None]:
    """Guards the drawing of a picture: what fails in the block costs the picture, and nothing else.

    An earlier picture of this name is removed first, so that it cannot stay beside newer numbers, whatever happens. An
    error is one line on standard error. Results are written before their pictures, and outside of such blocks.

    Args:
        path: of the picture that the block writes.
    """
    with suppress(OSError):  # such as a folder of this name: then the picture cannot be written either
        path.unlink(missing_ok=True)
    with drawing(str(path)):
        yield


@contextmanager
def drawing(what: str) -> Iterator[None]:
    """Guards the drawing of a part of something, as `picture` guards a file.

    Args:
        what: is drawn, for the warning.
    """
    try:
        yield
    except Exception as error:
        plt.close("all")
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        print(f"warning: {what} is left out, because it cannot be drawn: {reason}", file=sys.stderr)


def short_text(text: str, characters: int = 24) -> str:
    """Returns a text, such as a label, as one line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 1] + "…"
