"""The pictures of an evaluation: the confusion matrix, or the scores of each label of clips with several.

Their size, and what drawing them costs, is bounded for any number of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evaluation.confusion import ConfusedPair, confused_pairs, confusion_matrix
from experiments.figures import plt, save_figure, short_text

MOST_CELLS = 40  # labels up to which a matrix has a number in each cell, and every label its name
_MOST_GROUPS = 400  # rows of a matrix that can still be told apart; of more labels, neighbours share a row
_MOST_NAMES = 40  # along an axis of a matrix without numbers
_MOST_BARS = 60  # labels of one picture of scores; of more labels, the best and the worst half as many


def plot_confusion_matrix(
    truth: np.ndarray, predicted: np.ndarray, labels: Sequence[str], title: str, path: Path
) -> None:
    """Draws clips by true and predicted label: shares of the true label as colour, and the counts as numbers.

    Of more than 40 labels there are no numbers; a list of the pairs that are confused most stands beside the matrix. Of
    more than 400 labels, neighbours share a row and a column.

    Args:
        truth: true class indices [clips].
        predicted: predicted class indices [clips].
        labels: names of the classes.
        title: above the matrix.
        path: a PNG.
    """
    if len(labels) > MOST_CELLS:
        _plot_large_matrix(truth, predicted, labels, title, path)
        return
    count = len(labels)
    names = [short_text(label) for label in labels]
    matrix = confusion_matrix(truth, predicted, count)
    size = max(4.5, 1.5 + 0.6 * count)
    figure, axis = plt.subplots(figsize=(size + 0.8, size), layout="constrained")
    image = axis.imshow(matrix.shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axis, label="share of the true label", shrink=0.8)
    axis.set_title(title, parse_math=False)
    axis.set(xlabel="predicted", ylabel="true")
    axis.set_xticks(range(count), names, rotation=45 if count > 4 else 0, ha="right" if count > 4 else "center")
    axis.set_yticks(range(count), names)
    for text in (*axis.get_xticklabels(), *axis.get_yticklabels()):
        text.set_parse_math(False)
    for true, guess in np.ndindex(count, count):
        colour = "white" if matrix.shares[true, guess] > 0.6 else "black"
        axis.text(guess, true, str(matrix.counts[true, guess]), ha="center", va="center", color=colour)
    save_figure(figure, path)


def _plot_large_matrix(truth: np.ndarray, predicted: np.ndarray, labels: Sequence[str], title: str, path: Path) -> None:
    group = -(-len(labels) // _MOST_GROUPS)  # labels that share a row
    rows = -(-len(labels) // group)
    matrix = confusion_matrix(truth // group, predicted // group, rows)
    figure, (axis, beside) = plt.subplots(1, 2, figsize=(17, 10), width_ratios=[10, 6], layout="constrained")
    image = axis.imshow(matrix.shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axis, label="share of the true label" + "s of a row" * (group > 1), shrink=0.8)
    step = -(-rows // _MOST_NAMES)
    places = range(0, rows, step)
    names = [short_text(labels[place * group]) for place in places]
    axis.set_xticks(places, names, rotation=90, fontsize=8)
    axis.set_yticks(places, names, fontsize=8)
    for text in (*axis.get_xticklabels(), *axis.get_yticklabels()):
        text.set_parse_math(False)
    named = "" if step * group == 1 else f" (one label in {step * group} is named)"
    axis.set(xlabel="predicted" + named, ylabel="true")
    if group > 1:
        title += f"\nrows and columns of {group} neighbouring labels each"
    axis.set_title(title, parse_math=False)
    beside.set_axis_off()
    pairs = confused_pairs(truth, predicted, len(labels))
    beside.set_title("Confused most (true → predicted)" if pairs else "No clip is confused", loc="left")
    for place, pair in enumerate(pairs):
        beside.text(0, 0.975 - place / 21, pair_text(pair, labels), va="top", fontsize=9, parse_math=False)
    save_figure(figure, path)


def pair_text(pair: ConfusedPair, labels: Sequence[str]) -> str:
    """Returns a confused pair as text, such as "Rock → Pop: 37 of 120 (31 %)"."""
    true, predicted = short_text(labels[pair.true]), short_text(labels[pair.predicted])
    return f"{true} → {predicted}: {pair.count} of {pair.clips} ({100 * pair.share:.0f} %)"


def plot_label_scores(scores: dict[str, Any], title: str, path: Path) -> None:
    """Draws average precision and ROC-AUC of each label of clips that may have several, beside those of guessing.

    Of more than 60 labels, the 30 with the highest average precision and the 30 with the lowest are shown.

    Args:
        scores: as `multi_label_metrics` returns them.
        title: above the plot.
        path: a PNG.
    """
    per_class = {label: own for label, own in scores["per_class"].items() if own["roc_auc"] is not None}
    labels = sorted(per_class, key=lambda label: per_class[label]["average_precision"])
    heights = list(range(len(labels)))
    if len(labels) > _MOST_BARS:
        half = _MOST_BARS // 2
        title += f"\nthe {half} best and the {half} worst of {len(labels)} labels by average precision"
        labels = labels[:half] + labels[-half:]
        heights = [*range(half), *range(half + 1, _MOST_BARS + 1)]  # a gap between the two
    figure, axes = plt.subplots(1, 2, figsize=(10, 1.6 + 0.28 * max(3, len(labels))), layout="constrained", sharey=True)
    for axis, name, what in zip(axes, ("average_precision", "roc_auc"), ("average precision", "ROC-AUC"), strict=True):
        values = [per_class[label][name] for label in labels]
        chance = [per_class[label]["n"] / scores["n"] if name == "average_precision" else 0.5 for label in labels]
        axis.hlines(heights, chance, values, color="0.8", zorder=1)
        axis.scatter(chance, heights, color="0.6", marker="|", s=80, label="guessing")
        axis.scatter(values, heights, color="C0", label="model")
        macro = scores[name]["macro"]
        axis.set(xlim=(-0.02, 1.02), xlabel=what + ("" if macro is None else f" (mean {macro:.3f})"))
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(heights, [f"{short_text(label)} ({per_class[label]['n']})" for label in labels])
    for text in axes[0].get_yticklabels():
        text.set_parse_math(False)
    axes[0].set_ylim(-0.6, max(heights, default=0) + 0.6)
    if not labels:
        title += "\nno label that some of these clips have and others have not"
    figure.suptitle(title, parse_math=False)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
    save_figure(figure, path)
