"""Scores against scikit-learn and Wilson's formula."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from experiments.evaluation.metrics import calibration, classification_metrics
from experiments.evaluation.splits import mean_by_clip

LABELS = ("Folk", "Jazz", "Rock")


def test_scores_are_scikit_learns(rng):
    truth = rng.integers(0, 3, 200)
    predicted = np.where(rng.random(200) < 0.7, truth, rng.integers(0, 3, 200))
    ours = classification_metrics(truth, predicted, LABELS)
    assert ours["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    assert ours["balanced_accuracy"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(truth, predicted))
    assert ours["n"] == 200
    report = sklearn_metrics.classification_report(truth, predicted, target_names=LABELS, output_dict=True)
    for label in LABELS:
        theirs = report[label]
        assert ours["per_class"][label] == {
            "precision": pytest.approx(theirs["precision"]),
            "recall": pytest.approx(theirs["recall"]),
            "f1": pytest.approx(theirs["f1-score"]),
            "n": theirs["support"],
        }


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (93, 100), (1, 3)])
def test_interval_is_wilsons(hits: int, n: int):
    # E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    z, share = 1.959963984540054, hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    truth = np.zeros(n, int)
    predicted = np.where(np.arange(n) < hits, 0, 1)
    assert classification_metrics(truth, predicted, LABELS)["ci95"] == pytest.approx([centre - half, centre + half])


def test_class_without_example_does_not_count_in_balanced_accuracy():
    scores = classification_metrics(np.array([0, 0, 1]), np.array([0, 2, 1]), LABELS)
    assert scores["balanced_accuracy"] == pytest.approx(0.75)
    assert scores["per_class"]["Rock"] == {"precision": 0, "recall": 0, "f1": 0, "n": 0}


def test_nothing_to_score():
    with pytest.raises(ValueError, match="received none"):
        classification_metrics(np.array([], int), np.array([], int), LABELS)


def test_mean_by_clip(rng):
    rows = rng.integers(0, 5, 40) * 2
    probabilities = rng.random((40, 3))
    clips, means = mean_by_clip(probabilities, rows)
    assert clips.tolist() == sorted(set(rows))
    for clip, mean in zip(clips, means, strict=True):
        np.testing.assert_allclose(mean, probabilities[rows == clip].mean(axis=0))


def test_calibration_is_scikit_learns(rng):
    probabilities = rng.dirichlet(np.full(3, 0.5), 500)
    probabilities[0] = (0.7, 0.2, 0.1)  # on an edge
    truth = np.array([rng.choice(3, p=row) for row in probabilities])
    right, confidence = probabilities.argmax(axis=1) == truth, probabilities.max(axis=1)
    ours = calibration(probabilities, truth)
    accuracy, mean_confidence = calibration_curve(right, confidence, n_bins=10)
    filled = ours.counts > 0
    assert 0 < filled.sum() < 10 and ours.counts.sum() == 500
    np.testing.assert_allclose(ours.accuracy[filled], accuracy)
    np.testing.assert_allclose(ours.confidence[filled], mean_confidence)
    by_bin = pd.DataFrame({"right": right, "confidence": confidence}).groupby(
        pd.cut(confidence, ours.edges), observed=True
    )
    means, sizes = by_bin.mean(), by_bin.size()
    assert ours.expected_error == pytest.approx(((means["right"] - means["confidence"]).abs() * sizes / 500).sum())
    sure = calibration(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    assert sure.expected_error == 0.5 and sure.counts[-1] == 2
