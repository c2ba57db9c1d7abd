"""What settings switch on: the draws of a run's steps, and what is left of augmentation where it is off: nothing."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.small_run import AUGMENTATION, SMALL_FEATURES

from experiments.builders import augmentation
from experiments.builders.model import build_model
from experiments.evaluation import splits
from experiments.settings import Settings
from layers.augmentation.registry import AUGMENTATIONS, Augmentation
from layers.augmentation.spec_augment import SpecAugment
from layers.front_ends.registry import find_front_end
from layers.portable import portable_classifier, rfft_power_spectrum


@pytest.fixture(scope="module")
def settings() -> Settings:
    return replace(Settings(seed=4, n_mels=24), **{**SMALL_FEATURES, "n_mels": 24, "crop_seconds": 1.0})


def batch(rng: np.random.Generator, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    waveform = 0.1 * rng.standard_normal((5, round(settings.crop_seconds * settings.sample_rate_hz)))
    return waveform.astype(np.float32), np.array([0, 1, 2, 1, 0], np.int32)


def test_steps_of_a_run_differ_and_depend_on_its_seed(settings, rng):
    waveform, class_index = batch(rng, settings)
    everything, targets = replace(settings, **AUGMENTATION), np.eye(3, dtype=np.float32)[class_index]
    apply = augmentation.batch_augmentation(everything)
    first = apply(waveform, targets, tf.constant(0, tf.int64))
    np.testing.assert_array_equal(apply(waveform, targets, tf.constant(0, tf.int64))[0], first[0])
    others = (apply, 1), (augmentation.batch_augmentation(replace(everything, seed=5)), 0)
    for function, step in others:
        assert not np.array_equal(function(waveform, targets, tf.constant(step, tf.int64))[0], first[0])
    noise = {"noise_snr_db_min": 3.0, "noise_snr_db_max": 4.0}
    for changes in ({"mixup_alpha": 0.4}, {"time_shift_seconds": 0.1}, {"random_eq_db": 1.0}, {"gain_db": 1.0}, noise):
        ours, labels = augmentation.batch_augmentation(replace(settings, **changes))(waveform, targets, tf.constant(0))
        assert not np.array_equal(ours, waveform)
        assert np.array_equal(labels, targets) == ("mixup_alpha" not in changes)


def test_off_is_nothing_at_all(settings, rng):
    waveform, class_index = batch(rng, settings)
    targets = tf.one_hot(class_index, 3)
    ours, labels = augmentation.batch_augmentation(settings)(waveform, targets, tf.constant(0))
    assert ours is waveform and labels is targets
    model = build_model(settings, 3)
    assert not any(isinstance(layer, SpecAugment) for layer in model.layers)


def test_inference_and_export_do_not_see_it(settings, rng):
    waveform, _ = batch(rng, settings)
    plain, augmented = build_model(settings, 3), build_model(replace(settings, **AUGMENTATION), 3)
    plain.set_weights(augmented.get_weights())
    expected = splits.make_predict_function(plain)(waveform)
    predict = splits.make_predict_function(augmented)
    np.testing.assert_array_equal(predict(waveform), expected)

    def operations(model: keras.Model) -> list[str]:
        graph = splits.make_predict_function(model).get_concrete_function().graph
        return sorted(op.type for op in graph.get_operations() if op.type != "Identity")

    assert operations(augmented) == operations(plain)
    portable = portable_classifier(augmented, rfft_power_spectrum, find_front_end(augmented).min_samples)
    np.testing.assert_allclose(portable(waveform)["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize(("low", "high"), [(10.0, None), (None, 5.0), (10.0, 5.0)])
def test_noise_of_half_a_range(settings, low: float | None, high: float | None):
    odd = replace(settings, noise_snr_db_min=low, noise_snr_db_max=high)
    with pytest.raises(
        ValueError, match=f"noise_snr_db_min <= noise_snr_db_max, or neither .* received {low} and {high}"
    ):
        augmentation.batch_augmentation(odd)


def test_noise_of_0_decibels_is_noise(settings, rng):
    waveform, _ = batch(rng, settings)
    noisy, _ = augmentation.batch_augmentation(replace(settings, noise_snr_db_min=0.0, noise_snr_db_max=0.0))(
        waveform, np.eye(5, dtype=np.float32), tf.constant(0)
    )
    noise = noisy.numpy() - waveform
    np.testing.assert_allclose((noise**2).mean(axis=1), (waveform**2).mean(axis=1), rtol=1e-3)


# Of a version before the registry, with everything on: three samples of four waveforms, and each example's own share.
DRAWN = [[-0.128034, 0.147012, -0.127205], [-0.049712, 0.126072, -0.049695]]
DRAWN += [[0.096721, 0.183985, 0.067664], [-0.168270, 0.262779, -0.171930]]
SHARES = [0.5433856, 0.7472693, 0.6883791, 0.9783758]


def test_draws_are_those_that_checkpoints_began_with():
    settings = Settings(seed=4, **SMALL_FEATURES, **AUGMENTATION)
    waveform = 0.1 * np.arange(1, 5)[:, np.newaxis] * np.sin(np.arange(16000) / 20)
    apply = augmentation.batch_augmentation(settings)
    drawn, targets = apply(tf.constant(waveform, tf.float32), tf.eye(4), tf.constant(3))
    np.testing.assert_allclose(drawn.numpy()[:, [0, 8000, 15999]], DRAWN, atol=1e-4)
    np.testing.assert_allclose(np.diag(targets), SHARES, atol=1e-6)


def test_every_setting_of_an_augmentation_is_a_flag_and_off_at_first():
    defaults = vars(Settings())
    for entry in AUGMENTATIONS.values():
        assert set(entry.settings) <= set(defaults) and set(entry.strengths) <= set(entry.settings)
        assert not entry.is_on(defaults)


def test_a_new_augmentation_is_one_line(settings, rng, monkeypatch: pytest.MonkeyPatch):
    """Only its setting would be new; here it is one that another part has."""
    entry = Augmentation("waveform", lambda waveform, seed, times: waveform * times, ("n_mels",), {"times": "n_mels"})
    monkeypatch.setitem(AUGMENTATIONS, "times", entry)
    waveform, _ = batch(rng, settings)
    louder, _ = augmentation.batch_augmentation(settings)(waveform, np.eye(5, dtype=np.float32), tf.constant(0))
    np.testing.assert_array_equal(louder, waveform * settings.n_mels)
    image = Augmentation("image", lambda name: keras.layers.Identity(name=name), ("n_mels",))
    monkeypatch.setitem(AUGMENTATIONS, "same", image)
    model = build_model(replace(settings, spec_augment_time_masks=1), 3)
    names = [layer.name for layer in model.layers]
    assert names[names.index("spec_augment") + 1] == "same"


def test_masks_without_width_are_refused():
    with pytest.raises(ValueError, match="expected spec_augment_mel_width of at least 1 with spec_augment_mel_masks=2"):
        augmentation.image_augmentations(Settings(spec_augment_mel_masks=2, spec_augment_mel_width=0))
