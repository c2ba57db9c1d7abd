"""A network's embedding as features of clips: of their windows, as a model, in reports and exports, and from the cache."""

import os
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.special import expit
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from support.audio import music
from support.places import ROOT
from support.small_run import SMALL_RUN

from experiments.builders.data import prepare
from experiments.builders.model import build_model
from experiments.builders.model_settings import settings_for_model
from experiments.evaluation.evaluation import evaluate_run
from experiments.export.check import clips_to_check
from experiments.export.export import load_classifier
from experiments.reporting.page import write_report
from experiments.runs.description import describe_run
from experiments.runs.run import Run
from experiments.settings import Settings, differences
from experiments.training import baselines
from experiments.training.classifiers import balanced_candidates, choose_by_artist
from experiments.training.embedding_cache import EmbeddingCache, default_root
from experiments.training.embeddings import make_musicnn_features
from experiments.training.features import ClipFeatures
from pipeline.decoding import decode_crop

CLIPS = ROOT / "tests" / "goldens" / "data"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    """A musicnn with weights of its own, as a run's model.keras: a stand-in for those that others have trained."""
    keras.utils.set_random_seed(5)
    model = build_model(settings_for_model(Settings(model="musicnn")), 4)
    path = tmp_path_factory.mktemp("backbone") / "model.keras"
    model.save(path, include_optimizer=False)
    return model, path


