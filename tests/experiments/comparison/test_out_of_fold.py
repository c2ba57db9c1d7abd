"""Predictions of every clip by models that have not heard its artist: the pooled table, its scores, and resumed trainings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import metrics
from support.audio import music, write_mp3
from support.scripts import as_flags, run_script
from support.small_run import SMALL_RUN

from experiments.builders.data import load_catalog
from experiments.comparison import comparison, trials
from experiments.comparison.folds import ARTIST, write_folds
from experiments.comparison.out_of_fold import out_of_fold_predictions, pool_predictions
from experiments.evaluation.artist_bootstrap import bootstrap_balanced_mean_over_artists
from experiments.runs.run import Run
from experiments.settings import Settings
from experiments.training.baselines import train_baseline

LABELS = ["Folk", "Jazz", "Rock"]
MODELS = ["cnn2d", "cnn2d_bn", "mfcc_svm"]
FOLDS, SEEDS = 4, [3, 5]


def finish(trial: trials.Trial, rng: np.random.Generator, skill: float) -> None:
    """Writes what a run of so much skill would have written."""
    catalog = load_catalog(trial.settings)
    run = Run(trial.run_dir)
    run.begin(trial.settings, catalog)
    tracks = catalog.tracks[catalog.tracks["split"] != "training"]
    probabilities = rng.dirichlet(np.ones(3), len(tracks))
    right = rng.random(len(tracks)) < skill
    probabilities[right, np.array(catalog.class_indices(tracks))[right]] += 1
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    table = tracks[["track_id", "path", "split", "label"]].assign(
        predicted=np.array(LABELS)[probabilities.argmax(axis=1)],
        **{f"probability_{label}": probabilities[:, i] for i, label in enumerate(LABELS)},
    )
    run.write_predictions(table.sample(frac=1, random_state=1))  # in any order
    # As a baseline: the scores of a network are its predictions', too, and its files take a training.
    run.write_baseline({"training_seconds": 10.0 + trial.settings.seed, "parameters": 7, "latency_ms": 1.5})
    run.write_metrics({"test": {"clip": {"accuracy": 0.0}}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of clips of 16 artists; those of the first, and two of the second, have lost their artist. Files are empty."""
    folder = tmp_path_factory.mktemp("music")
    rows = []
    for i in range(16):
        for j in range(2 + i % 9):
            (folder / f"{i}-{j}.mp3").touch()
            rows.append({"path": f"{i}-{j}.mp3", "label": LABELS[i % 3], "artist": f"artist {i}", "title": f"n. {j}"})
    for row in rows[:4]:
        row["artist"] = ""
    pd.DataFrame(rows).to_csv(folder / "clips.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def compared(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    """A comparison of three models, of the second of which a fold failed with one seed."""
    output_dir = tmp_path_factory.mktemp("comparison")
    settings = Settings(dataset="csv", data_dir=str(folder / "clips.csv"))
    tables = write_folds(settings, FOLDS, SEEDS[0], output_dir)
    every = trials.list_trials(settings, MODELS, SEEDS, output_dir, folds=tables)
    rng = np.random.default_rng(0)
    failed = {}
    for trial in every:
        if trial.name == "cnn2d_bn seed 5 fold 2":
            failed[trial] = "why"
        else:
            finish(trial, rng, {"cnn2d": 0.4, "cnn2d_bn": 0.7, "mfcc_svm": 0.8}[trial.settings.model])
    return output_dir, every, failed, comparison.write_comparison(every, failed, output_dir)


def read_tests(every: Sequence[trials.Trial], model: str, seed: int) -> pd.DataFrame:
    """The test clips of all folds, read from the runs themselves."""
    own = [trial for trial in every if trial.settings.model == model and trial.settings.seed == seed]
    tables = [pd.read_csv(trial.run_dir / "predictions.csv", dtype={"track_id": str}) for trial in own]
    return pd.concat([table[table["split"] == "test"] for table in tables])


def test_trials_are_models_by_seeds_by_folds(compared):
    output_dir, every, _, _ = compared
    assert [trial.name for trial in every[:5]] == [
        *(f"cnn2d seed 3 fold {fold}" for fold in range(4)),
        "cnn2d seed 5 fold 0",
    ]
    assert [trial.name for trial in every[16:]] == [f"mfcc_svm seed 3 fold {fold}" for fold in range(4)]
    assert every[1].run_dir == output_dir / "runs" / "cnn2d_seed3_fold1" and every[5].settings.seed == 5
    assert every[1].settings.data_dir == every[5].settings.data_dir == str(output_dir / "folds" / "fold1.csv")
    assert len({trial.run_dir for trial in every}) == 20


def test_each_clip_is_predicted_once_by_each_model_and_seed(compared, folder: Path):
    output_dir, every, _, _ = compared
    table = pd.read_csv(output_dir / "out_of_fold.csv", keep_default_na=False)
    columns = ["model", "seed", "fold", "track_id", "path", "label", "artist", "album", "title", "predicted"]
    assert list(table) == [*columns, *(f"probability_{label}" for label in LABELS)]
    given = pd.read_csv(folder / "clips.csv", keep_default_na=False)
    series = table.groupby(["model", "seed"], sort=False)
    assert list(series.groups) == [("cnn2d", 3), ("cnn2d", 5), ("cnn2d_bn", 3), ("mfcc_svm", 3)]
    for (model, seed), own in series:
        assert [Path(path).name for path in own["path"]] == given["path"].tolist()
        for column in ("label", "artist", "title"):
            assert own[column].tolist() == given[column].tolist()
        written = read_tests(every, model, seed).set_index("path").loc[own["path"]]
        assert own["predicted"].tolist() == written["predicted"].tolist()
        for label in LABELS:
            assert own[f"probability_{label}"].tolist() == pytest.approx(written[f"probability_{label}"].tolist())
    for trial in every[:4]:
        in_fold = load_catalog(trial.settings).split("test")["path"]
        assert set(table.query("model == 'cnn2d' and seed == 3 and fold == @trial.fold")["path"]) == set(in_fold)


def test_scores_are_scikit_learns_of_all_folds_together(compared, folder: Path):
    output_dir, every, _, table = compared
    written = pd.read_csv(output_dir / "comparison.csv")
    pd.testing.assert_frame_equal(written.iloc[:, :-1], table.iloc[:, :-1], rtol=1e-6, check_dtype=False)
    assert written["model"].tolist() == MODELS and written["seeds"].tolist() == [2, 1, 1]
    assert set(written["folds"]) == {4} and set(written["artists"]) == {15 + 4}
    tests = {
        model: [read_tests(every, model, seed) for seed in ((3, 5) if model == "cnn2d" else (3,))] for model in MODELS
    }
    scores = {
        model: [metrics.balanced_accuracy_score(test["label"], test["predicted"]) for test in own]
        for model, own in tests.items()
    }
    assert written["test_balanced_accuracy_mean"].tolist() == pytest.approx(
        [np.mean(scores[model]) for model in MODELS]
    )
    assert written["test_balanced_accuracy_std"][0] == pytest.approx(np.std(scores["cnn2d"], ddof=1))
    f1 = [metrics.f1_score(test["label"], test["predicted"], average="macro") for test in tests["cnn2d"]]
    assert written["test_macro_f1_mean"][0] == pytest.approx(np.mean(f1))
    (svm,) = tests["mfcc_svm"]
    assert written["test_accuracy_mean"][2] == pytest.approx(metrics.accuracy_score(svm["label"], svm["predicted"]))
    assert written["training_seconds_mean"].tolist() == [4 * (13 + 15) / 2, 4 * 13, 4 * 13]
    assert written["difference"][2] == pytest.approx(scores["mfcc_svm"][0] - np.mean(scores["cnn2d"]))
    assert written["difference_low"][2] < written["difference"][2] < written["difference_high"][2]


def test_intervals_are_over_artists(compared, folder: Path):
    _, every, _, table = compared
    given = pd.read_csv(folder / "clips.csv", keep_default_na=False)
    artists = given["artist"].where(given["artist"] != "", given["path"]).to_numpy()
    hits = np.mean([hits_by_name(every, "cnn2d", seed, given["path"]) for seed in (3, 5)], axis=0)
    svm = hits_by_name(every, "mfcc_svm", 3, given["path"])
    expected = bootstrap_balanced_mean_over_artists(hits, given["label"].to_numpy(), artists, seed=7)
    row = table.iloc[0]
    assert (row["test_balanced_accuracy_low"], row["test_balanced_accuracy_high"]) == pytest.approx(expected, abs=0.01)
    expected = bootstrap_balanced_mean_over_artists(svm - hits, given["label"].to_numpy(), artists, seed=7)
    row = table.iloc[2]
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(expected, abs=0.015)


def hits_by_name(every: Sequence[trials.Trial], model: str, seed: int, names: pd.Series) -> np.ndarray:
    test = read_tests(every, model, seed)
    test.index = pd.Index([Path(path).name for path in test["path"]])
    return (test["label"] == test["predicted"]).loc[names].to_numpy(float)


def test_a_failed_fold_leaves_its_seed_without_a_score(compared, tmp_path: Path):
    output_dir, every, failed, table = compared
    assert table["error"].isna().tolist() == [True, False, True]
    assert table["error"][1] == "no pooled score, because runs failed (see cells.csv): seed 5 fold 2"
    cells = pd.read_csv(output_dir / "cells.csv")
    assert len(cells) == 20 and cells["fold"].tolist() == [trial.fold for trial in every]
    assert cells.index[cells["error"].notna()].tolist() == [every.index(*failed)]
    for place in (0, 19):
        test = pd.read_csv(every[place].run_dir / "predictions.csv").query("split == 'test'")
        expected = metrics.balanced_accuracy_score(test["label"], test["predicted"])
        assert cells["test_balanced_accuracy"][place] == pytest.approx(expected)
    more = failed | {every[0]: "why", every[4]: "why"}
    without_first = comparison.write_comparison(every, more, tmp_path)
    assert without_first["seeds"].tolist() == [0, 1, 1] and without_first["difference"].isna().all()
    assert without_first["error"][0].endswith("seed 3 fold 0, seed 5 fold 0")
    shown = comparison.format_comparison(without_first).splitlines()
    assert len(shown) == 4 and "no pooled score" in shown[1]
    assert set(pd.read_csv(tmp_path / "out_of_fold.csv")["model"]) == {"cnn2d_bn", "mfcc_svm"}
    with pytest.raises(ValueError, match="with all of its folds"):
        comparison.write_comparison(every, {trial: "why" for trial in every if trial.fold == 0}, tmp_path)


def test_pictures(compared):
    output_dir, *_ = compared
    for name in ("comparison", *(f"confusion_{model}" for model in MODELS)):
        with Image.open(output_dir / f"{name}.png") as image:
            assert min(image.size) > 200 and len(image.getcolors(1 << 24) or []) > 10


def test_runs_of_other_clips_are_not_pooled(compared, tmp_path: Path):
    _, every, _, _ = compared
    path = every[0].run_dir / "predictions.csv"
    before = path.read_text()
    path.write_text(before.replace(".mp3", ".wav"))
    try:
        with pytest.raises(ValueError, match=r"found \d+ of others"):
            pool_predictions(every[:4])
    finally:
        path.write_text(before)


@pytest.mark.slow
def test_trainings_go_on_where_they_ended(tmp_path: Path, monkeypatch, capsys):
    """Eight clips of as many artists; baselines are trained in this process, which takes seconds less."""
    rows = []
    for i in range(8):
        write_mp3(tmp_path / "music" / f"{i}.mp3", music(2.0, 8000, seed=i) * (1 + i % 2), 8000)
        rows.append({"path": f"{i}.mp3", "label": ("Jazz", "Rock")[i % 2], "artist": f"artist {i}"})
    pd.DataFrame(rows).to_csv(tmp_path / "music" / "clips.csv", index=False)
    settings = Settings(dataset="csv", data_dir=str(tmp_path / "music" / "clips.csv"), **SMALL_RUN)
    trained = []

    def train_here(trial: trials.Trial) -> str:
        trained.append(trial.fold)
        if len(trained) == 2:
            return "no power"
        train_baseline(trial.settings, trial.run_dir)
        return ""

    monkeypatch.setattr(trials, "_train_in_a_process", train_here)
    arguments = (settings, ["mfcc_logistic"], [0, 1], 2, tmp_path / "out")
    with pytest.raises(ValueError, match=r"but 1 of 2 failed, the first of them mfcc_logistic seed 0 fold 1: no power"):
        out_of_fold_predictions(*arguments)
    table = out_of_fold_predictions(*arguments)
    assert trained == [0, 1, 1]
    assert sorted(Path(path).name for path in table["path"]) == [f"{i}.mp3" for i in range(8)]
    assert set(table["fold"]) == {0, 1} and set(table["seed"]) == {0}
    with pytest.raises(ValueError, match=f"--folds: 2 there, {ARTIST} now"):
        out_of_fold_predictions(*arguments[:3], ARTIST, tmp_path / "out")

    flags = as_flags(dataset="csv", data_dir=settings.data_dir, **SMALL_RUN, output_dir=tmp_path / "out", seeds="0,1")
    shown = run_script("compare_models", *flags, "--models=mfcc_logistic", "--folds=2").stdout
    assert "2 runs: 2 finished already, 0 to train" in shown and "of 8 artists" in shown
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "out" / "out_of_fold.csv", dtype={"track_id": str}, keep_default_na=False),
        table,
        check_dtype=False,
    )
    for folds, message in (("1", "from 2 to 100, or artist"), ("", "comparison with --folds")):
        result = run_script("compare_models", *flags, "--models=mfcc_logistic", f"--folds={folds}", check=False)
        assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr
