"""The learning curves of a run: what training draws as curves.png, and a report draws into its page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Curve:
    """One quantity by epoch, of training and of validation.

    Attributes:
        name: what it is, with its unit.
        training: a value each epoch.
        validation: a value each epoch.
        top: what the vertical axis, which begins at 0, reaches.
    """

    name: str
    training: list[float]
    validation: list[float]
    top: float


@dataclasses.dataclass(frozen=True)
class LearningCurves:
    """The curves of a run.

    Attributes:
        epochs: numbers of the finished epochs.
        kept: number of the epoch whose weights are kept: the one with the lowest validation loss.
        curves: accuracy and loss.
    """

    epochs: list[int]
    kept: int
    curves: tuple[Curve, ...]

    @property
    def epoch_range(self) -> tuple[float, float]:
        """The ends of the horizontal axis; a single epoch is in its middle."""
        margin = 0.5 if len(self.epochs) == 1 else 0
        return min(self.epochs) - margin, max(self.epochs) + margin


def learning_curves(history: Sequence[Mapping[Any, float]]) -> LearningCurves:
    """Chooses what is shown of a training.

    Args:
        history: one row a finished epoch, as in history.csv: epoch, loss, accuracy, val_loss, val_accuracy.
    """
    epochs = [int(row["epoch"]) for row in history]
    curves = []
    for column, name, least in (("accuracy", "Accuracy by crop", 1.0), ("loss", "Cross-entropy in nats", 0.0)):
        training, validation = [row[column] for row in history], [row[f"val_{column}"] for row in history]
        # Room above the highest point, so that its line is whole.
        top = 1.02 * max(least, *(value for value in (*training, *validation) if np.isfinite(value)))
        curves.append(Curve(name, training, validation, top))
    return LearningCurves(epochs, epochs[int(np.argmin([row["val_loss"] for row in history]))], tuple(curves))
