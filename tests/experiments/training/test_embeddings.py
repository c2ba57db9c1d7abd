"""A network's embedding as features of clips: the same in pieces, as a model, in reports and exports, and from the cache."""

import os
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.datasets import make_blobs
from support.audio import music
from support.small_run import SMALL_RUN

from experiments.builders.model import build_front_end, build_model
from experiments.builders.model_settings import settings_for_model
from experiments.evaluation.evaluation import evaluate_run
from experiments.export.check import clips_to_check
from experiments.export.export import load_classifier
from experiments.reporting.page import write_report
from experiments.runs.description import describe_run
from experiments.runs.run import Run
from experiments.settings import Settings, differences
from experiments.training import baselines
from experiments.training.classifiers import balanced_candidates, fit_baseline
from experiments.training.embedding_cache import EmbeddingCache, default_root
from experiments.training.embeddings import make_musicnn_features, make_piecewise
from experiments.training.features import ClipFeatures
from pipeline.decoding import decode_crop

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
def settings(small_fma, backbone) -> Settings:
    settings = Settings(
        **SMALL_RUN,
        dataset="fma",
        data_dir=str(small_fma),
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


@pytest.mark.parametrize("seconds", [20.0, 5.984, 2.0, 0.01])
def test_a_clip_in_pieces_is_the_clip_as_a_whole(settings, backbone, features, seconds: float):
    front_end, model = build_front_end(settings), backbone[0]
    image = next(layer.output for layer in model.layers if layer.name == "musicnn_mel")
    describe = make_piecewise(front_end, keras.Model(image, model.get_layer("embedding").output), 1, piece_windows=3)
    waveform = music(max(seconds, 1), 16000, seed=3)[None, : round(seconds * 16000), 0].astype(np.float32)
    whole = keras.Model(model.input, model.get_layer("embedding").output)(waveform, training=False).numpy()
    scale = np.abs(whole).max()
    np.testing.assert_allclose(describe(waveform).numpy(), whole, atol=1e-5 * scale)
    np.testing.assert_allclose(features.describe(waveform).numpy(), whole, atol=1e-5 * scale)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_dense_layer_is_the_classifier(num_classes: int):
    features, truth = make_blobs(90, 6, centers=num_classes, cluster_std=9.0, random_state=4)
    parts = features[:50], truth[:50], features[50:], truth[50:]
    fitted = fit_baseline(balanced_candidates(), *parts, num_classes, unit_length=True)
    kernel, bias = fitted.dense_layer()
    assert kernel.shape == (6, num_classes) and abs(fitted.temperature - 1) > 0.001
    vectors = (features - features[:50].mean(axis=0)) / features[:50].std(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exponents = np.exp(vectors @ kernel + bias)
    np.testing.assert_allclose(exponents / exponents.sum(axis=1, keepdims=True), fitted.probabilities(features))


def test_the_run_has_a_model_that_repeats_it(run, settings, tmp_path: Path):
    table = run.predictions().query("split == 'test'")
    columns = [f"probability_{label}" for label in run.labels]
    evaluate_run(run.directory, settings, "test", tmp_path / "evaluation")
    again = Run(tmp_path / "evaluation").predictions()
    assert again["path"].tolist() == table["path"].tolist() and len(again) == 6
    np.testing.assert_allclose(again[columns], table[columns], atol=1e-5)
    assert np.ptp(table[columns].to_numpy(), axis=0).max() > 0.01, "clips that do not differ prove nothing"
    assert run.baseline["parameters"] == 201 * 3 and run.model().name == "musicnn"


def test_it_is_reported_and_exported(run, tmp_path: Path):
    write_report(run.directory, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "a classifier of its embedding is fitted" in page and "603 coefficients" in page
    assert "give other probabilities now" not in page
    classifier = load_classifier(run)
    row = clips_to_check(run).iloc[0]  # of the test split
    path = row["path"]
    waveform = decode_crop(path, 16000, 0, 0.0)
    got = classifier.classify_track(tf.constant(waveform), tf.constant(16000))["probabilities"]
    expected = row.filter(like="probability_").to_numpy(float)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert classifier.crop_samples == 0 and describe_run(run, classifier.model)["network"] == "musicnn_logistic"


def test_kept_embeddings_are_not_computed_again(run, settings, tmp_path: Path, monkeypatch, capsys):
    files = sorted(default_root().rglob("*.f32"))
    assert len(files) == 24 and all(file.stat().st_size == 200 * 4 + 32 for file in files)
    decoded: list[int] = []
    stream_clips = baselines.stream_clips

    def counting(tracks: pd.DataFrame, *args):
        decoded.append(len(tracks))
        return stream_clips(tracks, *args)

    monkeypatch.setattr(baselines, "stream_clips", counting)
    files[0].write_bytes(files[0].read_bytes()[:-1] + b"?")
    files[1].write_bytes(b"")
    own = replace(settings, cache_embeddings=True)
    baselines.train_baseline(own, tmp_path / "second")
    assert sum(decoded) == 1 + 2, "the broken clip and two damaged files"
    assert "clips have embeddings in" in capsys.readouterr().out
    pd.testing.assert_frame_equal(Run(tmp_path / "second").predictions(), run.predictions())
    assert differences(own, settings) == [], "the setting changes no result"


def test_other_weights_and_decoders_have_other_embeddings(tmp_path: Path):
    (tmp_path / "clip.mp3").write_bytes(b"123")
    vector = np.arange(3, dtype=np.float32)
    cache = EmbeddingCache("a", "auto", tmp_path)
    cache.write(str(tmp_path / "clip.mp3"), vector)
    np.testing.assert_array_equal(cache.read(str(tmp_path / "clip.mp3")), vector)
    assert EmbeddingCache("b", "auto", tmp_path).read(str(tmp_path / "clip.mp3")) is None
    assert EmbeddingCache("a", "soundfile", tmp_path).read(str(tmp_path / "clip.mp3")) is None
    assert cache.read(str(tmp_path / "gone.mp3")) is None
    os.utime(tmp_path / "clip.mp3", (1, 1))
    assert cache.read(str(tmp_path / "clip.mp3")) is None
    (tmp_path / "clip.mp3").write_bytes(b"1234")
    assert cache.read(str(tmp_path / "clip.mp3")) is None


def test_a_cache_that_cannot_be_written_costs_only_the_cache(tmp_path: Path, capsys):
    (tmp_path / "clip.mp3").write_bytes(b"123")
    (tmp_path / "file").write_bytes(b"")
    cache = EmbeddingCache("a", "auto", tmp_path / "file")
    for _ in range(2):
        cache.write(str(tmp_path / "clip.mp3"), np.zeros(3, np.float32))
    assert capsys.readouterr().out.count("warning: embeddings are not kept") == 1


def test_settings_are_the_networks_with_whole_clips_and_known_weights():
    settings = settings_for_model(Settings(model="musicnn_logistic"))
    assert (settings.frontend, settings.sample_rate_hz, settings.crop_seconds) == ("musicnn_mel", 16000, 0.0)
    assert settings.pretrained_weights == "musicnn_both"
    own = settings_for_model(Settings(model="musicnn_logistic", pretrained_weights="runs/a"), ["pretrained_weights"])
    assert own.pretrained_weights == "runs/a"
    assert settings_for_model(Settings(model="musicnn")).pretrained_weights == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_seconds": 3.0}, "expected --crop_seconds=0 with --model=musicnn_logistic, which hears whole clips"),
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
