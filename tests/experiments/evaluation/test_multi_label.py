"""Several labels a clip: tables, splits, objective, thresholds, scores, and a run from end to end."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.special import expit, log_expit
from scipy.stats import mannwhitneyu
from sklearn.metrics import f1_score
from support.small_run import SMALL_RUN

from experiments.builders.balance import label_weights
from experiments.builders.model import build_model
from experiments.builders.objective import make_objective
from experiments.evaluation.evaluation import evaluate_run, format_metrics, write_evaluation
from experiments.evaluation.multi_label import best_thresholds, multi_label_metrics
from experiments.evaluation.splits import SplitPredictions
from experiments.export.export import export_run
from experiments.prediction.exported import load_exported
from experiments.prediction.output import write_predictions
from experiments.prediction.plots import plot_timeline
from experiments.prediction.prediction import predict_files
from experiments.reporting.data import gather
from experiments.reporting.page import write_report
from experiments.runs.run import Run
from experiments.settings import Settings
from experiments.training.loop import train
from experiments.training.step import make_train_step
from pipeline.catalogs.catalog import CatalogError, make_catalog
from pipeline.catalogs.splits import assign_splits
from pipeline.catalogs.table import load_csv

pytestmark = pytest.mark.slow


def test_a_table_of_several_labels(tmp_path: Path):
    (tmp_path / "table.csv").write_text(
        "path,label,split\n1.mp3,Rock|Folk,training\n2.mp3,Folk,validation\n3.mp3,Jazz | Rock|Jazz,test\n4.mp3,Blues,test\n"
    )
    catalog = load_csv(tmp_path / "table.csv", ("rock", "folk", "jazz"), multi_label=True)
    assert catalog.labels == ("Folk", "Jazz", "Rock")
    assert catalog.tracks["label"].tolist() == ["Folk|Rock", "Folk", "Jazz|Rock"]
    assert catalog.targets(catalog.tracks).tolist() == [[1, 0, 1], [1, 0, 0], [0, 1, 1]]
    assert catalog.targets(catalog.split("test")).tolist() == [[0, 1, 1]]
    with pytest.raises(CatalogError, match="leave out --multi_label"):
        catalog.class_indices(catalog.tracks)
    assert load_csv(tmp_path / "table.csv").labels == ("Blues", "Folk", "Jazz | Rock|Jazz", "Rock|Folk")


def test_splits_give_every_split_the_rare_labels():
    rng = np.random.default_rng(0)
    labels = ["Rock" + "|Punk" * (i % 4 == 0) + "|Ska" * (i % 20 == 0) for i in range(200)]
    tracks = pd.DataFrame({"label": labels, "artist": rng.integers(0, 60, 200).astype(str), "album": ""})
    catalog = make_catalog(tracks.assign(track_id=range(200), path="x"), (), multi_label=True)
    split, _ = assign_splits(catalog.tracks, catalog.label_names(catalog.tracks))
    assert split.groupby(catalog.tracks["artist"]).nunique().max() == 1
    for name in ("training", "validation", "test"):
        assert catalog.targets(catalog.tracks[split == name]).sum(axis=0).min() > 0


def test_objective_is_binary_cross_entropy(rng):
    logits = rng.normal(size=(5, 3)).astype(np.float32) * 4
    truth = (rng.random((5, 3)) < 0.5).astype(np.float32)
    each = -(truth * log_expit(logits) + (1 - truth) * log_expit(-logits))
    weights = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    objective = make_objective(Settings(multi_label=True), weights)
    probabilities = expit(logits)
    np.testing.assert_allclose(objective.cross_entropy(truth, probabilities), each.mean(axis=1), rtol=1e-4)
    weighted = (each * np.where(truth == 1, weights[1], weights[0])).mean(axis=1)
    np.testing.assert_allclose(objective.loss(truth, probabilities), weighted, rtol=1e-4)
    right = ((probabilities > 0.5) == truth).mean(axis=1)
    np.testing.assert_allclose(objective.accuracy(truth, probabilities), right, rtol=1e-6)


def test_weights_even_out_each_label():
    targets = np.array([[1, 0], [0, 0], [0, 1], [0, 1]])
    weights = label_weights(targets)
    assert weights.dtype == np.float32 and weights.shape == (2, 2)
    np.testing.assert_allclose((targets * weights[1]).sum(axis=0), 2)
    np.testing.assert_allclose(((1 - targets) * weights[0]).sum(axis=0), 2)
    with pytest.raises(ValueError, match=r"only one kind of the labels \[1\]"):
        label_weights(np.array([[0, 1], [1, 1]]))


def test_a_step_learns_from_confident_mistakes():
    # Probabilities of exactly 0 or 1 would have no gradient: Keras must find the logits behind the sigmoid.
    settings = Settings(**SMALL_RUN, model="cnn2d", multi_label=True)
    tf.keras.utils.set_random_seed(0)
    model = build_model(settings, 2)
    model.get_layer("logits").bias.assign([200.0, -200.0])
    waveform = tf.random.stateless_normal([3, round(settings.crop_seconds * settings.sample_rate_hz)], [1, 2])
    before = model.get_layer("logits").bias.numpy()
    loss, _, _ = make_train_step(model, settings)(waveform, tf.constant([[0, 1]] * 3))
    assert float(loss) == pytest.approx(200, rel=0.05)
    assert (np.sign(model.get_layer("logits").bias.numpy() - before) == [-1, 1]).all()


def test_thresholds_have_the_highest_f1(rng):
    truth = (rng.random((60, 4)) < (0.1, 0.5, 0.8, 0.3)).astype(int)
    probabilities = np.clip(0.3 * truth + 0.7 * rng.random((60, 4)), 0, 1).round(2)
    thresholds = best_thresholds(truth, probabilities)
    for label in range(4):
        tried = [f1_score(truth[:, label], probabilities[:, label] >= t) for t in np.linspace(0, 1, 201)]
        ours = f1_score(truth[:, label], probabilities[:, label] >= thresholds[label])
        assert ours == pytest.approx(max(tried))
        assert np.abs(probabilities[:, label] - thresholds[label]).min() > 1e-3  # rounding cannot decide
    one_sided = best_thresholds(np.array([[0, 1], [0, 1]]), np.array([[0.1, 0.2], [0.3, 0.4]]))
    assert one_sided.tolist() == [0.5, 0.5]


def test_areas_are_their_definitions(rng):
    truth = (rng.random((80, 3)) < 0.3).astype(int)
    truth[:, 2] = 0
    probabilities = np.clip(0.2 * truth + rng.random((80, 3)), 0, 2) / 2
    metrics = multi_label_metrics(truth, probabilities, np.array([0.4, 0.5, 0.45]), ("a", "b", "c"))
    areas, precisions = [], []
    for label in range(2):
        has, scores = truth[:, label] == 1, probabilities[:, label]
        areas.append(mannwhitneyu(scores[has], scores[~has]).statistic / (has.sum() * (~has).sum()))
        ranked = has[np.argsort(-scores)]
        precisions.append((np.cumsum(ranked) / np.arange(1, 81))[ranked].mean())
    assert metrics["roc_auc"]["macro"] == pytest.approx(np.mean(areas))
    assert metrics["average_precision"]["macro"] == pytest.approx(np.mean(precisions))
    assert metrics["per_class"]["b"]["roc_auc"] == pytest.approx(areas[1])
    has, scores = truth.ravel() == 1, probabilities.ravel()
    micro = mannwhitneyu(scores[has], scores[~has]).statistic / (has.sum() * (~has).sum())
    assert metrics["roc_auc"]["micro"] == pytest.approx(micro)
    assert metrics["per_class"]["c"]["roc_auc"] is None and metrics["per_class"]["c"]["n"] == 0
    predicted = probabilities >= [0.4, 0.5, 0.45]
    assert metrics["accuracy"] == pytest.approx((predicted == truth).all(axis=1).mean())
    assert metrics["per_class"]["a"]["recall"] == pytest.approx(predicted[truth[:, 0] == 1, 0].mean())
    assert "–" in format_metrics("test", {"clip": metrics, "crop": metrics, "failures": 0})


@pytest.fixture(scope="module")
def table(small_fma, small_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data set's good clips, every other one of them also "Loud"."""
    rows = pd.read_csv(small_fma / "fma_metadata" / "tracks.csv", header=[0, 1], index_col=0)
    split = rows["set", "split"].to_dict()
    lines = ["path,label,split"]
    for i, path in enumerate(sorted((small_fma / "fma_small").glob("*/*.mp3"))):
        label = ("Rock", "Hip-Hop", "Instrumental")[i % 3]
        lines.append(f"{path},{label}{'|Loud' * (i % 2)},{split[int(path.stem)]}")
    path = tmp_path_factory.mktemp("multi_label") / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def run(table: Path) -> Path:
    settings = Settings(dataset="csv", data_dir=str(table), multi_label=True, class_balance="weights", **SMALL_RUN)
    train(settings, table.parent / "run")
    return table.parent / "run"


