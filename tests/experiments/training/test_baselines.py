"""MFCCs against librosa, their statistics against scipy, and the baselines from MP3s to scores."""

import json
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import tensorflow as tf
from scipy.special import log_softmax
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from support.audio import music
from support.small_run import SMALL_RUN

from experiments.settings import Settings
from experiments.training import baselines
from experiments.training.classifiers import fit_baseline
from experiments.training.features import make_mfcc_features
from layers.front_ends.log_mel import LogMelSpectrogram
from layers.front_ends.mfcc import STATISTICS, mfcc, time_statistics

pytestmark = pytest.mark.slow


def test_mfccs_are_librosas():
    waveform = np.stack([music(2, 22050, seed=seed)[:, 0] for seed in (1, 2)])
    ours = mfcc(LogMelSpectrogram(scaling="decibel")(waveform)).numpy()
    assert ours.shape == (2, 87, 20)
    for i in range(2):
        mel = librosa.feature.melspectrogram(y=waveform[i], sr=22050, n_fft=2048, hop_length=512, pad_mode="reflect")
        decibel = librosa.power_to_db(mel, ref=np.max, top_db=80.0)
        theirs = librosa.feature.mfcc(S=decibel, n_mfcc=20, norm="ortho")
        np.testing.assert_allclose(ours[i].T, theirs, atol=0.02)  # 0.001 dB a band, added up over 128
    with pytest.raises(ValueError, match="at least 20 mel bands for 20 coefficients, received 16"):
        mfcc(tf.zeros([1, 5, 16, 1]))


@pytest.mark.parametrize("frames", [1, 6, 7])
def test_statistics_are_scipys(rng, frames: int):
    values = rng.gamma(2.0, 3.0, (2, frames, 4)).astype(np.float32)
    values[:, :, 3] = 5.0
    ours = time_statistics(tf.constant(values)).numpy().reshape(2, len(STATISTICS), 4)
    assert np.isfinite(ours).all()
    theirs = {
        "mean": values.mean(axis=1),
        "std": values.std(axis=1),
        "median": np.median(values, axis=1),
        "min": values.min(axis=1),
        "max": values.max(axis=1),
    }
    for name, expected in theirs.items():
        np.testing.assert_allclose(ours[:, STATISTICS.index(name)], expected, rtol=1e-5)
    for name, function in (("skew", scipy.stats.skew), ("kurtosis", scipy.stats.kurtosis)):
        got = ours[:, STATISTICS.index(name)]
        assert (got[:, 3] == 0).all(), "a feature that does not change"
        if frames > 1:
            np.testing.assert_allclose(
                got[:, :3], function(values[:, :, :3].astype(float), axis=1), rtol=1e-3, atol=1e-4
            )


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("name", list(baselines.BASELINES))
def test_the_candidate_of_lowest_validation_loss_is_kept(name: str, num_classes: int):
    features, truth = make_blobs(90, 6, centers=num_classes, cluster_std=9.0, random_state=4)
    candidates = baselines.BASELINES[name].candidates()[::3]
    parts = features[:50], truth[:50], features[50:], truth[50:]
    fitted = fit_baseline(candidates, *parts, num_classes)
    scaler = StandardScaler().fit(parts[0])
    losses = []
    for candidate in candidates:
        own = candidate.fit(scaler.transform(parts[0]), parts[1])
        values = own.decision_function(scaler.transform(parts[2]))
        if num_classes == 2:
            values = np.stack([0 * values, values], axis=1)
        # A slow search for the best temperature.
        losses.append(
            min(
                -log_softmax(values / temperature, axis=1)[np.arange(40), parts[3]].mean()
                for temperature in np.exp(np.linspace(-5, 5, 2001))
            )
        )
    probabilities = fitted.probabilities(parts[2])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert -np.log(probabilities[np.arange(40), parts[3]]).mean() == pytest.approx(min(losses), abs=1e-4)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), fitted.pipeline.predict(parts[2]))
    classifier = fitted.pipeline[-1]
    if isinstance(classifier, SVC):
        assert fitted.parameters == len(classifier.support_) * 6 and set(fitted.hyperparameters) == {"C", "gamma"}
    else:
        assert isinstance(classifier, LogisticRegression)
        assert fitted.parameters == (7 if num_classes == 2 else 7 * num_classes)


@pytest.fixture(scope="module")
def settings(small_fma) -> Settings:
    return Settings(dataset="fma", data_dir=str(small_fma), **SMALL_RUN, model="mfcc_svm")


def test_a_baseline_writes_what_a_network_does(settings, small_run, tmp_path: Path, capsys):
    run_dir = tmp_path / "run"
    metrics = baselines.train_baseline(settings, run_dir)
    assert json.loads((run_dir / "metrics.json").read_text()) == metrics
    table, theirs = (pd.read_csv(folder / "predictions.csv") for folder in (run_dir, small_run))
    assert table.columns.tolist() == theirs.columns.tolist()
    same = ["track_id", "path", "split", "label"]
    pd.testing.assert_frame_equal(table[same], theirs[same])
    test = table[table["split"] == "test"]
    assert metrics["test"]["clip"]["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(test["label"], test["predicted"])
    )
    np.testing.assert_allclose(table.filter(like="probability_").sum(axis=1), 1, atol=1e-6)
    description = json.loads((run_dir / "baseline.json").read_text())
    assert description["parameters"] % 140 == 0 and description["latency_ms"] > 0
    assert "1 file could not be decoded (Rock 1)" in capsys.readouterr().out
    assert len((run_dir / "failures.csv").read_text().splitlines()) == 2
    with pytest.raises(ValueError, match="n_mels: 32 there, 40 now"):
        baselines.train_baseline(replace(settings, n_mels=40), run_dir)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_mels": 16}, r"^expected at least 20 mel bands"),
        ({"model": "cnn2d"}, "choose one of: mfcc_logistic, mfcc_svm, musicnn_logistic"),
        ({"genres": ("Rock",), "max_failure_rate": 0.5}, "at least 2 labels"),
    ],
)
def test_mistakes(settings, tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        baselines.train_baseline(replace(settings, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_waveforms_shorter_than_a_frame_are_padded(settings):
    describe = make_mfcc_features(settings).describe
    noise = np.random.default_rng(0).uniform(-1, 1, (1, 10)).astype(np.float32)
    padded = np.pad(noise, [(0, 0), (0, 257 - 10)])
    np.testing.assert_array_equal(describe(noise).numpy(), describe(padded).numpy())
    assert describe(noise).shape == (1, 140) and np.isfinite(describe(noise).numpy()).all()
    assert np.isfinite(describe(np.zeros((1, 8000), np.float32)).numpy()).all()
