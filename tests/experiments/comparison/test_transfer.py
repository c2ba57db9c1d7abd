"""A pretrained network beside others in one comparison: each with the settings that it can have."""

from pathlib import Path

import pytest

from experiments.comparison.trials import list_trials, settings_of_model
from experiments.settings import Settings

SETTINGS = Settings(
    pretrained_weights="musicnn_msd", freeze="all", cache_embeddings=True, n_mels=64, sample_rate_hz=22050
)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("musicnn", ("musicnn_msd", "all", False, 96, 16000, 3.0)),
        ("musicnn_logistic", ("musicnn_msd", "none", True, 96, 16000, 3.0)),
        ("cnn2d_bn", ("", "none", False, 64, 22050, 5.0)),
        ("mfcc_svm", ("", "none", False, 64, 22050, 5.0)),
    ],
)
def test_settings_of_each_model(model: str, expected: tuple):
    own = settings_of_model(SETTINGS, model)
    names = ("pretrained_weights", "freeze", "cache_embeddings", "n_mels", "sample_rate_hz", "crop_seconds")
    assert (own.model, *(getattr(own, name) for name in names)) == (model, *expected)


def test_a_run_as_the_beginning_is_every_networks():
    own = settings_of_model(Settings(pretrained_weights="runs/a", freeze="2"), "cnn2d_bn")
    assert (own.pretrained_weights, own.freeze) == ("runs/a", "2")


def test_a_swept_setting_is_not_replaced():
    swept = list_trials(SETTINGS, ["musicnn"], [0], Path("out"), ("crop_seconds", [3.0, 6.0]))
    assert [trial.settings.crop_seconds for trial in swept] == [3.0, 6.0]
    with pytest.raises(ValueError, match="expected --n_mels=96 with --model=musicnn"):
        list_trials(SETTINGS, ["musicnn"], [0], Path("out"), ("n_mels", [64, 96]))