def test_a_run_of_several_labels(run: Path, table: Path):
    labels = ("Hip-Hop", "Instrumental", "Loud", "Rock")
    thresholds = Run(run).thresholds
    predictions = pd.read_csv(run / "predictions.csv", keep_default_na=False)
    probabilities = predictions[[f"probability_{label}" for label in labels]].to_numpy()
    for given, row in zip(predictions["predicted"], probabilities, strict=True):
        assert given == "|".join(np.array(labels)[row >= thresholds])
    assert not np.allclose(probabilities.sum(axis=1), 1)
    metrics = json.loads((run / "metrics.json").read_text())
    validation = predictions["split"] == "validation"
    truth = predictions["label"].str.get_dummies("|")[list(labels)].to_numpy()
    np.testing.assert_array_equal(
        best_thresholds(truth[validation], probabilities[validation]).round(6), thresholds.round(6)
    )
    for split, rows in (("validation", validation), ("test", ~validation)):
        ours = multi_label_metrics(truth[rows], probabilities[rows], thresholds, labels)
        assert metrics[split]["clip"]["f1"] == ours["f1"]
        assert metrics[split]["clip"]["roc_auc"]["macro"] == pytest.approx(ours["roc_auc"]["macro"])
    history = pd.read_csv(run / "history.csv")
    assert {"val_clip_roc_auc", "val_clip_average_precision"} <= set(history.columns)
    assert (run / "label_scores.png").stat().st_size > 5000 and not (run / "confusion_matrix.png").exists()
    again = Settings(dataset="csv", data_dir=str(table), multi_label=True, **SMALL_RUN)
    assert evaluate_run(run, again, "test", run.parent / "again")["clip"] == metrics["test"]["clip"]


