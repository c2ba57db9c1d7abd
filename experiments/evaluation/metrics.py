"""Scores of a classifier, by scikit-learn and scipy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support

MOST_ROWS = 40  # of a table of labels' scores on the terminal


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share by Wilson's score.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927. Examples are taken as
    independent of each other.

    Args:
        hits: examples that count.
        count: all examples, at least 1.
    """
    interval = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def classification_metrics(truth: np.ndarray, predicted: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """Computes accuracy, balanced accuracy, and precision, recall and F1 of each class.

    Args:
        truth: true class indices [n].
        predicted: predicted class indices [n].
        labels: names of the classes.

    Returns:
        {"accuracy", "balanced_accuracy", "n", "ci95": [low, high], "per_class": {label: {"precision", "recall",
        "f1", "n"}}}. The interval is Wilson's for the accuracy, which takes examples as independent (crops of one
        clip are not). Balanced accuracy is the mean recall of the classes that occur in `truth`. A ratio of 0/0 is 0.

    Raises:
        ValueError: there is no example.
    """
    if len(truth) == 0:
        raise ValueError("expected at least one decodable clip to score, received none")
    classes = np.arange(len(labels))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=classes, average=None, zero_division=0
    )
    hits = int(np.sum(truth == predicted))
    return {
        "accuracy": hits / len(truth),
        "balanced_accuracy": float(recall[support > 0].mean()),
        "n": len(truth),
        "ci95": list(wilson_interval(hits, len(truth))),
        "per_class": {
            label: {"precision": float(p), "recall": float(r), "f1": float(f), "n": int(n)}
            for label, p, r, f, n in zip(labels, precision, recall, f1, support, strict=True)
        },
    }


def shown_rows(
    per_class: Mapping[str, dict[str, Any]], score: str, most: int = MOST_ROWS
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Chooses the labels that a table of scores shows: all, or of many the best and the worst.

    Args:
        per_class: scores of each label, with "n", how many examples have it.
        score: the name of the score by which labels are chosen; labels without it, or without examples, are left out first.
        most: rows that a table may have.

    Returns:
        The scores of the labels shown, in the order of `per_class` or, where some are left out, from the best to the worst;
        and a line that says what is left out, or no line.
    """
    if len(per_class) <= most:
        return dict(per_class), []
    scored = [label for label, own in per_class.items() if own["n"] and own[score] is not None]
    ranked = sorted(scored, key=lambda label: -per_class[label][score])
    chosen = ranked if len(ranked) <= most else ranked[: most // 2] + ranked[-(most // 2) :]
    which = "the best and the worst" if len(chosen) < len(ranked) else "those that can be scored"
    name = score.replace("_", " ").replace("f1", "F1")
    note = f"  ({len(chosen)} of {len(per_class)} labels, {which} by {name}; metrics.json has all of them)"
    return {label: per_class[label] for label in chosen}, [note]


def bootstrap_balanced_mean(
    values: np.ndarray, truth: np.ndarray, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Estimates the 95 % interval of the mean over classes of a class's mean value, by resampling the clips of each class.

    With 1 for a hit and 0 for a miss that is the balanced accuracy; with hits averaged over runs, the runs' mean
    balanced accuracy; with the differences of two models' hits on the same clips, the paired bootstrap of theirs
    (B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993). Clips are taken as independent, which those of
    one artist are not.

    Args:
        values: one number a clip [clips]; few different ones, such as hits in 0…n runs.
        truth: true class indices [clips].
        resamples: how often to resample.
        seed: of the resampling.

    Returns:
        The 2.5 % and 97.5 % quantiles.
    """
    rng = np.random.default_rng(seed)
    classes = np.unique(truth)
    means = np.zeros(resamples)
    for class_index in classes:
        own = values[truth == class_index]
        # How often each different value is drawn, instead of which clips: the same distribution in little memory.
        different, counts = np.unique(own, return_counts=True)
        drawn = rng.multinomial(len(own), counts / len(own), size=resamples)  # [resamples, different]
        means += drawn @ different / len(own) / len(classes)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How often predictions of some confidence are right.

    Attributes:
        edges: of the bins of confidence [bins + 1], equally wide over 0...1.
        counts: predictions in each bin [bins].
        confidence: their mean confidence [bins], 0 in an empty bin.
        accuracy: the share of them that is right [bins], 0 in an empty bin.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the mean of |accuracy - confidence| over all predictions, bin by bin."""
        return float(np.average(np.abs(self.accuracy - self.confidence), weights=self.counts))


def calibration(probabilities: np.ndarray, truth: np.ndarray, bins: int = 10) -> Calibration:
    """Compares the probability of the predicted class with how often it is the true one.

    After Guo et al., "On calibration of modern neural networks", ICML 2017, sections 2 and 4.

    Args:
        probabilities: [n, classes].
        truth: true class indices [n].
        bins: number of bins; a confidence on an edge counts in the lower one.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    edges = np.linspace(0, 1, bins + 1)
    places = np.searchsorted(edges[1:-1], confidence)
    counts = np.bincount(places, minlength=bins)
    sums = [np.bincount(places, weights=values, minlength=bins) for values in (confidence, right)]
    return Calibration(edges, counts, *(total / np.maximum(counts, 1) for total in sums))
