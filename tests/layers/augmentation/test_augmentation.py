"""Augmentation: every transform measured from outside, its seeds, and what is left of it where it is off: nothing."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import librosa
import numpy as np
import pytest
import scipy.signal
import scipy.stats
import tensorflow as tf
from PIL import Image
from support.small_run import AUGMENTATION, SMALL_FEATURES, SMALL_RUN

from experiments.builders import augmentation
from experiments.builders.model import build_model
from experiments.evaluation import evaluation
from experiments.exploration.augmentation import AUGMENTATIONS, _before_and_after, write_pictures
from experiments.settings import Settings
from layers.augmentation import waveform as augment
from layers.augmentation.spec_augment import SpecAugment
from layers.front_ends.registry import find_front_end
from layers.portable import portable_classifier, rfft_power_spectrum

SEED = tf.constant([3, 7])
RATE_HZ = 8000
FUNCTIONS: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "gain": lambda waveform, seed: augment.random_gain(waveform, seed, 6.0),
    "polarity": augment.random_polarity,
    "shift": lambda waveform, seed: augment.random_time_shift(waveform, seed, 500),
    "noise": lambda waveform, seed: augment.random_noise(waveform, seed, 5.0, 20.0),
    "equalizer": lambda waveform, seed: augment.random_equalizer(waveform, seed, RATE_HZ, 9.0),
    "mixup": lambda waveform, seed: augment.mixup(waveform, waveform[:, :3], seed, 0.5)[0],
}


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
    shifted = augment.random_time_shift(waveform, SEED, max_samples).numpy()
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
    mixed, labels = augment.mixup(waveform, targets, SEED, alpha)
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
    assert len({row.tobytes() for row in ratio.round(3)}) >= (2 if name == "polarity" else 7)


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
    expected = evaluation.make_predict_function(plain)(waveform)
    predict = evaluation.make_predict_function(augmented)
    np.testing.assert_array_equal(predict(waveform), expected)

    def operations(model: keras.Model) -> list[str]:
        graph = evaluation.make_predict_function(model).get_concrete_function().graph
        return sorted(op.type for op in graph.get_operations() if op.type != "Identity")

    assert operations(augmented) == operations(plain)
    portable = portable_classifier(augmented, rfft_power_spectrum, find_front_end(augmented).min_samples)
    np.testing.assert_allclose(portable(waveform)["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gain_db": -1.0}, "gain_db as a number from 0 .* received -1.0"),
        ({"random_eq_db": float("nan")}, "random_eq_db as a number"),
        ({"noise_snr_db_min": 10.0}, "noise_snr_db_min <= noise_snr_db_max, or neither .* 10.0 and None"),
        ({"noise_snr_db_min": 10.0, "noise_snr_db_max": 5.0}, "received 10.0 and 5.0"),
    ],
)
def test_settings_out_of_range(settings, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        augmentation.batch_augmentation(replace(settings, **changes))


def test_masks_out_of_range(settings):
    with pytest.raises(ValueError, match="expected time_masks of at least 0, received -1"):
        build_model(replace(settings, spec_augment_time_masks=-1), 3)
    with pytest.raises(ValueError, match="expected mel_width of at least 0, received -2"):
        SpecAugment(mel_width=-2)


def test_pictures_of_every_augmentation(small_fma, tmp_path: Path):
    settings = Settings(dataset="fma", data_dir=str(small_fma), **SMALL_RUN)
    few = replace(settings, gain_db=6.0, spec_augment_mel_masks=1)
    paths = write_pictures(few, tmp_path / "new" / "few", clips=1)
    assert [path.name for path in paths] == ["gain.png", "spec_augment.png", "all.png"]
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 300 and len(image.getcolors(1 << 24) or []) > 100
    # A picture for whatever training can do.
    assert {name for names in AUGMENTATIONS.values() for name in names} >= set(AUGMENTATION)
    with pytest.raises(ValueError, match="received none; add for example --random_eq_db=6"):
        write_pictures(settings, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_mixtures_are_named_by_their_shares(small_fma):
    settings = Settings(dataset="fma", data_dir=str(small_fma), **SMALL_RUN, mixup_alpha=1.0)
    time = np.arange(16000) / 8000
    waveform = np.stack([np.sin(2 * np.pi * hz * time) for hz in (300, 900, 2700)]).astype(np.float32)
    rows = _before_and_after(settings, tf.constant(waveform), tf.constant([0, 1, 2]), ("a", "b", "c"))
    for row, own, partner in zip(rows, "abc", "cab", strict=True):
        assert row[0].title == f"before: {own}"
        np.testing.assert_array_equal(row[0].waveform, waveform["abc".index(own)])
        for step, crop in enumerate(row[1:], 1):
            share = np.dot(crop.waveform, row[0].waveform) / np.dot(row[0].waveform, row[0].waveform)
            assert crop.title == f"step {step}: {own} {share:.2f} + {partner} {1 - share:.2f}"
            assert crop.decibel.shape == (63, 32) and crop.decibel.max() == 0
