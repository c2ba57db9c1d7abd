"""The pictures of a run."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from pipeline.storage.atomic import written_whole

matplotlib.use("Agg")

from matplotlib import pyplot as plt


def plot_curves(history: Sequence[dict[str, float]], best_epoch: int, path: Path) -> None:
    """Accuracy and loss of training and validation by epoch, with the kept epoch marked.

    Args:
        history: one row an epoch: epoch, loss, accuracy, val_loss, val_accuracy.
        best_epoch: the epoch whose weights were kept.
        path: a PNG.
    """
    epochs = [row["epoch"] for row in history]
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, (name, title) in zip(
        axes, (("accuracy", "Accuracy (crops)"), ("loss", "Cross-entropy (nats)")), strict=True
    ):
        # A single epoch is a point, which a line alone would not show.
        marker = "o" if len(epochs) == 1 else ""
        axis.plot(epochs, [row[name] for row in history], color="C0", marker=marker, label="training")
        axis.plot(epochs, [row[f"val_{name}"] for row in history], color="C1", marker=marker, label="validation")
        axis.axvline(best_epoch, color="0.6", linestyle="--", linewidth=1, label=f"kept: epoch {best_epoch}")
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axes[0].set_ylim(0, 1.02)
    axes[1].set_ylim(bottom=0)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    save_figure(figure, path)


def plot_confusion_matrix(
    truth: np.ndarray, predicted: np.ndarray, labels: Sequence[str], title: str, path: Path
) -> None:
    """Clips by true and predicted label: counts as numbers, shares of the true label as colour.

    Args:
        truth: true class indices [clips].
        predicted: predicted class indices [clips].
        labels: names of the classes.
        title: above the matrix.
        path: a PNG.
    """
    count = len(labels)
    counts = np.zeros((count, count), int)
    np.add.at(counts, (truth, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = max(4.5, 1.5 + 0.6 * count)
    figure, axis = plt.subplots(figsize=(size + 0.8, size), layout="constrained")
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axis, label="share of the true label", shrink=0.8)
    axis.set(title=title, xlabel="predicted", ylabel="true")
    axis.set_xticks(range(count), labels, rotation=45 if count > 4 else 0, ha="right" if count > 4 else "center")
    axis.set_yticks(range(count), labels)
    for text in (*axis.get_xticklabels(), *axis.get_yticklabels()):
        text.set_parse_math(False)
    for true, guess in np.ndindex(count, count):
        colour = "white" if shares[true, guess] > 0.6 else "black"
        axis.text(guess, true, counts[true, guess], ha="center", va="center", color=colour)
    save_figure(figure, path)


def plot_label_scores(scores: dict[str, Any], title: str, path: Path) -> None:
    """Average precision and ROC-AUC of each label of clips that may have several, beside what guessing gives.

    Args:
        scores: as `multi_label_metrics` returns them.
        title: above the plot.
        path: a PNG.
    """
    per_class = {label: own for label, own in scores["per_class"].items() if own["roc_auc"] is not None}
    labels = sorted(per_class, key=lambda label: per_class[label]["average_precision"])
    places = range(len(labels))
    figure, axes = plt.subplots(1, 2, figsize=(10, 1.6 + 0.28 * max(3, len(labels))), layout="constrained", sharey=True)
    for axis, name, what in zip(axes, ("average_precision", "roc_auc"), ("average precision", "ROC-AUC"), strict=True):
        values = [per_class[label][name] for label in labels]
        chance = [per_class[label]["n"] / scores["n"] if name == "average_precision" else 0.5 for label in labels]
        axis.hlines(places, chance, values, color="0.8", zorder=1)
        axis.scatter(chance, places, color="0.6", marker="|", s=80, label="guessing")
        axis.scatter(values, places, color="C0", label="model")
        macro = scores[name]["macro"]
        axis.set(xlim=(-0.02, 1.02), xlabel=what + ("" if macro is None else f" (mean {macro:.3f})"))
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(places, [f"{label} ({per_class[label]['n']})" for label in labels])
    for text in axes[0].get_yticklabels():
        text.set_parse_math(False)
    axes[0].set_ylim(-0.6, len(labels) - 0.4)
    figure.suptitle(title)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
    save_figure(figure, path)


_SHOWN_LABELS = 9


def plot_timeline(
    edges: np.ndarray, windows: np.ndarray, labels: Sequence[str], title: str, path: Path, stacked: bool = True
) -> None:
    """Probabilities over time, stacked to 1; of many labels the most probable ones, and the rest together in grey.

    Args:
        edges: where the windows begin, and the end, in seconds [windows + 1].
        windows: probabilities [windows, classes].
        labels: names of the classes.
        title: above the plot.
        path: a PNG.
        stacked: whether they sum to 1; otherwise each is a line, and the rest is left out.
    """
    order = np.argsort(-windows.mean(axis=0), kind="stable")
    shown = np.sort(order[:_SHOWN_LABELS])
    shares, names = list(windows[:, shown].T), [labels[i] for i in shown]
    colours = [f"C{i if i < 7 else i + 1}" for i in range(len(shown))]  # C7 is grey
    if len(labels) > len(shown) and stacked:
        shares.append(1 - np.sum(shares, axis=0))
        names.append(f"{len(labels) - len(shown)} others")
        colours.append("0.8")
    minutes = edges[-1] >= 120
    times = edges / 60 if minutes else edges
    figure, axis = plt.subplots(figsize=(10, 3.2), layout="constrained")
    bottom = np.zeros(len(windows))
    for share, name, colour in zip(shares, names, colours, strict=True):
        if stacked:
            axis.stairs(bottom + share, times, baseline=bottom, fill=True, color=colour, label=name)
            bottom = bottom + share
        else:
            axis.stairs(share, times, baseline=None, color=colour, linewidth=1.5, label=name)
    axis.set_title(title, parse_math=False)
    axis.set(xlabel=f"time ({'min' if minutes else 's'})", ylabel="probability", ylim=(0, 1))
    axis.set_xlim(0, times[-1])
    legend = figure.legend(loc="outside right center", frameon=False, reverse=True)
    for text in legend.get_texts():
        text.set_parse_math(False)
    save_figure(figure, path)


def plot_throughput(names: Sequence[str], rates: Sequence[float], title: str, path: Path) -> None:
    """A bar for each pipeline, longest where it is fastest, with its rate beside it.

    Args:
        names: of the pipelines.
        rates: clips a second.
        title: above the plot.
        path: a PNG.
    """
    figure, axis = plt.subplots(figsize=(9, 1.2 + 0.4 * len(names)), layout="constrained")
    colours = ["0.6" if name.startswith("limit") else "C0" if name.startswith("ours") else "C1" for name in names]
    bars = axis.barh(names, rates, color=colours)
    axis.bar_label(bars, fmt="{:.0f}", padding=4)
    axis.invert_yaxis()
    axis.set(title=title, xlabel="clips a second")
    axis.set_xlim(0, max(rates) * 1.1)
    save_figure(figure, path)


def plot_stages(
    names: Sequence[str], cpu_ms: Sequence[float], cumulative: Sequence[float], title: str, path: Path
) -> None:
    """What each stage costs alone, and the rate that is left after it.

    Args:
        names: of the stages, in order.
        cpu_ms: CPU time of each alone, ms a clip.
        cumulative: clips a second of everything up to and including it.
        title: above the plot.
        path: a PNG.
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 1.4 + 0.4 * len(names)), sharey=True, layout="constrained")
    for axis, values, label, form in (
        (axes[0], cpu_ms, "alone: CPU ms a clip", "{:.2f}"),
        (axes[1], cumulative, "so far: clips a second", "{:.0f}"),
    ):
        axis.bar_label(axis.barh(names, values, color="C0"), fmt=form, padding=4)
        axis.set(xlabel=label)
        axis.set_xlim(0, max(values) * 1.15)
    axes[0].invert_yaxis()
    figure.suptitle(title)
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
    """Crops before and after augmentation, a row each: waveforms, and log-mel images in one colour scale.

    Args:
        rows: as many crops in each.
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


def save_figure(figure: plt.Figure, path: Path) -> None:
    """Writes a figure whole and closes it."""
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)
