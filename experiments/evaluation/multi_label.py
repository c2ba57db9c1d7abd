"""Several labels a clip: a threshold for each label from validation, and scores by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score
from sklearn.metrics import precision_recall_fscore_support as label_scores

from experiments.evaluation.metrics import shown_rows, wilson_interval


def best_thresholds(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Chooses for each label the threshold with the highest F1; of equally good ones the highest.

    It lies half-way between the probabilities of two clips, so that rounding does not decide. A label that no clip or every
    clip has gets 0.5.

    Args:
        truth: 1 for each label that a clip has, 0 for the others [clips, labels].
        probabilities: [clips, labels].

    Returns:
        Thresholds [labels]: a clip has the labels whose probability is at least theirs.
    """
    thresholds = np.full(truth.shape[1], 0.5)
    for label, (has, scores) in enumerate(zip(truth.T, probabilities.T, strict=True)):
        if has.min() == has.max():
            continue
        precision, recall, candidates = precision_recall_curve(has, scores)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        best = len(candidates) - 1 - int(np.argmax(f1[:-1][::-1]))
        below = candidates[best - 1] if best else 0.0
        thresholds[label] = (candidates[best] + below) / 2
    return thresholds


def multi_label_metrics(
    truth: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray, labels: Sequence[str]
) -> dict[str, Any]:
    """Computes the scores of a classifier that gives every example any number of labels.

    Args:
        truth: 1 for each label that an example has, 0 for the others [n, labels].
        probabilities: [n, labels].
        thresholds: from which probability on an example has a label [labels].
        labels: their names.

    Returns:
        {"accuracy": share of the examples with exactly the right labels, "ci95": [low, high] of it (Wilson), "n",
        "roc_auc", "average_precision" and "f1": each {"macro", "micro"}, "per_class": {label: {"roc_auc",
        "average_precision", "threshold", "precision", "recall", "f1", "n"}}}. Areas do not depend on thresholds. A label
        that no example or every example has gives no area: None there, and left out of the macro means. None, too, where
    there is nothing to average.

    Raises:
        ValueError: there is no example.
    """
    if len(truth) == 0:
        raise ValueError("expected at least one decodable clip to score, received none")
    predicted = (probabilities >= thresholds).astype(int)
    hits = int((predicted == truth).all(axis=1).sum())
    mixed = np.flatnonzero(truth.min(axis=0) != truth.max(axis=0))
    areas = {"roc_auc": roc_auc_score, "average_precision": average_precision_score}
    of_label = {
        name: {label: float(score(truth[:, label], probabilities[:, label])) for label in mixed.tolist()}
        for name, score in areas.items()
    }
    precision, recall, f1, support = label_scores(truth, predicted, average=None, zero_division=0)
    return {
        "accuracy": hits / len(truth),
        "ci95": list(wilson_interval(hits, len(truth))),
        "n": len(truth),
        **{
            name: {
                "macro": float(np.mean(list(of_label[name].values()))) if len(mixed) else None,
                "micro": float(score(truth.ravel(), probabilities.ravel())) if 0 < truth.sum() < truth.size else None,
            }
            for name, score in areas.items()
        },
        "f1": {average: f1_score(truth, predicted, average=average, zero_division=0) for average in ("macro", "micro")},
        "per_class": {
            label: {
                "roc_auc": of_label["roc_auc"].get(i),
                "average_precision": of_label["average_precision"].get(i),
                "threshold": float(thresholds[i]),
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "n": int(support[i]),
            }
            for i, label in enumerate(labels)
        },
    }


def format_multi_label_metrics(split: str, metrics: dict[str, Any]) -> str:
    """Returns a table of one split's scores for the terminal; of many labels the best and the worst."""
    clip = metrics["clip"]
    shown, left_out = shown_rows(clip["per_class"], "average_precision")
    width = max(9, *(len(label) for label in shown))
    low, high = clip["ci95"]
    means = (
        f"{title} {_number(clip[name]['macro'])} macro, {_number(clip[name]['micro'])} micro"
        for name, title in (("roc_auc", "ROC-AUC"), ("average_precision", "average precision"), ("f1", "F1"))
    )
    lines = [
        f"{split}, by clip: {'; '.join(means)}; all labels right {clip['accuracy']:.3f} "
        f"(95 % interval {low:.3f}-{high:.3f}, n = {clip['n']}); undecodable clips: {metrics['failures']}",
        f"  {'':{width}} ROC-AUC  avg.prec.  threshold  precision  recall      f1     n",
    ]
    for label, scores in shown.items():
        lines.append(
            f"  {label:{width}} {_number(scores['roc_auc']):>7} {_number(scores['average_precision']):>10} "
            f"{scores['threshold']:10.3f} {scores['precision']:10.3f} {scores['recall']:7.3f} {scores['f1']:7.3f} "
            f"{scores['n']:5d}"
        )
    return "\n".join([*lines, *left_out])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