def test_its_report(run: Path, table: Path, tmp_path: Path):
    metrics, thresholds = (json.loads((run / name).read_text()) for name in ("metrics.json", "thresholds.json"))
    report = gather(run)
    predictions = pd.read_csv(run / "predictions.csv", keep_default_na=False).query("split == 'test'")
    by_path = predictions.set_index("path")
    assert report.thresholds.tolist() == list(thresholds.values())
    assert sorted(clip.path for clip in report.clips) == sorted(by_path.index)
    for clip in report.clips:
        row = by_path.loc[clip.path]
        assert [report.labels[i] for i in clip.has] == row["label"].split("|")
        assert "|".join(report.labels[i] for i in clip.given) == row["predicted"]
        assert {report.labels[i] for i in clip.errors} == set(row["label"].split("|")) ^ (
            set(row["predicted"].split("|")) - {""}
        )
        assert clip.peak > 0.01 and clip.silence == ""
    wrong = (by_path["label"] != by_path["predicted"]).sum()
    assert report.misclassified == wrong == round((1 - metrics["test"]["clip"]["accuracy"]) * len(by_path))
    assert [clip.misclassified for clip in report.clips] == [True] * wrong + [False] * (len(by_path) - wrong)
    worst = [max(clip.severity) for clip in report.clips[:wrong]]
    assert worst == sorted(worst, reverse=True)
    assert "with a wrong label of" in write_report(run, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    for label, scores in metrics["test"]["clip"]["per_class"].items():
        row = page.split(f'<tr><th scope="row">{label}</th><td>')[1].split("</tr>")[0]
        assert row.startswith(f"{scores['average_precision']:.3f}</td><td>{scores['roc_auc']:.3f}</td>")
        assert f"{100 * thresholds[label]:.1f}\xa0%" in row


def test_its_export_gives_labels_above_their_thresholds(run: Path, tmp_path: Path):
    exported = load_exported(export_run(run, tmp_path / "model", ["saved_model"])["saved_model"])  # checks itself
    expected = pd.read_csv(run / "predictions.csv", keep_default_na=False)
    write_predictions(
        predict_files(exported, expected["path"].tolist()), exported, "csv", tmp_path / "p.csv", tmp_path / "timelines"
    )
    predicted = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert predicted["labels"].tolist() == expected["predicted"].tolist()
    write_predictions(predict_files(exported, expected["path"].tolist()[:1]), exported, "table", tmp_path / "p.txt")
    assert (tmp_path / "p.txt").read_text().splitlines()[0].split()[-1] == "labels"
    assert len(list((tmp_path / "timelines").glob("*.png"))) == len(expected)


def test_a_timeline_of_independent_probabilities(tmp_path: Path):
    plot_timeline(
        np.arange(4.0), np.full((3, 12), 0.9), [f"label {i}" for i in range(12)], "x", tmp_path / "t.png", False
    )
    assert (tmp_path / "t.png").stat().st_size > 5000


def test_scores_of_labels_that_nothing_has(tmp_path: Path):
    tracks = pd.DataFrame({"track_id": [1, 2], "path": ["a", "b"], "split": "test", "label": ["A", "A"]})
    truth, probabilities = np.array([[1, 0], [1, 0]]), np.array([[0.9, 0.1], [0.2, 0.3]])
    predictions = SplitPredictions(tracks, truth, probabilities, truth, probabilities, 0)
    metrics = write_evaluation(Run(tmp_path), {"test": predictions}, ("A", "B"), np.array([0.5, 0.5]))
    assert metrics["test"]["clip"]["roc_auc"] == {"macro": None, "micro": pytest.approx(3 / 4)}
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
