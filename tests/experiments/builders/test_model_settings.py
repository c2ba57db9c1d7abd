"""What a model brings with it, and which model few clips get."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.small_run import SMALL_RUN

from experiments.builders import default_model
from experiments.builders.model_settings import settings_for_model
from experiments.comparison.trials import list_trials
from experiments.settings import Settings


@pytest.mark.parametrize("model", ["musicnn", "musicnn_pair"])
@pytest.mark.parametrize("given", [(), ("model",), ("dataset", "model", "seed")])
def test_a_network_brings_its_features_and_no_weights(model: str, given: tuple):
    settings = settings_for_model(Settings(model=model), given)
    assert (settings.frontend, settings.sample_rate_hz, settings.n_fft, settings.hop_length, settings.n_mels) == (
        "musicnn_mel", 16000, 512, 256, 96,
    )  # fmt: skip
    assert settings.crop_seconds == 3 and settings.pretrained_weights == "" and settings.pad_mode == "reflect"


def test_a_baseline_on_it_has_weights_unless_others_are_named():
    assert settings_for_model(Settings(model="musicnn_logistic"), ["model"]).pretrained_weights == "musicnn_both"
    own = Settings(model="musicnn_logistic", pretrained_weights="musicnn_mtt", crop_seconds=6)
    settings = settings_for_model(own, ["pretrained_weights", "crop_seconds"])
    assert (settings.pretrained_weights, settings.crop_seconds) == ("musicnn_mtt", 6)


def test_other_models_keep_their_settings():
    for model in ("cnn2d_bn", "mfcc_logistic", "no such model"):
        assert settings_for_model(Settings(model=model), ["n_mels"]) == Settings(model=model)


def test_a_comparison_gives_each_model_its_own():
    trials = list_trials(Settings(), ["cnn2d_bn", "musicnn", "musicnn_logistic"], [0], Path("out"))
    assert [trial.settings.sample_rate_hz for trial in trials] == [22050, 16000, 16000]
    assert [trial.settings.pretrained_weights for trial in trials] == ["", "", "musicnn_both"]
    (longer,) = list_trials(Settings(crop_seconds=7), ["musicnn"], [0], Path("out"), given=["crop_seconds"])
    assert longer.settings.crop_seconds == 7
    with pytest.raises(ValueError, match="--sweep=freeze, received musicnn_logistic, which cannot have 'all'"):
        list_trials(Settings(), ["musicnn_logistic"], [0], Path("out"), ("freeze", ["none", "all"]))


@pytest.fixture
def settings(small_fma) -> Settings:
    return Settings(dataset="fma", data_dir=str(small_fma), max_failure_rate=SMALL_RUN["max_failure_rate"])


def test_few_clips_get_the_network_that_was_fetched(settings: Settings, monkeypatch):
    monkeypatch.setattr(default_model, "is_fetched", lambda name: name == "musicnn_both")
    chosen, note = default_model.choose_model(settings, ["dataset", "data_dir", "seed"])
    assert (
        chosen == settings_for_model(replace(settings, model="musicnn_logistic")) and "--model=cnn2d_bn trains" in note
    )
    chosen, note = default_model.choose_model(settings, ["n_mels", "epochs"])
    assert chosen == settings and "does without --epochs, --n_mels" in note
    monkeypatch.setattr(default_model, "FEW_CLIPS", 2)
    assert default_model.choose_model(settings, []) == (settings, "")


def test_without_the_weights_the_note_says_how_to_get_them(settings: Settings):
    chosen, note = default_model.choose_model(settings, [])
    assert chosen == settings and "python -m experiments.fetch_weights" in note


def test_several_labels_and_hosts_are_left_alone(settings: Settings, monkeypatch):
    several = replace(settings, multi_label=True, data_dir="/nowhere")
    assert default_model.choose_model(several, []) == (several, "")
    monkeypatch.setenv("TF_CONFIG", "{}")
    elsewhere = replace(settings, data_dir="/nowhere")
    assert default_model.choose_model(elsewhere, []) == (elsewhere, "")
