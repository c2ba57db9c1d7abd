"""The geometry of a report's plots: from values to places in inline SVG, and log-mel images as data URIs.

What a plot shows is decided where the PNG of the same plot is drawn: the learning curves by
`experiments.runs.curves.learning_curves`, a clip over time by `experiments.prediction.plots.timeline`, the confusion
matrix by `experiments.evaluation.plots.confusion_matrix`. A page draws the same again as SVG and HTML instead of holding
what matplotlib drew: text and lines then follow the page's light and dark colours, a cell of the matrix can be a button,
and a timeline weighs one or two kilobytes, of which a page may hold hundreds. The elements themselves are in
templates/plots.html.jinja; here is only the arithmetic.
"""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.image import imsave
from matplotlib.ticker import MaxNLocator

from experiments.evaluation.metrics import Calibration, wilson_interval
from experiments.prediction.plots import Timeline
from experiments.runs.curves import Curve, LearningCurves

_IMAGE_WIDTH = 720  # pixels of a clip's log-mel image


class Axes:
    """The axes of a plot in SVG: where a value is drawn, in the SVG's units from its upper left corner.

    Args:
        x_range: first and last value of the horizontal axis.
        y_range: lowest and highest value of the vertical axis.
        whole_x: whether the horizontal ticks are whole numbers.
    """

    width, height = 420, 250
    left, right, top, bottom = 44, 410, 12, 210  # of the area that the plot fills

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float], whole_x: bool = False):
        self._x_range, self._y_range = x_range, y_range
        self.x_ticks, self.y_ticks = _ticks(*x_range, whole_x), _ticks(*y_range)

    def x(self, value: float) -> float:
        """Returns where a value of the horizontal axis is drawn."""
        low, high = self._x_range
        return round(float(self.left + (value - low) / ((high - low) or 1) * (self.right - self.left)), 1)

    def y(self, value: float) -> float:
        """Returns where a value of the vertical axis is drawn."""
        low, high = self._y_range
        return round(float(self.bottom - (value - low) / ((high - low) or 1) * (self.bottom - self.top)), 1)

    def points(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """Returns where pairs of values are drawn, as a polyline's `points`."""
        return " ".join(f"{self.x(x)},{self.y(y)}" for x, y in zip(xs, ys, strict=True))


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    ticks = MaxNLocator(5, integer=whole, min_n_ticks=1, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [round(float(tick), 10) for tick in ticks if low - 1e-9 <= tick <= high + 1e-9]


def curve_axes(curves: LearningCurves, curve: Curve) -> Axes:
    """Returns the axes of one of a run's learning curves: epochs, and the curve's values from 0."""
    return Axes(curves.epoch_range, (0, curve.top), whole_x=True)


def reliability_axes() -> Axes:
    """Returns the axes of a reliability diagram: shares from 0 to 1, with room for a large dot at the ends."""
    return Axes((0, 1.02), (-0.06, 1.06))


@dataclasses.dataclass(frozen=True)
class ReliabilityBin:
    """Predictions of about the same confidence.

    Attributes:
        edges: the lowest and highest confidence that is counted here.
        count: how many predictions.
        confidence: their mean confidence.
        accuracy: the share of them that is right.
        interval: of the accuracy, Wilson's of 95 %.
        radius: of its dot, in the SVG's units; it grows with the root of the count.
    """

    edges: tuple[float, float]
    count: int
    confidence: float
    accuracy: float
    interval: tuple[float, float]
    radius: float


def reliability_bins(calibration: Calibration) -> list[ReliabilityBin]:
    """Returns the bins of a reliability diagram that hold predictions."""
    bins = []
    for i in np.flatnonzero(calibration.counts).tolist():
        count, accuracy = int(calibration.counts[i]), float(calibration.accuracy[i])
        bins.append(
            ReliabilityBin(
                edges=(float(calibration.edges[i]), float(calibration.edges[i + 1])),
                count=count,
                confidence=float(calibration.confidence[i]),
                accuracy=accuracy,
                interval=wilson_interval(round(accuracy * count), count),
                radius=round(4 + 8 * float(np.sqrt(count / calibration.counts.sum())), 1),
            )
        )
    return bins


def timeline_polygons(timeline: Timeline) -> list[tuple[str, str]]:
    """Returns the bands of a timeline, each a colour and its `points`, over 1000 × 100 units.

    Those of a stack are polygons, the others lines.
    """
    x = np.repeat(timeline.edges / timeline.edges[-1] * 1000, 2)[1:-1]  # each window's begin and end
    polygons = []
    for band in timeline.bands:
        top, bottom = (np.repeat(100 - 100 * values, 2) for values in (band.top, band.bottom))
        outline = np.stack([x, top], axis=1)
        if timeline.stacked:
            outline = np.concatenate([outline, np.stack([x, bottom], axis=1)[::-1]])
        polygons.append((band.colour, " ".join(f"{a:.1f},{b:.1f}" for a, b in outline)))
    return polygons


def log_mel_uri(images: np.ndarray, edges: np.ndarray, crop_seconds: float) -> str:
    """Returns a clip's log-mel image, low bands below, as a data URI of a JPEG.

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
    """Returns a file's contents as an address."""
    return f"data:{media_type};base64,{base64.b64encode(contents).decode()}"
