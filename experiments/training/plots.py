"""The picture of a training: its learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.figures import plt, save_figure
from experiments.runs.curves import learning_curves


def plot_curves(history: Sequence[Mapping[Any, float]], path: Path) -> None:
    """Draws accuracy and loss of training and validation by epoch, with the kept epoch marked.

    Args:
        history: one row a finished epoch, as in history.csv: epoch, loss, accuracy, val_loss, val_accuracy.
        path: a PNG.
    """
    shown = learning_curves(history)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, curve in zip(axes, shown.curves, strict=True):
        # A single epoch is a point, which a line alone would not show.
        marker = "o" if len(shown.epochs) == 1 else ""
        axis.plot(shown.epochs, curve.training, color="C0", marker=marker, label="training")
        axis.plot(shown.epochs, curve.validation, color="C1", marker=marker, label="validation")
        axis.axvline(shown.kept, color="0.6", linestyle="--", linewidth=1, label=f"kept: epoch {shown.kept}")
        axis.set(title=curve.name, xlabel="epoch", xlim=shown.epoch_range, ylim=(0, curve.top))
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axis.grid(alpha=0.3)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    save_figure(figure, path)
