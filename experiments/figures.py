"""What all pictures share: matplotlib without a screen, fonts for every text, and how a figure becomes a file.

Each package that draws has its pictures in its own `plots.py`.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import matplotlib

from pipeline.storage.atomic import atomic_write

matplotlib.use("Agg")

from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.axis import Axis
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it tells of each font of another weight

_NO_GLYPH = "\N{WHITE SQUARE}"
# What no font draws, and what need not be drawn: control characters, stand-ins for bytes of a file name that is not text,
# marks that choose a variant of the character before, and the like.
_UNDRAWABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")

matplotlib.rcdefaults()  # a matplotlibrc of the user is for other pictures


def save_figure(figure: plt.Figure, path: Path) -> None:
    """Writes a figure whole and closes it.

    Characters that the usual font lacks are drawn with an installed font that has them; where there is none, as a square.
    """
    with warnings.catch_warnings():
        # In 3.11 matplotlib asks for the size of texts before they are drawn, and so before they are made drawable.
        warnings.filterwarnings("ignore", r"(?s)Glyph .* missing from font")
        _make_drawable(figure)
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


def drawable(text: str) -> tuple[str, list[str]]:
    """Finds out how a text can be drawn.

    Args:
        text: any.

    Returns:
        The text, with a square for each character that no installed font has, and the families to draw it with: none if
        the usual font has all of its characters.
    """
    text = _INVISIBLE.sub("", _UNDRAWABLE.sub(_NO_GLYPH, text))
    usual = _characters(font_manager.findfont(font_manager.FontProperties()))
    missing = {ord(character) for character in text if character != "\n"} - usual
    families: list[str] = []
    for family, characters in _other_fonts() if missing else ():
        if missing & characters:
            families.append(family)
            missing -= characters
        if not missing:
            break
    text = text.translate(dict.fromkeys(missing, _NO_GLYPH))
    return text, [*plt.rcParams["font.family"], *families] if families else []


def _make_drawable(figure: plt.Figure) -> None:
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            _make_ticks_drawable(axis)
    for text in figure.findobj(Text):
        shown, families = drawable(text.get_text())
        if shown != text.get_text():
            text.set_text(shown)
        if families:
            text.set_fontfamily(families)


def _make_ticks_drawable(axis: Axis) -> None:
    """Replaces labels of ticks, which the axis would write again when it is drawn."""
    shown = [text.get_text() for text in axis.get_ticklabels()]
    drawn = [drawable(text)[0] for text in shown]
    if drawn != shown:
        axis.set_ticks(axis.get_ticklocs(), drawn)


@functools.cache
def _characters(font_path: str) -> frozenset[int]:
    """Returns the code points of the characters that a font has; none if it cannot be read."""
    try:
        return frozenset(FT2Font(font_path).get_charmap())
    except (OSError, RuntimeError, ValueError):  # also of a font that consists of bitmaps, as of colour emoji
        return frozenset()


def _other_fonts() -> Iterator[tuple[str, frozenset[int]]]:
    """Yields each installed family of upright letters with the characters that it has, the plainest first."""

    def rank(font: font_manager.FontEntry) -> tuple[bool, bool, str]:
        return "sans" not in font.name.casefold(), "mono" in font.name.casefold(), font.name

    families: dict[str, str] = {}
    for font in sorted(font_manager.fontManager.ttflist, key=rank):
        if font.style == "normal" and not font.name.startswith("Last Resort"):  # which draws code points
            families.setdefault(font.name, font.fname)
    for family in families:
        # The file that matplotlib will take of the family.
        yield family, _characters(font_manager.findfont(font_manager.FontProperties(family=[family])))
