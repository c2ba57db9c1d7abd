"""The pictures of an evaluation: the confusion matrix, or the scores of each label of clips with several."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.figures import plt, save_figure


@dataclasses.dataclass(frozen=True)
class ConfusionMatrix:
    """Clips by true and predicted label: what confusion_matrix.png and a report page both show.

    Attributes:
        counts: clips [true class, predicted class].
        shares: of the clips of the true class, 0 where it has none [true class, predicted class].
    """

    counts: np.ndarray
    shares: np.ndarray


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> ConfusionMatrix:
    """Counts clips by true and predicted label.

    Args:
        truth: true class indices [clips].
        predicted: predicted class indices [clips].
        classes: number of classes.
    """
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (truth, predicted), 1)
    return ConfusionMatrix(counts, counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def plot_confusion_matrix(
    truth: np.ndarray, predicted: np.ndarray, labels: Sequence[str], title: str, path: Path
) -> None:
    """Draws clips by true and predicted label: counts as numbers, shares of the true label as colour.

    Args:
        truth: true class indices [clips].
        predicted: predicted class indices [clips].
        labels: names of the classes.
        title: above the matrix.
        path: a PNG.
    """
    count = len(labels)
    matrix = confusion_matrix(truth, predicted, count)
    size = max(4.5, 1.5 + 0.6 * count)
    figure, axis = plt.subplots(figsize=(size + 0.8, size), layout="constrained")
    image = axis.imshow(matrix.shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axis, label="share of the true label", shrink=0.8)
    axis.set(title=title, xlabel="predicted", ylabel="true")
    axis.set_xticks(range(count), labels, rotation=45 if count > 4 else 0, ha="right" if count > 4 else "center")
    axis.set_yticks(range(count), labels)
    for text in (*axis.get_xticklabels(), *axis.get_yticklabels()):
        text.set_parse_math(False)
    for true, guess in np.ndindex(count, count):
        colour = "white" if matrix.shares[true, guess] > 0.6 else "black"
        axis.text(guess, true, matrix.counts[true, guess], ha="center", va="center", color=colour)
    save_figure(figure, path)


def plot_label_scores(scores: dict[str, Any], title: str, path: Path) -> None:
    """Draws average precision and ROC-AUC of each label of clips that may have several, beside those of guessing.

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
