"""Pictures and tables of any number of labels: bounded, and right by scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sklearn_metrics

from experiments.evaluation import plots
from experiments.evaluation.confusion import confused_pairs
from experiments.evaluation.evaluation import format_metrics
from experiments.evaluation.metrics import classification_metrics
from experiments.evaluation.multi_label import multi_label_metrics

MOST_PIXELS = 12_000_000


@pytest.fixture
def figures(monkeypatch) -> list:
    """The figures that are saved, in order."""
    saved = []
    save = plots.save_figure
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: (saved.append(figure), save(figure, path)))
    return saved


def guesses(rng: np.random.Generator, labels: int, clips: int) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.integers(0, labels, clips)
    return truth, np.where(rng.random(clips) < 0.5, truth, rng.integers(0, min(labels, 7), clips))


@pytest.mark.parametrize("count", [2, 8, 41, 163, 1000, 5000])
def test_a_confusion_matrix_of_any_size(count: int, figures, rng, tmp_path: Path):
    truth, predicted = guesses(rng, count, 2000)
    plots.plot_confusion_matrix(
        truth, predicted, [f"$^$ label {i} {'long' * 20}" for i in range(count)], "title", tmp_path / "m.png"
    )
    with Image.open(tmp_path / "m.png") as image:
        assert image.width * image.height < MOST_PIXELS
    (axis, *_) = figures[0].axes
    cells = axis.images[0].get_array()
    group = 1 if count <= 400 else -(-count // 400)
    rows = -(-count // group)
    expected = sklearn_metrics.confusion_matrix(
        truth // group, predicted // group, labels=range(rows), normalize="true"
    )
    np.testing.assert_allclose(cells, expected)
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert len(axis.texts) == (count**2 if count <= 40 else 0) and len(names) <= 40
    assert all(len(name) <= 24 for name in names)
    if group > 1:
        assert f"{group} neighbouring labels" in axis.get_title()


def test_the_most_confused_pairs_are_scikit_learns(rng):
    truth, predicted = guesses(rng, 60, 3000)
    counts = sklearn_metrics.confusion_matrix(truth, predicted, labels=range(60))
    clips = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    pairs = confused_pairs(truth, predicted, 60)
    assert [pair.count for pair in pairs] == sorted(counts.ravel(), reverse=True)[:20]
    for pair in pairs:
        assert (pair.count, pair.clips) == (counts[pair.true, pair.predicted], clips[pair.true])
    assert plots.pair_text(pairs[0], [f"L{i}" for i in range(60)]) == (
        f"L{pairs[0].true} → L{pairs[0].predicted}: {pairs[0].count} of {pairs[0].clips} "
        f"({100 * pairs[0].count / pairs[0].clips:.0f} %)"
    )
    assert confused_pairs(truth, truth, 60) == []


def test_pairs_are_listed_beside_a_large_matrix(figures, tmp_path: Path):
    truth, predicted = np.array([0, 0, 0, 1, 7]), np.array([1, 1, 0, 2, 7])
    plots.plot_confusion_matrix(truth, predicted, [f"L{i}" for i in range(50)], "title", tmp_path / "m.png")
    beside = figures[0].axes[1]
    assert [text.get_text() for text in beside.texts] == ["L0 → L1: 2 of 3 (67 %)", "L1 → L2: 1 of 1 (100 %)"]


@pytest.mark.parametrize("count", [3, 163])
def test_scores_of_many_labels(count: int, figures, rng, tmp_path: Path):
    truth = (rng.random((200, count)) < 0.2).astype(int)
    probabilities = np.clip(rng.random((200, count)) + truth * rng.random(count), 0, 2) / 2
    labels = [f"label {i}" for i in range(count)]
    scores = multi_label_metrics(truth, probabilities, np.full(count, 0.5), labels)
    plots.plot_label_scores(scores, "title", tmp_path / "s.png")
    with Image.open(tmp_path / "s.png") as image:
        assert image.width * image.height < MOST_PIXELS
    names = [text.get_text() for text in figures[0].axes[0].get_yticklabels()]
    precision = sklearn_metrics.average_precision_score(truth, probabilities, average=None)
    shown = [int(name.split()[1]) for name in names]
    ranked = np.sort(precision)
    np.testing.assert_allclose(precision[shown], ranked if count <= 60 else [*ranked[:30], *ranked[-30:]])
    assert names == [f"label {i} ({truth[:, i].sum()})" for i in shown]


def test_the_terminal_shows_the_best_and_the_worst(rng):
    truth, predicted = guesses(rng, 163, 4000)
    labels = [f"label {i}" for i in range(163)]
    scores = classification_metrics(truth, predicted, labels)
    lines = format_metrics("test", {"clip": scores, "crop": scores, "failures": 0}).splitlines()
    f1 = sklearn_metrics.f1_score(truth, predicted, average=None, labels=range(163), zero_division=0)
    shown = [f1[int(line.split()[1])] for line in lines[2:-1]]
    assert shown == sorted([*np.sort(f1)[:20], *np.sort(f1)[-20:]], reverse=True)
    assert lines[-1] == "  (40 of 163 labels, the best and the worst by F1; metrics.json has all of them)"
    few = classification_metrics(truth % 3, predicted % 3, labels[:3])
    assert len(format_metrics("test", {"clip": few, "crop": few, "failures": 0}).splitlines()) == 5
