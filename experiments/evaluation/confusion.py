"""Which labels are taken for which: clips by true and predicted label, and the pairs that are confused most."""

from __future__ import annotations

import dataclasses

import numpy as np

MOST_PAIRS = 20  # of a list of confused pairs


@dataclasses.dataclass(frozen=True)
class ConfusionMatrix:
    """Clips by true and predicted label: what confusion_matrix.png and a report page both show.

    Attributes:
        counts: clips [true class, predicted class].
        shares: of the clips of the true class, 0 where it has none [true class, predicted class].
    """

    counts: np.ndarray
    shares: np.ndarray


@dataclasses.dataclass(frozen=True)
class ConfusedPair:
    """Clips of one label that are taken for another.

    Attributes:
        true: class index of the true label.
        predicted: class index of the predicted label.
        count: how many clips.
        clips: how many clips the true label has.
    """

    true: int
    predicted: int
    count: int
    clips: int

    @property
    def share(self) -> float:
        """The share of the true label's clips."""
        return self.count / self.clips


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> ConfusionMatrix:
    """Counts clips by true and predicted label.

    Args:
        truth: true class indices [clips].
        predicted: predicted class indices [clips].
        classes: number of classes. The matrix has its square of cells: where there are many, pass groups of labels.
    """
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (truth, predicted), 1)
    return ConfusionMatrix(counts, counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def confused_pairs(
    truth: np.ndarray, predicted: np.ndarray, classes: int, most: int = MOST_PAIRS
) -> list[ConfusedPair]:
    """Finds the pairs of labels that are confused most, in memory that grows with the clips alone.

    Args:
        truth: true class indices [clips].
        predicted: predicted class indices [clips].
        classes: number of classes.
        most: pairs to return.

    Returns:
        The pairs with most clips; of equally many, first the one that is the larger share of its true label.
    """
    clips = np.bincount(truth, minlength=classes)
    wrong = truth != predicted
    codes, counts = np.unique(truth[wrong].astype(np.int64) * classes + predicted[wrong], return_counts=True)
    true, guess = np.divmod(codes, classes)
    order = np.lexsort((guess, true, clips[true], -counts))[:most]
    return [ConfusedPair(int(true[i]), int(guess[i]), int(counts[i]), int(clips[true[i]])) for i in order]
