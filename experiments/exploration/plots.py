"""The pictures of an exploration: principal components, log-mel images by label, and crops before and after augmentation."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.figures import plt, save_figure, short_text
from layers.front_ends.log_mel import LogMelSpectrogram

_EXAMPLES = 3
_SHOWN_LABELS = 20
_LEGEND_ROWS = 20
_COLOURED_LABELS = 40  # of the picture of components; the rest is grey
_MARKERS = "os^Dv*PX<>"


class GenreImages:
    """The mean log-mel image of the first 20 labels that have clips, and a few examples: what plot_genres shows.

    Args:
        labels: in the order of the rows.
    """

    def __init__(self, labels: Sequence[str]):
        self.sums: dict[str, np.ndarray] = {}
        self.crops = dict.fromkeys(labels, 0)
        self.examples: dict[str, list[np.ndarray]] = {}
        self._places = {label: place for place, label in enumerate(labels)}

    def add(self, label: str, images: np.ndarray) -> None:
        """Adds a clip's images [crops, frames, n_mels]; the middle one is an example while there are few."""
        self.crops[label] += len(images)
        if label not in self.sums and len(self.sums) == _SHOWN_LABELS:
            last = max(self.sums, key=self._places.__getitem__)
            if self._places[last] < self._places[label]:
                return  # not shown, so that memory does not grow with the number of labels
            del self.sums[last], self.examples[last]
        self.sums[label] = self.sums.get(label, 0) + images.sum(axis=0, dtype=np.float64)
        examples = self.examples.setdefault(label, [])
        if len(examples) < _EXAMPLES:
            examples.append(images[len(images) // 2])

    def mean(self, label: str) -> np.ndarray:
        """Returns the mean image of a label that is shown [frames, n_mels]."""
        return self.sums[label] / self.crops[label]


def plot_components(table: pd.DataFrame, labels: Sequence[str], shares: Sequence[float], path: Path) -> None:
    """Draws clips on two principal components, with a colour and marker for each label.

    Of more than 40 labels, the 40 with most clips are told apart, and the others are grey.

    Args:
        table: one row a clip: label, pc1, pc2.
        labels: in the order of the legend.
        shares: of the variance that the two components explain.
        path: a PNG.
    """
    clips = table["label"].value_counts()
    present = [label for label in labels if label in clips]
    told_apart = set(sorted(present, key=lambda label: -clips[label])[:_COLOURED_LABELS])
    others = [label for label in present if label not in told_apart]
    present = [label for label in present if label in told_apart]
    columns = -(-len(present) // _LEGEND_ROWS)
    figure, axis = plt.subplots(figsize=(7.2 + 1.8 * columns, 6), layout="constrained")
    size = float(np.clip(4000 / len(table), 8, 36))
    handles, names = [], []
    if others:
        rows = table[table["label"].isin(others)]
        handles.append(axis.scatter(rows["pc1"], rows["pc2"], s=size, color="0.75", alpha=0.75, linewidths=0))
        names.append(f"{len(others)} others ({len(rows)})")
    for i, label in enumerate(present):
        rows = table[table["label"] == label]
        marker = _MARKERS[(i + i // 10) % len(_MARKERS)]  # colours begin again after ten, with other markers
        handles.append(
            axis.scatter(rows["pc1"], rows["pc2"], s=size, color=f"C{i % 10}", marker=marker, alpha=0.75, linewidths=0)
        )
        names.append(f"{short_text(label)} ({len(rows)})")
    legend = figure.legend(
        handles,
        names,
        loc="outside right upper",
        ncols=columns,
        frameon=False,
        markerscale=(36 / size) ** 0.5,
        title="label (clips)",
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    for name, share in zip(("x", "y"), shares, strict=True):
        axis.set(**{f"{name}label": f"principal component {'xy'.index(name) + 1} ({share:.1%} of the variance)"})
    axis.grid(alpha=0.3)
    save_figure(figure, path)


def plot_genres(images: GenreImages, front_end: LogMelSpectrogram, path: Path) -> None:
    """Draws a row for each label: its mean log-mel image, and the middle crops of its first clips.

    Args:
        images: of every label; of more than 20 labels with clips, the first 20 are shown.
        front_end: that made them.
        path: a PNG.
    """
    labels = [label for label, count in images.crops.items() if count]
    shown = [label for label in labels if label in images.sums]
    figure, axes = plt.subplots(
        len(shown),
        1 + _EXAMPLES,
        figsize=(11, 1.0 + 1.7 * len(shown)),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    every = [image for label in shown for image in (images.mean(label), *images.examples[label])]
    low, high = min(image.min() for image in every), max(image.max() for image in every)
    if front_end.scaling == "standardized":
        low, high = max(low, -3.0), min(high, 3.0)
    frames, n_mels = every[0].shape
    seconds = frames * front_end.hop_length / front_end.sample_rate_hz
    for row, label in zip(axes, shown, strict=True):
        for axis, image in zip(row, (images.mean(label), *images.examples[label]), strict=False):
            drawn = axis.imshow(
                image.T,
                origin="lower",
                aspect="auto",
                vmin=low,
                vmax=high,
                extent=(0, seconds, 0, n_mels),
                cmap="magma",
            )
        for axis in row[1 + len(images.examples[label]) :]:
            axis.set_axis_off()
        row[0].set_ylabel(short_text(label), parse_math=False, fontweight="bold")
    axes[0, 0].set_title(
        f"mean of all crops{'' if len(labels) == len(shown) else f' ({len(shown)} of {len(labels)} labels)'}"
    )
    for i, axis in enumerate(axes[0, 1:]):
        axis.set_title(f"example {i + 1}")
    for axis in axes[-1]:
        axis.set_xlabel("time (s)")
    figure.supylabel("mel band")
    unit = {"standardized": "standard deviations", "unit": f"0…1 of {front_end.top_db:g} dB"}[front_end.scaling]
    figure.colorbar(drawn, ax=axes, label=unit, extend="both" if front_end.scaling == "standardized" else "neither")
    save_figure(figure, path)


@dataclasses.dataclass(frozen=True)
class ShownCrop:
    """One crop in a picture.

    Attributes:
        title: above it.
        waveform: [samples].
        decibel: log-mel image in dB below the loudest bin [frames, n_mels].
    """

    title: str
    waveform: np.ndarray
    decibel: np.ndarray


def plot_augmentation(
    rows: Sequence[Sequence[ShownCrop]], title: str, sample_rate_hz: int, top_db: float, path: Path
) -> None:
    """Draws crops before and after augmentation, a row each: waveforms, and log-mel images in one colour scale.

    Args:
        rows: one row a crop: the crop before and after, as many times in each row.
        title: above the picture.
        sample_rate_hz: of the waveforms.
        top_db: range of the colours, below 0 dB.
        path: a PNG.
    """
    columns = len(rows[0])
    figure, axes = plt.subplots(
        *(2 * len(rows), columns),
        figsize=(4.2 * columns, 3 * len(rows) + 0.8),
        height_ratios=[1, 3] * len(rows),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for i, row in enumerate(rows):
        for crop, above, below in zip(row, axes[2 * i], axes[2 * i + 1], strict=True):
            seconds = len(crop.waveform) / sample_rate_hz
            pieces = np.array_split(crop.waveform, min(600, len(crop.waveform)))
            edges = np.linspace(0, seconds, len(pieces) + 1)
            low, high = [piece.min() for piece in pieces], [piece.max() for piece in pieces]
            above.stairs(high, edges, baseline=low, fill=True, color="C0")
            above.set_title(crop.title, fontsize="medium", parse_math=False)
            above.tick_params(bottom=False)
            extent = (0, seconds, 0, crop.decibel.shape[1])
            image = below.imshow(
                crop.decibel.T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-top_db, vmax=0
            )
        axes[2 * i, 0].set_ylabel("waveform")
        axes[2 * i + 1, 0].set_ylabel("mel band")
    for axis in axes[-1]:
        axis.set_xlabel("time (s)")
    figure.suptitle(textwrap.fill(title, 36 * columns, break_on_hyphens=False))
    figure.colorbar(image, ax=axes, label="dB below the loudest bin", shrink=0.5)
    save_figure(figure, path)
