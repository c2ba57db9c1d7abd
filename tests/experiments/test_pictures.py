"""A picture that fails costs the picture: the guard, and that every command draws inside of it, after its results."""

import ast
import errno
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.places import ROOT
from support.small_run import SMALL_RUN

from experiments import figures
from experiments.evaluation import evaluation
from experiments.evaluation.splits import SplitPredictions
from experiments.exploration import augmentation, features
from experiments.prediction import output as prediction_output
from experiments.prediction.exported import ExportedModel
from experiments.prediction.prediction import FilePrediction
from experiments.runs.run import Run
from experiments.settings import Settings


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "MemoryError"),
        (ValueError("Image size of 1x99999 pixels\nis too large"), "Image size of 1x99999 pixels is too large"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
    ],
)
def test_an_error_is_one_line_and_leaves_no_older_picture(error, reason, tmp_path: Path, capsys):
    path = tmp_path / "a.png"
    path.write_bytes(b"of an earlier evaluation")
    with figures.picture(path):
        figures.plt.figure()
        raise error
    assert not path.exists() and not figures.plt.get_fignums()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {path} is left out, because it cannot be drawn: ") and line.endswith(reason)


def test_what_succeeds_says_nothing(tmp_path: Path, capsys):
    with figures.picture(tmp_path / "a.png"):
        figures.save_figure(figures.plt.figure(), tmp_path / "a.png")
    assert (tmp_path / "a.png").exists() and capsys.readouterr().err == ""


def test_a_folder_in_the_way_costs_the_picture(tmp_path: Path, capsys):
    (tmp_path / "a.png" / "x").mkdir(parents=True)
    with figures.picture(tmp_path / "a.png"):
        figures.save_figure(figures.plt.figure(), tmp_path / "a.png")
    assert "a.png is left out" in capsys.readouterr().err


def test_an_interruption_is_no_failed_picture(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), figures.picture(tmp_path / "a.png"):
        raise KeyboardInterrupt


def _unguarded(tree: ast.AST, guarded: bool = False) -> list[str]:
    """The calls of plot_… that stand in no `with picture(…)`."""
    found = []
    for node in ast.iter_child_nodes(tree):
        inside = guarded
        if isinstance(node, ast.With):
            inside |= any("picture(" in ast.unparse(item.context_expr) for item in node.items)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1].startswith("plot_") and not guarded:
            found.append(ast.unparse(node.func))
        found += _unguarded(node, inside)
    return found


def test_every_picture_is_guarded():
    sources = {path: ast.parse(path.read_text()) for path in (ROOT / "experiments").glob("**/*.py")}
    calls = sum("plot_" in ast.unparse(tree) for tree in sources.values())
    assert calls > 8
    assert {path.name: names for path, tree in sources.items() if (names := _unguarded(tree))} == {}
    assert _unguarded(ast.parse("plot_x(1)")) == ["plot_x"]


def fails(*arguments: object, **options: object) -> None:
    raise MemoryError("no room for this picture")


def test_scores_survive_their_picture(tmp_path: Path, monkeypatch, capsys):
    tracks = pd.DataFrame({"track_id": [1, 2], "path": ["a", "b"], "split": "test", "label": ["A", "B"]})
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]])
    split = SplitPredictions(tracks, np.array([0, 1]), probabilities, np.array([0, 1]), probabilities, 0)
    for name in ("confusion_matrix.png", "label_scores.png"):
        (tmp_path / name).write_bytes(b"of an earlier evaluation")

    def sees_the_results(*arguments: object) -> None:
        assert json.loads((tmp_path / "metrics.json").read_text())["test"]["clip"]["accuracy"] == 0.5
        assert len(pd.read_csv(tmp_path / "predictions.csv")) == 2
        raise MemoryError("no room for this picture")

    monkeypatch.setattr(evaluation, "plot_confusion_matrix", sees_the_results)
    evaluation.write_evaluation(Run(tmp_path), {"test": split}, ("A", "B"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "predictions.csv"]
    assert "no room for this picture" in capsys.readouterr().err


def test_an_exploration_survives_its_pictures(small_fma, tmp_path: Path, monkeypatch, capsys):
    settings = Settings(dataset="fma", data_dir=str(small_fma), **SMALL_RUN)
    monkeypatch.setattr(features, "plot_components", fails)
    features.explore(settings, tmp_path)
    assert {"features.json", "features_pca.csv", "genres.png"} <= {path.name for path in tmp_path.iterdir()}
    assert "features_pca.png is left out" in capsys.readouterr().err


def test_nothing_drawn_is_said(small_fma, tmp_path: Path, monkeypatch):
    settings = Settings(dataset="fma", data_dir=str(small_fma), **SMALL_RUN, gain_db=6.0)
    monkeypatch.setattr(augmentation, "plot_augmentation", fails)
    with pytest.raises(ValueError, match="expected to draw gain, but no picture could be drawn"):
        augmentation.write_pictures(settings, tmp_path, clips=1)
    with pytest.raises(ValueError, match=r"expected --clips from 1 to 20, .* received 21"):
        augmentation.write_pictures(settings, tmp_path, clips=21)


def test_predictions_survive_their_timelines(clips, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(prediction_output, "plot_timeline", fails)
    metadata = {"labels": ["a", "b"], "crop_seconds": 2.0}
    model = ExportedModel(metadata, classify=lambda waveforms: waveforms)
    files = [FilePrediction(str(path), np.array([[0.25, 0.75]], np.float32)) for path in clips[:2]]
    failed = prediction_output.write_predictions(files, model, "csv", tmp_path / "p.csv", tmp_path / "timelines")
    assert failed == 0 and pd.read_csv(tmp_path / "p.csv")["label"].tolist() == ["b", "b"]
    assert capsys.readouterr().err.count("warning: ") == 2 and not list((tmp_path / "timelines").iterdir())
