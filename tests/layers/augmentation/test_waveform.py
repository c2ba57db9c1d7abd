"""Augmentation of waveforms and of pairs: every transform measured from outside, and what all in the registry keep to."""

import itertools

import keras
import librosa
import numpy as np
import pytest
import scipy.signal
import scipy.stats
import tensorflow as tf
from support.small_run import AUGMENTATION

from layers.augmentation import waveform as augment
from layers.augmentation.mixup import mixup
from layers.augmentation.registry import AUGMENTATIONS, build_augmentations

SEED = tf.constant([3, 7])
RATE_HZ = 8000
SETTINGS = AUGMENTATION | {"sample_rate_hz": RATE_HZ, "seed": 0, "time_shift_seconds": 0.0625}
# Every one that the registry lists, as functions of a waveform and a seed; a new one is covered by its strength in
# AUGMENTATION.
FUNCTIONS = build_augmentations("waveform", SETTINGS) | {
    name: lambda waveform, seed, mix=mix: mix(waveform, waveform[:, :3], seed)[0]
    for name, mix in build_augmentations("mixture", SETTINGS).items()
}


def test_every_entry_is_on_here():
    images = build_augmentations("image", SETTINGS | {"spec_augment_time_width": 9, "spec_augment_mel_width": 4})
    assert [*FUNCTIONS, *images] == list(AUGMENTATIONS)
    assert all(layer.name == name for name, layer in images.items())


