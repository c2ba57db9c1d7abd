"""The networks of keras.applications: what takes a second one, and weights to start from."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.networks import LARGE, PARAMETERS, SMALL, built_once

from layers.classifier import build_audio_classifier
from layers.front_ends.registry import build_front_end
from layers.networks.imagenet import load_backbone_weights
from layers.networks.registry import NETWORKS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("network", LARGE)
def test_number_of_parameters(network: str):
    assert built_once(network, "log_mel").count_params() == PARAMETERS[network]
    assert f"{PARAMETERS[network]:,} parameters" in NETWORKS[network].build.__doc__


def test_weights_of_a_file_in_half_precision_and_saved(tmp_path: Path, rng):
    # Of ConvNeXt, some of whose layers are replaced.
    keras.utils.set_random_seed(1)
    theirs = keras.applications.ConvNeXtTiny(
        include_top=False, weights=None, pooling="avg", include_preprocessing=False
    )
    theirs.save_weights(tmp_path / "their.weights.h5")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_audio_classifier("convnext_tiny", 3, build_front_end("log_mel", n_mels=32, **SMALL))
        load_backbone_weights(model, tmp_path / "their.weights.h5")
    finally:
        keras.config.set_dtype_policy("float32")
    waveform = (0.1 * rng.standard_normal((2, 8000))).astype(np.float32)
    image = model.layers[1](waveform)
    assert image.dtype == tf.float32
    embedding = keras.Model(model.input, model.get_layer("embedding").output)
    expected = theirs(tf.repeat(image, 3, axis=3))
    scale = float(np.std(expected))
    np.testing.assert_allclose(tf.cast(embedding(waveform), tf.float32), expected, atol=0.1 * scale)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    graph = tf.function(again, input_signature=[tf.TensorSpec([None, None], tf.float32)])
    np.testing.assert_allclose(graph(waveform), model(waveform), atol=0.01)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path):
    model = built_once("efficientnetv2_b0", "log_mel")
    with pytest.raises(ValueError, match=r"expected weights in a file .* found none at .*no.weights.h5"):
        load_backbone_weights(model, tmp_path / "no.weights.h5")
    other = built_once("cnn2d_bn", "log_mel")
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(ValueError, match=r"expected weights of keras.applications' model for efficientnetv2_b0"):
        load_backbone_weights(model, tmp_path / "other.weights.h5")
    with pytest.raises(ValueError, match="received 'cnn2d_bn'; leave --pretrained_weights out"):
        load_backbone_weights(other, tmp_path / "other.weights.h5")
