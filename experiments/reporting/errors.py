"""What is wrong with the labels that clips are given, where each may have several."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

MOST_LABELS = 40  # rows of the table of errors


@dataclasses.dataclass(frozen=True)
class LabelErrors:
    """The errors of one label.

    Attributes:
        label: class index.
        given: clips that are given it and do not have it.
        missed: clips that have it and are not given it.
    """

    label: int
    given: int
    missed: int


def decision_margins(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Says how far each probability lies beyond its label's threshold, so that labels can be compared.

    Args:
        probabilities: [clips, labels].
        thresholds: from which probability on a clip is given a label [labels].

    Returns:
        A share of the way from the threshold to 1, or, negative, to 0 [clips, labels].
    """
    room = np.where(probabilities >= thresholds, 1 - thresholds, thresholds)
    return (probabilities - thresholds) / np.maximum(room, 1e-12)


def label_errors(truth: np.ndarray, given: np.ndarray) -> list[LabelErrors]:
    """Counts the errors of each label.

    Args:
        truth: whether a clip has a label [clips, labels].
        given: whether it is given it [clips, labels].

    Returns:
        The labels with errors, those with most first.
    """
    wrongly, missed = (given & ~truth).sum(axis=0), (truth & ~given).sum(axis=0)
    order = np.argsort(-(wrongly + missed), kind="stable")
    return [LabelErrors(int(i), int(wrongly[i]), int(missed[i])) for i in order if wrongly[i] + missed[i]]


def worst_first(probabilities: np.ndarray, truth: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orders clips by their worst error, and says how bad each error is.

    Args:
        probabilities: [clips, labels].
        truth: whether a clip has a label [clips, labels].
        thresholds: from which probability on a clip is given a label [labels].

    Returns:
        The clips [clips]: those with errors, the most confident one first, then the others, the least confident first;
        and how confident each error is, 0 where there is none [clips, labels].
    """
    margins = decision_margins(probabilities, thresholds)
    wrong = (margins >= 0) != truth
    severity = np.where(wrong, np.maximum(np.abs(margins), 1e-12), 0.0)
    worst, doubt = severity.max(axis=1), np.abs(margins).min(axis=1)
    return np.lexsort((np.where(worst > 0, -worst, doubt), worst == 0)), severity


def named(labels: Sequence[str], chosen: Sequence[int], most: int = 8) -> str:
    """Returns the names of labels as one text of bounded length; "no label" of none."""
    names = ", ".join(labels[i] for i in chosen[:most]) or "no label"
    return names + (f" and {len(chosen) - most} more" if len(chosen) > most else "")
