"""The learning rate of the backbone, against Adam written out in NumPy."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.small_run import SMALL_FEATURES

from experiments.builders.model import build_model
from experiments.builders.optimizer import BackboneAdam, make_optimizer
from experiments.settings import Settings

SETTINGS = Settings(**SMALL_FEATURES, model="cnn2d", learning_rate=0.01, backbone_learning_rate=0.002)


def adam(value: np.ndarray, gradients: list[np.ndarray], rates: list[float]) -> np.ndarray:
    """Kingma and Ba, "Adam: a method for stochastic optimization", 2014, in the order of its section 2."""
    value = value.astype(np.float64)
    first = second = np.zeros_like(value)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        value = value - rate * first / (np.sqrt(second) + 1e-7)
    return value


@pytest.mark.parametrize("compiled", [False, True])
def test_two_updates_are_adams_with_the_rate_of_each_layer(compiled: bool):
    model = build_model(SETTINGS, 3)
    optimizer, variables = model.optimizer, model.trainable_variables
    rng = np.random.default_rng(0)
    gradients = [[rng.standard_normal(v.shape).astype(np.float32) * 10.0**s for v in variables] for s in (-2, 1)]
    before = [variable.numpy() for variable in variables]
    apply = (lambda each: optimizer.apply(each, variables)) if not compiled else None
    apply = apply or tf.function(lambda each: optimizer.apply(each, variables))
    apply([tf.constant(gradient) for gradient in gradients[0]])
    optimizer.learning_rate = 0.005  # as a schedule does
    apply([tf.constant(gradient) for gradient in gradients[1]])
    for number, variable in enumerate(variables):
        rate = 1.0 if variable.path.startswith("logits/") else 0.2
        expected = adam(before[number], [each[number] for each in gradients], [0.01 * rate, 0.005 * rate])
        np.testing.assert_allclose(variable.numpy(), expected, atol=2e-6, err_msg=variable.path)


def test_without_the_setting_the_optimizer_is_keras_own():
    assert type(make_optimizer(replace(SETTINGS, backbone_learning_rate=None))) is keras.optimizers.Adam


def test_it_is_saved():
    optimizer = make_optimizer(SETTINGS)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, BackboneAdam) and again.get_config() == optimizer.get_config()
    assert again.backbone_multiplier == pytest.approx(0.2)
