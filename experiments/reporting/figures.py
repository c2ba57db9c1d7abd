"""The pictures of a report: inline SVG, which follows the page's colours, and log-mel images as data URIs."""

from __future__ import annotations

import base64
import colorsys
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from matplotlib.image import imsave
from matplotlib.ticker import MaxNLocator

from experiments.evaluation.metrics import Calibration

# Told apart on white and on black alike; of more classes each gets a hue.
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
OTHERS = "#9aa0a6"
MAX_SHOWN = 9  # classes that a picture tells apart; the rest are grey
_IMAGE_WIDTH = 720  # pixels of a clip's log-mel image
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 420, 250, 44, 10, 12, 40


def class_colours(count: int) -> list[str]:
    """A colour for each class, as CSS has it."""
    if count <= len(_PALETTE):
        return list(_PALETTE[:count])
    hues = np.arange(count) * 0.618034 % 1  # by the golden ratio, so that neighbours differ
    rgb = [colorsys.hls_to_rgb(hue, (0.4, 0.5, 0.6)[i % 3], 0.55) for i, hue in enumerate(hues)]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in colour) for colour in rgb]


def as_time(seconds: float) -> str:
    """A place in a clip as minutes:seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def draw_curve(
    epochs: Sequence[float], training: Sequence[float], validation: Sequence[float], kept: int, name: str, top: float
) -> str:
    """Two lines over the epochs, with the kept epoch marked.

    Args:
        epochs: x of both lines.
        training: y of one.
        validation: y of the other.
        kept: the epoch whose weights were kept.
        name: what the lines show.
        top: the least that the vertical axis reaches; it begins at 0.
    """
    highest = max(top, *training, *validation)
    margin = 0.5 if len(epochs) == 1 else 0
    plot = _Plot((min(epochs) - margin, max(epochs) + margin), (0, highest * 1.02), "epoch", whole_x=True)
    plot.add(
        f'<line class="kept" x1="{plot.x(kept):.1f}" x2="{plot.x(kept):.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
    )
    for kind, values in (("training", training), ("validation", validation)):
        points = [(plot.x(epoch), plot.y(value)) for epoch, value in zip(epochs, values, strict=True)]
        if len(points) == 1:
            plot.add(f'<circle class="{kind} dot" cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="4"/>')
        else:
            plot.add(f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>')
    best = list(epochs).index(kept)
    return plot.svg(
        f"{name} by epoch. At the kept epoch {kept}: training {training[best]:.3f}, validation {validation[best]:.3f}."
    )


def draw_reliability(calibration: Calibration, intervals: Sequence[tuple[float, float]]) -> str:
    """Accuracy over confidence: a dot for each bin, with its interval, against the diagonal.

    Args:
        calibration: what is drawn.
        intervals: of each bin's accuracy.
    """
    plot = _Plot((0, 1), (0, 1), "confidence")
    plot.add(f'<line class="ideal" x1="{plot.x(0)}" y1="{plot.y(0)}" x2="{plot.x(1)}" y2="{plot.y(1)}"/>')
    said = []
    for place in np.flatnonzero(calibration.counts):
        count, accuracy = calibration.counts[place], calibration.accuracy[place]
        x, y = plot.x(calibration.confidence[place]), plot.y(accuracy)
        low, high = (plot.y(value) for value in intervals[place])
        text = (
            f"confidence {calibration.edges[place]:.1f} to {calibration.edges[place + 1]:.1f}: "
            f"{accuracy:.0%} of {count} right"
        )
        said.append(text)
        plot.add(
            f'<g><title>{text}</title><line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
            f'<circle class="bin" cx="{x:.1f}" cy="{y:.1f}" r="{4 + 8 * np.sqrt(count / calibration.counts.sum()):.1f}"/></g>'
        )
    return plot.svg("Accuracy by confidence. " + "; ".join(said) + ".")


class _Plot:
    """Axes with ticks, on which elements are laid."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float], x_name: str, whole_x: bool = False):
        self._x_range, self._y_range, self._elements = x_range, y_range, [""]
        for tick in _ticks(*y_range):
            self.add(
                f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{self.y(tick):.1f}" y2="{self.y(tick):.1f}"/>'
            )
            self.add(f'<text x="{_LEFT - 8}" y="{self.y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
        for tick in _ticks(*x_range, whole_x):
            self.add(f'<text x="{self.x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick:g}</text>')
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        self.add(f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(x_name)}</text>')

    def x(self, value: float) -> float:
        low, high = self._x_range
        return _LEFT + (value - low) / ((high - low) or 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self._y_range
        return _HEIGHT - _BOTTOM - (value - low) / ((high - low) or 1) * (_HEIGHT - _TOP - _BOTTOM)

    def add(self, element: str) -> None:
        self._elements.append(element)

    def svg(self, description: str) -> str:
        label = escape(description)
        return f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(self._elements)}</svg>'


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    ticks = MaxNLocator(5, integer=whole, min_n_ticks=1, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [round(float(tick), 10) for tick in ticks if low - 1e-9 <= tick <= high + 1e-9]


def draw_timeline(edges: np.ndarray, windows: np.ndarray, labels: Sequence[str], colours: Sequence[str]) -> str:
    """Probabilities of a clip's windows over time, stacked to 1; without axes, to be stretched over its log-mel image.

    Args:
        edges: where the windows begin, and the end, in seconds [windows + 1].
        windows: probabilities [windows, classes].
        labels: names of the classes.
        colours: of the classes.
    """
    shown = shown_classes(windows.mean(axis=0))
    layers = [(colours[i], windows[:, i]) for i in shown]
    if len(shown) < len(labels):
        layers.append((OTHERS, 1 - windows[:, shown].sum(axis=1)))
    x = edges / edges[-1] * 1000
    bottom, paths = np.zeros(len(windows)), []
    for colour, share in layers:
        top = np.minimum(bottom + share, 1)
        there = [
            f"{x[i]:.1f},{100 - 100 * top[i]:.1f} {x[i + 1]:.1f},{100 - 100 * top[i]:.1f}" for i in range(len(top))
        ]
        back = [
            f"{x[i + 1]:.1f},{100 - 100 * bottom[i]:.1f} {x[i]:.1f},{100 - 100 * bottom[i]:.1f}"
            for i in range(len(top))
        ]
        paths.append(f'<polygon fill="{colour}" points="{" ".join([*there, *reversed(back)])}"/>')
        bottom = top
    best = windows.argmax(axis=1)
    changes = [i for i in range(len(best)) if i == 0 or best[i] != best[i - 1]]
    said = ", ".join(f"{labels[best[i]]} from {as_time(edges[i])}" for i in changes[:20])
    return (
        '<svg class="timeline" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape("Most probable genre over time: " + said)}">{"".join(paths)}</svg>'
    )


def shown_classes(probabilities: np.ndarray) -> list[int]:
    """The classes that a clip's pictures tell apart, of [classes]: the most probable ones, in class order."""
    return sorted(np.argsort(-probabilities, kind="stable")[:MAX_SHOWN].tolist())


def log_mel_uri(images: np.ndarray, edges: np.ndarray, crop_seconds: float) -> str:
    """A clip's log-mel image, low bands below, as a data URI of a JPEG.

    Windows may overlap; each is shown until the next one begins.

    Args:
        images: of its windows, uint8 [windows, columns, mels].
        edges: where the windows begin, and the end, in seconds [windows + 1].
        crop_seconds: length of a window; 0 is the whole clip.
    """
    columns = images.shape[1]
    times = (np.arange(_IMAGE_WIDTH) + 0.5) / _IMAGE_WIDTH * edges[-1]
    window = np.searchsorted(edges[1:-1], times, side="right")
    column = ((times - edges[window]) / (crop_seconds or edges[-1]) * columns).astype(int)
    image = images[window, np.minimum(column, columns - 1)]  # [pixels, mels]
    file = io.BytesIO()
    imsave(file, image.T, vmin=0, vmax=255, cmap="magma", origin="lower", format="jpeg", pil_kwargs={"quality": 70})
    return data_uri(file.getvalue(), "image/jpeg")


def data_uri(contents: bytes, media_type: str) -> str:
    """A file's contents as an address."""
    return f"data:{media_type};base64,{base64.b64encode(contents).decode()}"
