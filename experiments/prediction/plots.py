"""A file's probabilities over time: what predict draws as a PNG, and a report draws into its page.

What is shown (which labels, in which order and colours, how they are stacked, where they change) is decided here, by
`timeline`, without any drawing. `plot_timeline` draws it with matplotlib; a report draws it as inline SVG.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.figures import plt, save_figure, short_text

# Told apart from each other, on white and on black.
_PALETTE = (
    "#4e79a7",
    "#e8832a",
    "#4f9a45",
    "#d94f51",
    "#a56c96",
    "#bf9a1f",
    "#4fa5a0",
    "#95705b",
    "#e07f93",
    "#6b6bc4",
)
OTHERS_COLOUR = "#9aa0a6"
MAX_SHOWN = 9  # labels that a picture tells apart; the rest are grey
_MARK_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


@dataclasses.dataclass(frozen=True)
class Band:
    """One label of a timeline, or the others together.

    Attributes:
        name: of the label.
        colour: as CSS and matplotlib have it.
        bottom: where it begins in each window, a probability [windows].
        top: where it ends [windows].
    """

    name: str
    colour: str
    bottom: np.ndarray
    top: np.ndarray


@dataclasses.dataclass(frozen=True)
class Timeline:
    """Probabilities of a file's windows, as they are drawn.

    Attributes:
        edges: where the windows begin, and the file's end, in seconds [windows + 1].
        bands: from the lowest to the highest.
        stacked: whether each band stands on the one before; otherwise all begin at 0.
        leaders: where the most probable label changes: the second at which it begins to lead, and its name.
    """

    edges: np.ndarray
    bands: list[Band]
    stacked: bool
    leaders: list[tuple[float, str]]


def timeline(edges: np.ndarray, windows: np.ndarray, labels: Sequence[str], stacked: bool = True) -> Timeline:
    """Chooses what is shown of a file over time.

    Of many labels the most probable ones are shown. The rest stand together in grey on top of them, so that a stack
    reaches 1; beside probabilities that do not sum to 1 they are left out.

    Args:
        edges: where the windows begin, and the file's end, in seconds [windows + 1].
        windows: probabilities [windows, classes].
        labels: names of the classes.
        stacked: whether the probabilities of a window sum to 1.
    """
    shown = shown_classes(windows.mean(axis=0))
    shares = [(labels[i], colour, windows[:, i]) for i, colour in shown.items()]
    if len(labels) > len(shown) and stacked:
        others = 1 - windows[:, list(shown)].sum(axis=1)
        shares.append((f"{len(labels) - len(shown)} others", OTHERS_COLOUR, others))
    bands, bottom = [], np.zeros(len(windows))
    for name, colour, share in shares:
        top = np.minimum(bottom + share, 1)
        bands.append(Band(name, colour, bottom, top))
        if stacked:
            bottom = top
    best = windows.argmax(axis=1)
    changes = [i for i in range(len(best)) if i == 0 or best[i] != best[i - 1]]
    return Timeline(edges, bands, stacked, [(float(edges[i]), labels[best[i]]) for i in changes])


def shown_classes(probabilities: np.ndarray) -> dict[int, str]:
    """Chooses the classes that a file's pictures tell apart, and a colour for each.

    A class has the same colour in every picture, unless another class of the same picture has it already: there are
    fewer colours than some models have classes.

    Args:
        probabilities: of the file [classes].

    Returns:
        The colours of the most probable classes, in class order.
    """
    chosen: dict[int, str] = {}
    for i in sorted(np.argsort(-probabilities, kind="stable")[:MAX_SHOWN].tolist()):
        begin = i % len(_PALETTE)
        chosen[i] = next(c for c in (*_PALETTE[begin:], *_PALETTE[:begin]) if c not in chosen.values())
    return chosen


def as_time(seconds: float) -> str:
    """Returns a place in a file as minutes:seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def plot_timeline(
    edges: np.ndarray, windows: np.ndarray, labels: Sequence[str], title: str, path: Path, stacked: bool = True
) -> None:
    """Draws probabilities over time as a PNG: stacked to 1, or a line for each label.

    Args:
        edges: where the windows begin, and the file's end, in seconds [windows + 1].
        windows: probabilities [windows, classes].
        labels: names of the classes.
        title: above the plot.
        path: a PNG.
        stacked: whether the probabilities of a window sum to 1.
    """
    shown = timeline(edges, windows, labels, stacked)
    figure, axis = plt.subplots(figsize=(10, 3.2), layout="constrained")
    for band in shown.bands:
        if stacked:
            axis.stairs(
                band.top, edges, baseline=band.bottom, fill=True, color=band.colour, label=short_text(band.name, 40)
            )
        else:
            axis.stairs(
                band.top, edges, baseline=None, color=band.colour, linewidth=1.5, label=short_text(band.name, 40)
            )
    axis.set_title(short_text(title, 110), parse_math=False)
    axis.set(xlabel="time (min:s)", ylabel="probability", xlim=(0, edges[-1]), ylim=(0, 1))
    step = next((step for step in _MARK_SECONDS if step * 10 >= edges[-1]), edges[-1] / 10)
    marks = np.arange(0, edges[-1] + 1e-9, step)
    axis.set_xticks(marks, [as_time(mark) for mark in marks])
    legend = figure.legend(loc="outside right center", frameon=False, reverse=True)
    for text in legend.get_texts():
        text.set_parse_math(False)
    save_figure(figure, path)
