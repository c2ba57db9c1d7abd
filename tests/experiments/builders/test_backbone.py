"""A run of ours as the beginning of another: what is copied, and what is refused."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from support.small_run import SMALL_FEATURES

from experiments.builders.backbone import find_own_model
from experiments.builders.model import build_model
from experiments.runs.run import Run
from experiments.settings import Settings

SETTINGS = Settings(**SMALL_FEATURES, frontend="pcen")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    """A run's directory with a model of five labels, and the model."""
    keras.utils.set_random_seed(7)
    model = build_model(SETTINGS, 5)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 1, weight.shape).astype(np.float32) for weight in model.weights])
    run = Run(tmp_path_factory.mktemp("source") / "run")
    run.directory.mkdir()
    run.write_model(model)
    run.path("settings.json").write_text(SETTINGS.as_json())
    return model, run.directory


@pytest.mark.parametrize("name", ["", "model.keras"])
def test_all_weights_but_those_of_the_labels_are_copied(source, name: str):
    theirs, directory = source
    keras.utils.set_random_seed(8)
    model = build_model(replace(SETTINGS, pretrained_weights=str(directory / name), multi_label=True), 3)
    keras.utils.set_random_seed(8)
    fresh = build_model(replace(SETTINGS, multi_label=True), 3)
    embeddings = [keras.Model(each.input, each.get_layer("embedding").output) for each in (theirs, model, fresh)]
    waveform = np.random.default_rng(1).uniform(-1, 1, (2, 16000)).astype(np.float32)
    expected, got, other = (embedding(waveform).numpy() for embedding in embeddings)
    np.testing.assert_array_equal(got, expected)
    assert (other != expected).any()
    head, fresh_head = (each.get_layer("logits").get_weights() for each in (model, fresh))
    np.testing.assert_array_equal(head[0], fresh_head[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "cnn2d"}, r"expected a cnn2d in --pretrained_weights=.*, found a cnn2d_bn; choose --model=cnn2d_bn"),
        (
            {"n_mels": 40, "hop_length": 128},
            r"trained on, --hop_length=256 --n_mels=32, received --hop_length=128 --n_mels=40; give --hop_length=256",
        ),
        ({"frontend": "trainable_mel"}, r"trained on, --frontend=pcen, received --frontend=trainable_mel; give"),
        ({"fmax_hz": 3000.0}, r"received --fmax_hz=3000.0; give none of these flags"),
    ],
)
def test_another_network_or_front_end_is_refused(source, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        build_model(replace(SETTINGS, pretrained_weights=str(source[1]), **changes), 3)


def test_what_is_no_model_of_ours(source, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"expected a trained model at .*empty.model\.keras, found none"):
        build_model(replace(SETTINGS, pretrained_weights=str(tmp_path / "empty")), 3)
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    theirs.save(tmp_path / "theirs.keras")
    (tmp_path / "damaged.keras").write_bytes((source[1] / "model.keras").read_bytes()[:1000])
    for name in ("theirs.keras", "damaged.keras", "none.keras", "some.weights.h5"):
        assert find_own_model(tmp_path / name) is None
        with pytest.raises(ValueError, match=f"expected a run directory or the model.keras of one at .*{name}"):
            build_model(replace(SETTINGS, pretrained_weights=str(tmp_path / name)), 3)


def test_a_network_of_the_waveform_at_another_rate_is_refused(tmp_path: Path):
    settings = Settings(model="sample_cnn", sample_rate_hz=16000)
    run = Run(tmp_path)
    run.write_model(build_model(settings, 3))
    run.path("settings.json").write_text(settings.as_json())
    own = replace(settings, pretrained_weights=str(tmp_path))
    build_model(own, 2)
    with pytest.raises(ValueError, match="trained on, --sample_rate_hz=16000, received --sample_rate_hz=8000"):
        build_model(replace(own, sample_rate_hz=8000), 3)