@pytest.fixture(scope="module")
def settings(backbone, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of 16 clips of real music, of two labels; two are named wrongly, without which nothing would be mistaken."""
    table = pd.read_csv(CLIPS / "clips.csv")
    table["path"] = [str(CLIPS / path) for path in table["path"]]
    assert table.loc[[0, 12], "label"].tolist() == ["Electronic", "Rock"]  # of training and of validation
    table.loc[[0, 12], "label"] = ["Rock", "Electronic"]
    path = tmp_path_factory.mktemp("clips") / "clips.csv"
    table.to_csv(path, index=False)
    settings = Settings(
        **SMALL_RUN,
        dataset="csv",
        data_dir=str(path),
        allow_artist_leak=True,
        model="musicnn_logistic",
        pretrained_weights=str(backbone[1]),
    )
    return settings_for_model(settings)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """A cache of this module's own; and the time of 35 predictions is not measured, which test_baselines.py does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(baselines, "median_latency_ms", lambda *_: 1.0)
        yield


@pytest.fixture(scope="module")
def features(settings) -> ClipFeatures:
    return make_musicnn_features(settings)


@pytest.fixture(scope="module")
def run(settings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("embeddings") / "run")
    baselines.train_baseline(replace(settings, cache_embeddings=True), run.directory)
    return run


def test_features_are_the_embedding_of_each_window(backbone, features, rng):
    windows = np.stack([music(3, 16000, seed=seed)[:48000, 0] for seed in (3, 4)]).astype(np.float32)
    model = backbone[0]
    expected = keras.Model(model.input, model.get_layer("embedding").output)(windows, training=False)
    got = features.describe(windows).numpy()
    assert got.shape == (2, features.units) == (2, 200) and features.crop_seconds == 3.0
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(features.describe(windows[1:]), got[1:], atol=1e-5)
    assert abs(got[0] - got[1]).max() > 0.01


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_dense_layer_is_the_classifier(num_classes: int):
    features, truth = make_blobs(90, 6, centers=num_classes, cluster_std=9.0, random_state=4)
    fitted = choose_by_artist(balanced_candidates()[:2], features, truth, np.arange(90) // 3, num_classes)
    kernel, bias = fitted.dense_layer()
    assert kernel.shape == (6, num_classes) and abs(fitted.temperature - 1) > 0.001
    vectors = (features - features.mean(axis=0)) / features.std(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exponents = np.exp(vectors @ kernel + bias)
    np.testing.assert_allclose(exponents / exponents.sum(axis=1, keepdims=True), fitted.probabilities(features))


def test_validation_is_predicted_without_itself_and_test_with_it(run, settings, features):
    """The predictions again from the kept embeddings, by scikit-learn and by hand."""
    table = run.predictions()
    columns = [f"probability_{label}" for label in run.labels]
    cache = EmbeddingCache(features.version, settings.decoder)
    catalog, _ = prepare(settings)
    windows = {path: cache.read(path, 200) for path in catalog.tracks["path"]}
    windows = {path: vectors for path, vectors in windows.items() if vectors is not None}
    assert len(windows) == 16 and max(map(len, windows.values())) > 1
    truth = catalog.tracks.set_index("path")["label"]
    splits = catalog.tracks.set_index("path")["split"]
    for split, fitted_on in (("validation", ["training"]), ("test", ["training", "validation"])):
        paths = [path for path in windows if splits[path] in fitted_on]
        classifier = make_pipeline(
            StandardScaler(),
            Normalizer(),
            LogisticRegression(C=run.baseline["hyperparameters"]["C"], class_weight="balanced", max_iter=10_000),
        ).fit([windows[path].mean(axis=0) for path in paths], truth[paths])
        assert tuple(classifier.classes_) == run.labels == ("Electronic", "Rock")
        for _, row in table[table["split"] == split].iterrows():
            values = classifier.decision_function(windows[row["path"]])  # of the second label
            second = expit(values / run.baseline["temperature"]).mean()
            np.testing.assert_allclose(row[columns].to_numpy(float), [1 - second, second], atol=1e-4)


def test_the_run_has_a_model_that_repeats_it(run, settings, tmp_path: Path):
    table = run.predictions().query("split == 'test'")
    columns = [f"probability_{label}" for label in run.labels]
    evaluate_run(run.directory, settings, "test", tmp_path / "evaluation")
    again = Run(tmp_path / "evaluation").predictions()
    assert again["path"].tolist() == table["path"].tolist() and len(again) == 4
    np.testing.assert_allclose(again[columns], table[columns], atol=1e-5)
    assert np.ptp(table[columns].to_numpy(), axis=0).max() > 0.01, "clips that do not differ prove nothing"
    assert run.baseline["parameters"] == 201 and run.model().name == "musicnn"


def test_it_is_reported_and_exported(run, tmp_path: Path):
    write_report(run.directory, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "a classifier of its embedding, averaged over a clip, is fitted" in page and "201 coefficients" in page
    assert "give other probabilities now" not in page
    classifier = load_classifier(run)
    row = clips_to_check(run).iloc[0]  # of the test split
    path = row["path"]
    waveform = decode_crop(path, 16000, 0, 0.0)
    got = classifier.classify_track(tf.constant(waveform), tf.constant(16000))["probabilities"]
    expected = row.filter(like="probability_").to_numpy(float)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    # Converters take what is no weight of a layer for an input.
    constants = {layer.name for layer in run.model().layers if isinstance(layer, keras.layers.Normalization)}
    assert not constants and run.model().get_layer("standardize").weights
    assert classifier.crop_samples == 48000 and describe_run(run, classifier.model)["network"] == "musicnn_logistic"


def test_kept_embeddings_are_not_computed_again(run, settings, tmp_path: Path, monkeypatch, capsys):
    files = sorted(default_root().rglob("*.f32"))
    assert len(files) == 16 and all((file.stat().st_size - 32) % (200 * 4) == 0 for file in files)
    decoded: list[int] = []
    stream_clips = baselines.stream_clips

    def counting(tracks: pd.DataFrame, *args):
        decoded.append(len(tracks))
        return stream_clips(tracks, *args)

    monkeypatch.setattr(baselines, "stream_clips", counting)
    monkeypatch.setattr(baselines, "_BATCH_WINDOWS", 1)
    before = [file.read_bytes()[:-32] for file in files[:2]]
    files[0].write_bytes(files[0].read_bytes()[:-1] + b"?")
    files[1].write_bytes(b"")
    own = replace(settings, cache_embeddings=True)
    baselines.train_baseline(own, tmp_path / "second")
    assert sum(decoded) == 2, "two files are damaged"
    assert "clips have embeddings in" in capsys.readouterr().out
    pd.testing.assert_frame_equal(Run(tmp_path / "second").predictions(), run.predictions(), rtol=0, atol=0.01)
    for file, expected in zip(files, before, strict=False):
        vectors = np.frombuffer(file.read_bytes()[:-32], "<f4")
        np.testing.assert_allclose(vectors, np.frombuffer(expected, "<f4"), atol=1e-5)
    assert differences(own, settings) == [], "the setting changes no result"


def test_other_weights_and_decoders_have_other_embeddings(tmp_path: Path):
    (tmp_path / "clip.mp3").write_bytes(b"123")
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)  # of two windows
    cache = EmbeddingCache("a", "auto", tmp_path)
    cache.write(str(tmp_path / "clip.mp3"), vectors)
    np.testing.assert_array_equal(cache.read(str(tmp_path / "clip.mp3"), 3), vectors)
    assert cache.read(str(tmp_path / "clip.mp3"), 4) is None, "of another number of units"
    assert EmbeddingCache("b", "auto", tmp_path).read(str(tmp_path / "clip.mp3"), 3) is None
    assert EmbeddingCache("a", "soundfile", tmp_path).read(str(tmp_path / "clip.mp3"), 3) is None
    assert cache.read(str(tmp_path / "gone.mp3"), 3) is None
    os.utime(tmp_path / "clip.mp3", (1, 1))
    assert cache.read(str(tmp_path / "clip.mp3"), 3) is None
    (tmp_path / "clip.mp3").write_bytes(b"1234")
    assert cache.read(str(tmp_path / "clip.mp3"), 3) is None


def test_a_cache_that_cannot_be_written_costs_only_the_cache(tmp_path: Path, capsys):
    (tmp_path / "clip.mp3").write_bytes(b"123")
    (tmp_path / "file").write_bytes(b"")
    cache = EmbeddingCache("a", "auto", tmp_path / "file")
    for _ in range(2):
        cache.write(str(tmp_path / "clip.mp3"), np.zeros((1, 3), np.float32))
    assert capsys.readouterr().out.count("warning: embeddings are not kept") == 1


def test_settings_are_the_networks_with_its_windows_and_known_weights():
    settings = settings_for_model(Settings(model="musicnn_logistic"))
    assert (settings.frontend, settings.sample_rate_hz, settings.crop_seconds) == ("musicnn_mel", 16000, 3.0)
    assert settings.pretrained_weights == "musicnn_both"
    own = settings_for_model(Settings(model="musicnn_logistic", pretrained_weights="runs/a"), ["pretrained_weights"])
    assert own.pretrained_weights == "runs/a"
    assert settings_for_model(Settings(model="musicnn")).pretrained_weights == ""
    longer = settings_for_model(Settings(model="musicnn_logistic", crop_seconds=9.0), ["crop_seconds"])
    assert longer.crop_seconds == 9.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrained_weights": "nowhere"}, "expected .* nowhere"),
        (
            {"n_mels": 64},
            "expected --n_mels=96 with --model=musicnn_logistic, which knows no other features, received 64",
        ),
    ],
)
def test_mistakes(settings, tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        baselines.train_baseline(replace(settings, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
