"""SpecAugment's masks: their widths and places, their draws, and that a saved layer goes on with them."""

from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from layers.augmentation.spec_augment import SpecAugment


def spans(masked: np.ndarray) -> list[int]:
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], masked.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


@pytest.mark.parametrize(("time_masks", "mel_masks"), [(1, 0), (0, 1), (3, 2), (0, 0)])
def test_spec_augment_masks(time_masks: int, mel_masks: int, rng):
    features = rng.standard_normal((400, 50, 32, 1)).astype(np.float32) + 3
    layer = SpecAugment(time_masks, 20, mel_masks, 10)
    masked = layer(features, training=True).numpy()
    changed = masked != features
    frames, mels = changed.all(axis=(2, 3)), changed.all(axis=(1, 3))
    np.testing.assert_array_equal(changed[..., 0], frames[:, :, np.newaxis] | mels[:, np.newaxis, :])
    mean = np.broadcast_to(features.mean(axis=(1, 2, 3), keepdims=True), features.shape)
    np.testing.assert_allclose(masked[changed], mean[changed], rtol=1e-5)
    for which, masks, widest in ((frames, time_masks, 20), (mels, mel_masks, 10)):
        lengths = [spans(row) for row in which]
        assert max(map(len, lengths)) == masks and max(map(sum, lengths), default=0) <= masks * widest
        if masks == 1:  # several may touch each other
            widths = np.array([sum(row) for row in lengths])
            assert set(widths) == set(range(widest + 1))
            assert scipy.stats.chisquare(np.bincount(widths)).pvalue > 1e-3
            first, last = which[:, 0].mean(), which[:, -1].mean()
            assert 0 < first < 0.2 and 0 < last < 0.2, "masks do not reach both ends"


def test_spec_augment_of_fewer_frames_than_a_mask(rng):
    features = rng.standard_normal((300, 4, 5, 1)).astype(np.float32)
    masked = SpecAugment(1, 40, 0, 0)(features, training=True).numpy()
    widths = (masked != features).all(axis=(2, 3)).sum(axis=1)
    assert set(widths) == {0, 1, 2, 3, 4}


def test_spec_augment_draws_anew_each_step_and_again_from_a_restored_state(rng):
    features = np.repeat(rng.standard_normal((1, 50, 32, 1)).astype(np.float32), 8, axis=0)
    layer = SpecAugment(seed=5)
    first, state = layer(features, training=True).numpy(), [variable.numpy() for variable in layer.variables]
    second = layer(features, training=True).numpy()
    assert not np.array_equal(first, second)
    assert len({example.tobytes() for example in first}) == 8, "examples share their masks"
    np.testing.assert_array_equal(SpecAugment(seed=5)(features, training=True), first)
    assert not np.array_equal(SpecAugment(seed=6)(features, training=True), first)
    for variable, value in zip(layer.variables, state, strict=True):
        variable.assign(value)
    np.testing.assert_array_equal(layer(features, training=True), second)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_spec_augment_under_every_policy(policy: str, rng, tmp_path: Path):
    arguments = {"time_masks": 1, "time_width": 9, "mel_masks": 3, "mel_width": 4, "seed": 2}
    features = rng.standard_normal((2, 30, 20, 1)).astype(np.float32)
    keras.config.set_dtype_policy(policy)
    try:
        layer = SpecAugment(**arguments)
        again = SpecAugment.from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        assert {name: getattr(again, name) for name in arguments} == arguments
        model = keras.Sequential([keras.Input((None, 20, 1)), layer])
        assert model.output_shape == (None, None, 20, 1)
        for training_off in (layer(features), layer(features, training=False), model(features)):
            assert training_off.dtype == tf.float32
            np.testing.assert_array_equal(training_off, features)
        model.save(tmp_path / "m.keras")
        loaded = keras.models.load_model(tmp_path / "m.keras")
        masked = again(features, training=True)
        assert masked.dtype == tf.float32 and not np.array_equal(masked, features)
        np.testing.assert_array_equal(loaded(features, training=True), masked)
        compiled = tf.function(lambda features: again(features, training=True), jit_compile=True)(features).numpy()
        assert set(compiled[compiled != features].round(4)) <= set(features.mean(axis=(1, 2, 3)).round(4))
    finally:
        keras.config.set_dtype_policy("float32")


def test_masks_out_of_range():
    with pytest.raises(ValueError, match="expected time_masks of at least 0, received -1"):
        SpecAugment(time_masks=-1)
    with pytest.raises(ValueError, match="expected mel_width of at least 0, received -2"):
        SpecAugment(mel_width=-2)
