"""The comparison of models: its numbers from predictions.csv, bootstrap, finished and failing trials."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from absl import flags
from PIL import Image
from sklearn import metrics
from support.small_run import SMALL_RUN

from experiments.builders.data import load_catalog
from experiments.comparison import comparison, trials
from experiments.comparison.plots import plot_comparison
from experiments.evaluation.metrics import bootstrap_balanced_mean
from experiments.runs.run import Run
from experiments.settings import Settings
from experiments.settings_flags import flags_from_settings
from layers.networks.registry import NETWORKS

pytestmark = pytest.mark.slow

MODELS, SEEDS = ["cnn2d_bn", "mfcc_logistic", "mfcc_svm"], [0, 1]


def test_interval_is_scipys_bootstrap(rng):
    truth = rng.integers(0, 3, 90)
    values = rng.integers(0, 4, 90) / 3  # hits averaged over three seeds
    ours = bootstrap_balanced_mean(values, truth, resamples=40_000)
    theirs = scipy.stats.bootstrap(
        tuple(values[truth == c] for c in range(3)),
        lambda a, b, c, axis: (a.mean(axis) + b.mean(axis) + c.mean(axis)) / 3,
        n_resamples=40_000,
        method="percentile",
        vectorized=True,
        random_state=1,
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.004)
    assert ours == bootstrap_balanced_mean(values, truth, resamples=40_000)


def test_paired_interval_is_a_slow_loops(rng):
    truth = np.repeat([0, 2, 3], (20, 25, 30))
    first = rng.random(75) < 0.6
    second = np.where(rng.random(75) < 0.8, first, ~first)  # models agree on most clips
    drawn = []
    for _ in range(4000):
        clips = np.concatenate([rng.choice(np.flatnonzero(truth == c), sum(truth == c)) for c in (0, 2, 3)])
        drawn.append(np.mean([(second.astype(float) - first)[clips][truth[clips] == c].mean() for c in (0, 2, 3)]))
    ours = bootstrap_balanced_mean(second.astype(float) - first, truth)
    assert ours == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=0.02)
    unpaired = np.subtract(*bootstrap_balanced_mean(second.astype(float), truth))
    assert abs(np.subtract(*ours)) < abs(unpaired)


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture(scope="module")
def compared(small_fma, small_run, tmp_path_factory):
    """Two finished trials of a network, a baseline that is trained now, and a trial with other settings."""
    output_dir = tmp_path_factory.mktemp("comparison")
    settings = Settings(dataset="fma", data_dir=str(small_fma), **SMALL_RUN)
    every = trials.list_trials(settings, MODELS, SEEDS, output_dir)
    assert [trial.name for trial in every] == [
        "cnn2d_bn seed 0",
        "cnn2d_bn seed 1",
        "mfcc_logistic seed 0",
        "mfcc_svm seed 0",
    ]
    for i in (0, 1, 3):
        shutil.copytree(small_run, every[i].run_dir)
    second = every[1].run_dir
    change_json(second / "settings.json", seed=1)
    table = pd.read_csv(second / "predictions.csv")
    table.loc[::2, "predicted"] = table.loc[::2, "label"]
    table.loc[1::4, "predicted"] = "Rock"
    table.to_csv(second / "predictions.csv", index=False)
    change_json(every[3].run_dir / "settings.json", model="mfcc_svm", n_mels=40)
    failed = trials.run_trials(every)
    return output_dir, every, failed, comparison.write_comparison(every, failed, output_dir)


def predictions_of(trial: trials.Trial, split: str = "test") -> pd.DataFrame:
    return pd.read_csv(trial.run_dir / "predictions.csv").query("split == @split")


def test_trial_with_other_settings_is_reported_and_loses_no_other(compared):
    output_dir, every, failed, table = compared
    assert list(failed) == [every[3]] and "n_mels: 40 there, 32 now" in failed[every[3]]
    assert table["model"].tolist() == MODELS[:2]
    written = pd.read_csv(output_dir / "cells.csv")
    assert written["model"].tolist() == ["cnn2d_bn", "cnn2d_bn", "mfcc_logistic", "mfcc_svm"]
    assert written["error"].notna().tolist() == [False, False, False, True]


def test_new_trial_is_an_ordinary_run_with_a_log(compared):
    _, every, _, _ = compared
    assert Run(every[2].run_dir).settings == every[2].settings
    assert "test: accuracy" in every[2].run_dir.with_name("mfcc_logistic_seed0.log").read_text()


def test_finished_trials_are_not_trained_again(compared, monkeypatch, capsys):
    output_dir, every, failed, table = compared
    before = {path: path.stat().st_mtime_ns for path in (output_dir / "runs").rglob("*")}
    monkeypatch.setattr(trials, "_train_in_a_process", lambda trial: pytest.fail(f"{trial.name} was trained"))
    assert trials.run_trials(every) == failed
    assert "4 runs: 3 finished already, 0 to train" in capsys.readouterr().out
    again = comparison.write_comparison(every, failed, output_dir)
    pd.testing.assert_frame_equal(again.drop(columns="latency_ms"), table.drop(columns="latency_ms"))
    assert {path: path.stat().st_mtime_ns for path in (output_dir / "runs").rglob("*")} == before


def test_table_is_scikit_learns_of_the_predictions(compared):
    output_dir, every, _, table = compared
    written = pd.read_csv(output_dir / "comparison.csv")
    pd.testing.assert_frame_equal(written.drop(columns="latency_ms"), table.drop(columns="latency_ms"), rtol=1e-6)
    assert (written["latency_ms"] > 0).all()
    tests = [predictions_of(trial) for trial in every[:3]]
    scores = [metrics.balanced_accuracy_score(test["label"], test["predicted"]) for test in tests]
    f1 = [metrics.f1_score(test["label"], test["predicted"], average="macro", zero_division=0) for test in tests]
    network, baseline = table.to_dict("records")
    assert scores[0] != scores[1]
    assert network["seeds"] == 2 and baseline["seeds"] == 1
    assert network["test_balanced_accuracy_mean"] == pytest.approx(np.mean(scores[:2]))
    assert network["test_balanced_accuracy_std"] == pytest.approx(abs(scores[0] - scores[1]) / np.sqrt(2))
    assert np.isnan(baseline["test_balanced_accuracy_std"])
    assert network["test_macro_f1_mean"] == pytest.approx(np.mean(f1[:2]))
    assert baseline["test_accuracy_mean"] == pytest.approx((tests[2]["label"] == tests[2]["predicted"]).mean())
    validation = predictions_of(every[2], "validation")
    probabilities = validation.iloc[:, 5:].to_numpy()
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # the file has nine digits
    labels = [name.removeprefix("probability_") for name in validation.columns[5:]]
    assert baseline["validation_loss_mean"] == pytest.approx(
        metrics.log_loss(validation["label"], probabilities, labels=labels), rel=1e-5, abs=1e-6
    )
    assert np.isnan(network["difference"])
    assert baseline["difference"] == pytest.approx(scores[2] - np.mean(scores[:2]))
    assert baseline["difference_low"] <= baseline["difference"] <= baseline["difference_high"]
    assert network["training_seconds_mean"] == pytest.approx(
        pd.read_csv(every[0].run_dir / "history.csv")["seconds"].sum()
    )
    weights = sum(int(np.prod(weight.shape)) for weight in Run(every[0].run_dir).model().get_weights())
    assert network["parameters"] == weights and baseline["parameters"] == 141 * 3
    shown = comparison.format_comparison(table).splitlines()
    assert len(shown) == 3 and f"{np.mean(scores[:2]):.3f}" in shown[1] and f"{baseline['difference']:+.3f}" in shown[2]


def test_clips_that_one_trial_lacks_count_for_none(compared, tmp_path: Path, capsys):
    _, every, _, _ = compared
    few = [replace(trial, run_dir=tmp_path / trial.run_dir.name) for trial in (every[0], every[2])]
    for old, new in zip((every[0], every[2]), few, strict=True):
        shutil.copytree(old.run_dir, new.run_dir)
    lines = (few[0].run_dir / "predictions.csv").read_text().splitlines(keepends=True)
    (few[0].run_dir / "predictions.csv").write_text("".join([lines[0], *lines[:0:-1][1:]]))  # other order, one less
    comparison.write_comparison(few, {}, tmp_path)
    assert pd.read_csv(tmp_path / "cells.csv")["test_clips"].tolist() == [5, 5]
    assert "note: 1 clips" in capsys.readouterr().out
    kept = set(pd.read_csv(few[0].run_dir / "predictions.csv")["path"])
    test = predictions_of(few[1])
    test = test[test["path"].isin(kept)]
    expected = metrics.balanced_accuracy_score(test["label"], test["predicted"])
    assert pd.read_csv(tmp_path / "cells.csv")["test_balanced_accuracy"][1] == pytest.approx(expected)


def test_nothing_to_compare(compared, tmp_path: Path):
    _, every, _, _ = compared
    with pytest.raises(ValueError, match="at least one finished run"):
        comparison.write_comparison(every, dict.fromkeys(every, "why"), tmp_path)


def test_picture(compared, tmp_path: Path):
    output_dir, _, _, table = compared
    with Image.open(output_dir / "comparison.png") as image:
        assert min(image.size) > 200 and len(image.getcolors(1 << 24) or []) > 10
    many = pd.concat([table] * 6, ignore_index=True).assign(model=[f"model_{i}" for i in range(12)])
    plot_comparison(
        many, pd.DataFrame({"model": [], "test_balanced_accuracy": []}), "clips", "6 clips", 3, tmp_path / "many.png"
    )
    with Image.open(tmp_path / "many.png") as image:
        assert image.size[1] > 600


def test_models_and_seeds():
    trials.check_models([*NETWORKS, "mfcc_svm"])
    for models, message in (
        ([], "received none"),
        (["cnn2d", "cnn3d"], "'cnn3d'"),
        (["cnn2d"] * 2, "different models"),
    ):
        with pytest.raises(ValueError, match=message):
            trials.check_models(models)


def test_settings_survive_as_flags():
    settings = Settings(genres=('Hip-Hop, "old"', "a b", "ß'$"), fmax_hz=8000.5, learning_rate=1e-5, deterministic=True)
    given = dict(flag.removeprefix("--").split("=", 1) for flag in flags_from_settings(settings))
    assert tuple(flags.ListParser().parse(given["genres"])) == settings.genres
    assert given["fmax_hz"] == "8000.5" and float(given["learning_rate"]) == 1e-5 and given["deterministic"] == "True"
    assert "fmax_hz" not in dict(flag.removeprefix("--").split("=", 1) for flag in flags_from_settings(Settings()))


def test_seeds_share_a_split_that_would_follow_from_the_seed(tmp_path: Path):
    for label in ('a, "b"', "$c_1$"):
        for i in range(20):
            (tmp_path / "music" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "music" / label / f"{i}.mp3").touch()
    settings = Settings(dataset="folders", data_dir=str(tmp_path / "music"))
    fixed = trials.fix_splits(settings, [3, 4], tmp_path / "out")
    assert fixed.dataset == "csv"
    expected = load_catalog(replace(settings, seed=3)).tracks
    for seed in (3, 4):
        pd.testing.assert_frame_equal(load_catalog(replace(fixed, seed=seed)).tracks, expected)
    assert trials.fix_splits(settings, [3], tmp_path / "alone") == settings and not (tmp_path / "alone").exists()


def test_sweep_trains_every_model_with_every_value():
    own = Settings(n_mels=32)
    every = trials.list_trials(own, ["cnn2d", "mfcc_svm"], [0, 1], Path("out"), ("n_mels", [64, 96]))
    names = [f"cnn2d n_mels={value} seed {seed}" for value in (64, 96) for seed in (0, 1)]
    assert [trial.name for trial in every] == [*names, "mfcc_svm n_mels=64 seed 0", "mfcc_svm n_mels=96 seed 0"]
    assert [trial.settings for trial in every[:4]] == [
        replace(own, model="cnn2d", n_mels=value, seed=seed) for value in (64, 96) for seed in (0, 1)
    ]
    assert len({trial.run_dir for trial in every}) == 6
    assert [trial.model for trial in trials.list_trials(own, ["cnn2d"], [0], Path("out"))] == ["cnn2d"]