def is_uniform(values: np.ndarray, low: float, high: float) -> bool:
    assert values.min() >= low - 1e-3 and values.max() <= high + 1e-3
    return scipy.stats.kstest(values, scipy.stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_gain_is_uniform_in_decibels(rng):
    waveform = rng.standard_normal((600, 50)).astype(np.float32)
    ratio = augment.random_gain(waveform, SEED, 6.0).numpy() / waveform
    np.testing.assert_allclose(ratio, np.repeat(ratio[:, :1], 50, axis=1), rtol=1e-5)
    assert is_uniform(20 * np.log10(ratio[:, 0]), -6, 6)


def test_polarity_of_half_the_examples(rng):
    waveform = rng.standard_normal((600, 50)).astype(np.float32)
    sign = augment.random_polarity(waveform, SEED).numpy() / waveform
    np.testing.assert_array_equal(sign, np.repeat(sign[:, :1], 50, axis=1))
    assert set(sign[:, 0]) == {-1.0, 1.0} and scipy.stats.binomtest(int((sign[:, 0] < 0).sum()), 600).pvalue > 1e-3


@pytest.mark.parametrize("max_samples", [3, 5000])
def test_time_shift_is_a_roll(rng, max_samples: int):
    waveform = rng.standard_normal((600, 1000)).astype(np.float32)
    waveform[:, 0] = 100.0  # marks where the beginning went
    shifted = augment.random_time_shift(waveform, SEED, RATE_HZ, max_samples / RATE_HZ).numpy()
    places = shifted.argmax(axis=1)
    for ours, original, place in zip(shifted, waveform, places, strict=True):
        np.testing.assert_array_equal(ours, np.roll(original, place))
    if max_samples < 1000:
        assert set((places + 500) % 1000 - 500) == set(range(-3, 4))
    else:
        assert is_uniform(places, 0, 1000)


def test_noise_has_the_ratio_asked_for(rng):
    waveform = (rng.uniform(0.001, 1, (300, 1)) * rng.standard_normal((300, 4000))).astype(np.float32)
    noise = augment.random_noise(waveform, SEED, 5.0, 20.0).numpy() - waveform
    ratio_db = 10 * np.log10((waveform**2).mean(axis=1) / (noise**2).mean(axis=1))
    assert is_uniform(ratio_db, 5, 20)
    _, density = scipy.signal.welch(noise / noise.std(axis=1, keepdims=True), RATE_HZ, nperseg=256)
    density = density.mean(axis=0)[2:-2]
    assert density.max() / density.min() < 1.1, "not white"
    exact = augment.random_noise(waveform, SEED, 10.0, 10.0).numpy() - waveform
    np.testing.assert_allclose((waveform**2).mean(axis=1) / (exact**2).mean(axis=1), 10, rtol=1e-3)


def test_noise_leaves_silence():
    np.testing.assert_array_equal(
        augment.random_noise(np.zeros((2, 100), np.float32), SEED, 0.0, 0.0), np.zeros((2, 100))
    )


@pytest.mark.parametrize("samples", [4000, 4001])
def test_equalizer_curve_as_measured(samples: int, rng):
    waveform = rng.standard_normal((200, samples)).astype(np.float32)
    filtered = augment.random_equalizer(waveform, SEED, RATE_HZ, 9.0).numpy()
    response = np.fft.rfft(filtered) / np.fft.rfft(waveform)
    clear = np.abs(np.fft.rfft(waveform)) > 5  # bins of which float32 leaves enough
    assert np.abs(np.angle(response[clear])).max() < 1e-2, "it moves the phase"
    frequency_hz = np.fft.rfftfreq(samples, 1 / RATE_HZ)
    points_hz = librosa.mel_frequencies(8, fmin=0, fmax=RATE_HZ / 2, htk=True)
    gain_db = 20 * np.log10(np.abs(response))
    nearest = np.abs(frequency_hz - points_hz[:, np.newaxis]).argmin(axis=1)
    at_points = gain_db[:, nearest]
    assert is_uniform(at_points[:, 1:-1].ravel(), -9, 9)
    assert np.abs(np.corrcoef(at_points.T) - np.eye(8)).max() < 0.3, "points are not independent"
    # From each point to the next the curve rises or falls without turning.
    for left, right in itertools.pairwise(nearest):
        between = np.where(clear[:, left : right + 1], gain_db[:, left : right + 1], np.nan)
        low, high = np.minimum(gain_db[:, left], gain_db[:, right]), np.maximum(gain_db[:, left], gain_db[:, right])
        assert (np.nanmin(between, axis=1) > low - 0.05).all() and (np.nanmax(between, axis=1) < high + 0.05).all()


def test_equalizer_on_white_noise_by_welch(rng):
    """The same curve from outside the Fourier transform of the whole example."""
    waveform = rng.standard_normal((1, 20 * RATE_HZ)).astype(np.float32)
    filtered = augment.random_equalizer(waveform, SEED, RATE_HZ, 9.0).numpy()
    impulse = np.zeros_like(waveform)
    impulse[0, 10 * RATE_HZ] = 1
    expected_db = 20 * np.log10(np.abs(np.fft.rfft(augment.random_equalizer(impulse, SEED, RATE_HZ, 9.0).numpy()[0])))
    frequency_hz, before = scipy.signal.welch(waveform[0], RATE_HZ, nperseg=512)
    _, after = scipy.signal.welch(filtered[0], RATE_HZ, nperseg=512)
    expected_db = np.interp(frequency_hz, np.fft.rfftfreq(20 * RATE_HZ, 1 / RATE_HZ), expected_db)
    assert np.ptp(expected_db) > 3
    np.testing.assert_allclose(10 * np.log10(after / before)[8:-2], expected_db[8:-2], atol=0.3)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_weights_and_labels(alpha: float):
    count = 1000
    waveform, targets = np.eye(count, 2 * count, dtype=np.float32), np.eye(count, dtype=np.float32)
    mixed, labels = mixup(waveform, targets, SEED, alpha)
    np.testing.assert_array_equal(mixed[:, :count], labels)
    share, partner = np.diag(labels), labels.numpy()[np.arange(count), np.arange(count) - 1]
    np.testing.assert_allclose(share + partner, 1, atol=1e-6)
    assert np.count_nonzero(labels) <= 2 * count and share.min() >= 0.5
    folded = np.sort(np.maximum(share, 1 - share))
    weights = np.random.default_rng(0).beta(alpha, alpha, 20000)
    assert scipy.stats.ks_2samp(folded, np.maximum(weights, 1 - weights)).pvalue > 1e-3


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_draw_follows_from_seed_and_place(name: str, rng):
    function = FUNCTIONS[name]
    waveform = np.repeat(rng.standard_normal((1, 1001)).astype(np.float32), 8, axis=0)
    if name == "mixup":
        waveform = waveform * np.arange(1, 9, dtype=np.float32)[:, np.newaxis]
    keras.config.set_dtype_policy("mixed_float16")
    try:
        once = function(waveform, SEED)
    finally:
        keras.config.set_dtype_policy("float32")
    assert once.dtype == tf.float32 and once.shape == waveform.shape
    np.testing.assert_array_equal(function(waveform, SEED), once)
    assert not np.array_equal(function(waveform, tf.constant([3, 8])), once)
    assert not np.array_equal(function(waveform, tf.constant([4, 7])), once)
    ratio = once.numpy() / waveform
    assert len({row.tobytes() for row in ratio.round(3)}) >= (2 if name == "polarity_inversion" else 7)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_any_size_in_a_compiled_graph(jit_compile: bool, rng):
    def apply(waveform: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: function(waveform, seed) for name, function in FUNCTIONS.items()}

    signature = [tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([2], tf.int32)]
    graph = tf.function(apply, input_signature=signature, jit_compile=jit_compile)
    for shape in ((2, 1000), (5, 777)):
        waveform = rng.standard_normal(shape).astype(np.float32)
        results, again, eager = graph(waveform, SEED), graph(waveform, SEED), apply(waveform, SEED)
        for name, result in results.items():
            np.testing.assert_array_equal(result, again[name], err_msg=name)
            assert result.shape == shape and np.isfinite(result).all() and not np.array_equal(result, waveform), name
            if not jit_compile:  # XLA makes other random numbers of the same seed
                np.testing.assert_allclose(result, eager[name], atol=1e-4, err_msg=name)
