"""Training that begins with an earlier run: what is frozen stays, and it goes on bit for bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.places import ROOT
from support.small_run import SMALL_RUN
from tensorflow.python.framework import config

from experiments.builders.backbone import backbone_weights
from experiments.evaluation import evaluation
from experiments.runs.run import Run
from experiments.settings import Settings
from experiments.training import baselines
from experiments.training import loop as training

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(small_run) -> Settings:
    """Other music and two other labels than those that the run has learnt, with its backbone."""
    return Settings(
        **SMALL_RUN,
        dataset="csv",
        data_dir=str(ROOT / "tests" / "goldens" / "data" / "clips.csv"),
        allow_artist_leak=True,
        pretrained_weights=str(small_run),
    )


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch):
    """They take a fifth of the time of such runs, and test_training.py looks at them."""
    monkeypatch.setattr(training, "plot_curves", lambda *_: None)
    monkeypatch.setattr(evaluation, "plot_confusion_matrix", lambda *_: None)


def test_a_frozen_backbone_is_that_of_the_earlier_run(settings, small_run, tmp_path: Path):
    training.train(replace(settings, freeze="all"), tmp_path / "run")
    source, model = Run(small_run).model(), Run(tmp_path / "run").model()
    assert (source.output_shape, model.output_shape) == ((None, 3), (None, 2))
    for ours, theirs in zip(backbone_weights(model), backbone_weights(source), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (model.get_layer("logits").bias.numpy() != 0).all()


@pytest.fixture
def _determinism_ends():
    """A deterministic run changes its process, and so the tests after it: XLA is then refused."""
    yield
    config.disable_op_determinism()


@pytest.mark.usefixtures("_determinism_ends")
def test_a_continued_transfer_is_an_uninterrupted_one(settings, tmp_path: Path):
    own = replace(settings, freeze="2", backbone_learning_rate=1e-4, deterministic=True)
    training.train(own, tmp_path / "parts")
    for name in ("parts", "whole"):
        training.train(replace(own, epochs=2), tmp_path / name)
    parts, whole = (Run(tmp_path / name) for name in ("parts", "whole"))
    for ours, theirs in zip(parts.model().weights, whole.model().weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert parts.history["loss"].tolist() == whole.history["loss"].tolist() and len(whole.history) == 2
    with pytest.raises(ValueError, match="freeze: '2' there, '3' now"):
        training.train(replace(own, freeze="3"), tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freeze": "all"}, "expected a network with --freeze=all, received mfcc_logistic, .* leave --freeze out"),
        (
            {"backbone_learning_rate": 1e-3},
            "expected a network with --backbone_learning_rate=0.001, .* leave --backbone",
        ),
        (
            {"cache_embeddings": True},
            "expected musicnn_logistic with --cache_embeddings, received mfcc_logistic, .* leave",
        ),
    ],
)
def test_baselines_have_nothing_to_freeze(settings, tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        baselines.train_baseline(replace(settings, model="mfcc_logistic", **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
