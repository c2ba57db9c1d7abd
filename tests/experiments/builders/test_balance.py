"""Evening out labels: weights, occurrences, and what a training step makes of them."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from support.small_run import SMALL_RUN

from experiments.builders.balance import class_weights, oversampled
from experiments.builders.model import build_model
from experiments.settings import Settings
from experiments.training.step import make_train_step


def test_weights_give_every_class_the_same_share():
    indices = [0] * 6 + [1] * 3 + [2]
    weights = class_weights(indices, 3)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(np.bincount(indices) * weights, 10 / 3, rtol=1e-6)
    assert np.mean(weights[indices]) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"found none of the classes \[1, 3\]"):
        class_weights([0, 2], 4)


def test_oversampling_repeats_each_clip_in_turn():
    tracks = pd.DataFrame({"path": list("abcdefghi"), "label": list("xxxxxyyzz")}, index=range(10, 19))
    rows = oversampled(tracks)
    assert rows["label"].value_counts().to_dict() == {"x": 5, "y": 5, "z": 5}
    assert rows["path"].value_counts().to_dict() == dict.fromkeys("abcde", 1) | {"f": 3, "g": 2, "h": 3, "i": 2}
    pd.testing.assert_frame_equal(oversampled(tracks[:5]), tracks[:5])


@pytest.mark.slow
def test_a_step_weighs_each_example_by_its_class():
    settings = Settings(**SMALL_RUN, model="cnn2d")
    waveform = tf.random.stateless_normal([4, round(settings.crop_seconds * settings.sample_rate_hz)], [1, 2])
    class_index = tf.constant([0, 1, 1, 2])

    def trained(weights: list[float] | None, rows: slice = slice(None)) -> list[np.ndarray]:
        tf.keras.utils.set_random_seed(0)
        model = build_model(settings, 3)
        before = [variable.numpy() for variable in model.trainable_variables]
        step = make_train_step(model, settings, weights if weights is None else np.array(weights, np.float32))
        step(waveform[rows], class_index[rows])
        return [v.numpy() - old for v, old in zip(model.trainable_variables, before, strict=True)]

    for plain, even in zip(trained(None), trained([1, 1, 1]), strict=True):
        np.testing.assert_allclose(plain, even, atol=1e-6)
    # A class without weight teaches nothing.
    assert not any(change.any() for change in trained([1, 0, 1], slice(1, 3)))
    assert any(change.any() for change in trained([0, 1, 0], slice(1, 3)))
