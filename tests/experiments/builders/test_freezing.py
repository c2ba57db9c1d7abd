"""Frozen layers: which they are, and that a training step leaves them and what they compute alone."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.small_run import SMALL_FEATURES

from experiments.builders.freezing import check_transfer, freeze_layers
from experiments.builders.model import build_model
from experiments.settings import Settings
from experiments.training.hosts import Cluster
from experiments.training.step import make_train_step
from layers.classifier import build_audio_classifier
from layers.front_ends.musicnn_mel import MusicnnMelSpectrogram
from layers.networks.musicnn import BACKBONE

SETTINGS = Settings(**SMALL_FEATURES, learning_rate=0.01)


def frozen(freeze: str, **changes) -> tuple[keras.Model, Settings]:
    """A model with frozen layers, whose weights are random: what they are does not matter here."""
    settings = replace(SETTINGS, **changes)
    keras.utils.set_random_seed(3)
    model = build_model(settings, 3)
    for weight in model.weights:  # moving statistics that a batch does not have by chance
        if "moving" in weight.path:
            low = -0.1 if "mean" in weight.path else 0.5
            weight.assign(np.random.default_rng(1).uniform(low, low + 0.2, weight.shape))
    freeze_layers(model, freeze)
    model.compile(keras.optimizers.Adam(settings.learning_rate))
    model.optimizer.build(model.trainable_variables)
    return model, settings


def a_step(model: keras.Model, settings: Settings, cluster: Cluster | None = None) -> None:
    waveform = tf.constant(np.random.default_rng(2).uniform(-1, 1, (4, 16000)), tf.float32)
    make_train_step(model, settings, cluster=cluster)(waveform, tf.constant([0, 1, 2, 0]))


@pytest.mark.parametrize(("network", "jit_compile"), [("cnn2d_bn", False), ("cnn2d_bn", True), ("crnn", False)])
def test_a_frozen_backbone_computes_in_training_what_it_does_in_inference(network: str, jit_compile: bool):
    model, settings = frozen("all", model=network, jit_compile=jit_compile)
    before = {weight.path: weight.numpy() for weight in model.weights}
    a_step(model, settings)
    changed = {weight.path for weight in model.weights if (before[weight.path] != weight.numpy()).any()}
    assert changed == {"logits/kernel", "logits/bias"}
    assert any("moving" in name for name in before) and len(model.optimizer.variables) == 2 + 2 * 2
    # All but the dropout before the head, which regularises the head.
    places = [i for i, layer in enumerate(model.layers) if layer.weights and layer.name != "logits"]
    features = keras.Model(model.input, model.layers[places[-1]].output)
    waveform = np.random.default_rng(4).uniform(-1, 1, (2, 16000)).astype(np.float32)
    np.testing.assert_array_equal(features(waveform, training=True), features(waveform, training=False))
    embedding = keras.Model(model.input, model.get_layer("embedding").output)
    assert (embedding(waveform, training=True).numpy() != embedding(waveform, training=False).numpy()).any()


def test_the_first_layers_are_counted_through_models_inside_the_model():
    def build() -> keras.Model:
        return build_audio_classifier("musicnn", 3, MusicnnMelSpectrogram())

    model = build()
    freeze_layers(model, "4")
    backbone = next(layer for layer in model.layers if layer.name == BACKBONE)
    weighted = [layer for layer in backbone.layers if layer.weights]
    assert [layer.trainable for layer in weighted] == [False] * 4 + [True] * (len(weighted) - 4)
    assert all(layer.rate for layer in backbone.layers if isinstance(layer, keras.layers.Dropout))
    every = build()
    freeze_layers(every, str(len(weighted)))
    assert [weight.path.split("/")[0] for weight in every.trainable_weights] == ["logits"] * 2
    backbone = next(layer for layer in every.layers if layer.name == BACKBONE)
    inner, outer = (
        [layer.rate for layer in each.layers if isinstance(layer, keras.layers.Dropout)] for each in (backbone, every)
    )
    assert (inner, outer) == ([0.0], [0.5])
    with pytest.raises(
        ValueError, match=f"--freeze as at most {len(weighted)}, the layers .* received 99; choose fewer"
    ):
        freeze_layers(build(), "99")


def test_attention_under_a_frozen_layer_has_no_dropout():
    model, _ = frozen("all", model="audio_transformer")
    features = keras.Model(model.input, [layer for layer in model.layers if layer.weights][-2].output)
    waveform = np.random.default_rng(4).uniform(-1, 1, (2, 16000)).astype(np.float32)
    np.testing.assert_allclose(features(waveform, training=True), features(waveform, training=False), atol=1e-6)


def test_a_trained_front_end_is_a_layer():
    model, settings = frozen("1", frontend="pcen")
    before = {weight.path: weight.numpy() for weight in model.weights}
    a_step(model, settings)
    unchanged = {weight.path.split("/")[0] for weight in model.weights if (before[weight.path] == weight.numpy()).all()}
    assert unchanged == {"pcen"}


def test_copies_of_the_model_leave_frozen_batch_normalisation_alone():
    cluster = Cluster()
    cluster.__class__ = type("Two", (Cluster,), {"replicas": 2})
    model, _ = frozen("1")
    cluster.synchronise_batch_norm(model)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert [layer.synchronized for layer in norms] == [layer.trainable for layer in norms]
    freeze_layers(model, "all")
    for layer in norms:
        layer.synchronized = False
    cluster.synchronise_batch_norm(model)
    assert norms and not any(layer.synchronized for layer in norms)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freeze": "all"}, "expected --pretrained_weights with --freeze=all, received none"),
        ({"freeze": "3"}, "expected --pretrained_weights with --freeze=3"),
        (
            {"freeze": "all", "pretrained_weights": "runs/a", "backbone_learning_rate": 1e-4},
            "expected no --backbone_learning_rate with --freeze=all, received 0.0001",
        ),
        ({"cache_embeddings": True}, "expected --model=musicnn_logistic with --cache_embeddings, received cnn2d_bn"),
    ],
)
def test_nonsense(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        check_transfer(replace(SETTINGS, **changes))


@pytest.mark.parametrize("freeze", ["some", "0", "-1", "1.5", ""])
def test_what_freeze_may_be(freeze: str):
    with pytest.raises(ValueError, match="expected freeze as none, all or a number of layers"):
        Settings(freeze=freeze)
