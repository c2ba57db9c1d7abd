"""Each front end as Keras users use a layer: first in a Sequential, in tf.data, saved, exported, and called wrongly."""

from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import layers
from layers import FRONT_ENDS, build_front_end

# Padded by reflection, so that every front end needs some samples.
SETTINGS = {"sample_rate_hz": 8000, "n_fft": 512, "hop_length": 256, "n_mels": 16, "pad_mode": "reflect"}
SAMPLES = 4000
LABELS = np.arange(8) % 2
each_front_end = pytest.mark.parametrize("front_end", FRONT_ENDS)


@pytest.fixture
def waveforms(rng) -> np.ndarray:
    return (0.1 * rng.standard_normal((8, SAMPLES))).astype(np.float32)


def sequential(front_end: str, *, shape: tuple[int | None, ...] | None = None, jit_compile: bool = False):
    model = keras.Sequential(
        [
            *([keras.Input(shape)] if shape else []),
            build_front_end(front_end, **SETTINGS),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax", dtype="float32"),
        ]
    )
    # An optimizer with a state of its own would double the time that Keras takes to trace a step.
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=jit_compile)
    return model


@pytest.fixture
def policy(request: pytest.FixtureRequest) -> Iterator[str]:
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@each_front_end
@pytest.mark.parametrize("policy", ["mixed_float16"], indirect=True)
def test_trained_saved_and_exported(front_end: str, policy: str, waveforms, tmp_path: Path):
    model = sequential(front_end)
    history = model.fit(waveforms, LABELS, batch_size=4, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    predicted = model.predict(waveforms, verbose=0)
    model.export(tmp_path / "export", verbose=False)
    exported = tf.saved_model.load(tmp_path / "export")
    np.testing.assert_array_equal(exported.serve(waveforms), predicted)
    model.save(tmp_path / "model.keras")
    loaded = layers.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(waveforms, verbose=0), predicted)
    loaded.run_eagerly = True  # its graph would be the one that has been traced above
    assert np.isfinite(loaded.fit(waveforms, LABELS, verbose=0).history["loss"]).all()


@pytest.mark.slow
@each_front_end
@pytest.mark.parametrize("policy", ["mixed_bfloat16"], indirect=True)
def test_compiled_by_xla_for_waveforms_of_any_length(front_end: str, policy: str, waveforms, tmp_path: Path):
    model = sequential(front_end, shape=(None,), jit_compile=True)
    assert np.isfinite(model.fit(waveforms, LABELS, verbose=0).history["loss"]).all()
    predicted = model.predict(waveforms, verbose=0)
    model.export(tmp_path / "export", verbose=False)
    exported = tf.saved_model.load(tmp_path / "export")
    # Compiled by XLA, the network rounds to half precision elsewhere.
    np.testing.assert_allclose(exported.serve(waveforms), predicted, rtol=0, atol=1e-2)


@each_front_end
def test_in_tf_data_and_on_every_kind_of_mono(front_end: str, waveforms):
    layer = build_front_end(front_end, **SETTINGS)
    images = layer(waveforms).numpy()
    dataset = tf.data.Dataset.from_tensor_slices((waveforms, LABELS))
    # The layer is made anew, so that its weights are built inside of the map.
    for jobs, ours in ((None, layer), (tf.data.AUTOTUNE, build_front_end(front_end, **SETTINGS))):
        mapped = dataset.batch(4).map(lambda waveform, label, ours=ours: (ours(waveform), label), jobs)
        assert mapped.element_spec[0].shape[1:] == images.shape[1:]
        found = np.concatenate([batch for batch, _ in mapped.as_numpy_iterator()])
        np.testing.assert_allclose(found, images, atol=1e-5)
    alone = next(dataset.map(lambda waveform, label: (layer(waveform), label)).as_numpy_iterator())[0]
    for one in (alone, layer(waveforms[0])):
        np.testing.assert_allclose(one, images[0], atol=1e-5)
    assert layer.compute_output_shape((SAMPLES,)) == alone.shape
    with_channel = waveforms[..., np.newaxis]  # as keras.utils.audio_dataset_from_directory yields them
    np.testing.assert_array_equal(layer(with_channel), images)
    assert layer.compute_output_shape(with_channel.shape) == images.shape
    model = sequential(front_end, shape=(None, 1))
    assert model(with_channel).shape == (8, 2)
    np.testing.assert_array_equal(layer(waveforms.astype(np.float64)), images)
    np.testing.assert_array_equal(layer(waveforms.astype(np.float16)), layer(waveforms.astype(np.float16) * 1.0))


def stereo(waveforms: np.ndarray) -> np.ndarray:
    return np.stack([waveforms, waveforms], axis=-1)


@each_front_end
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (stereo, r"received the shape \(8, 4000, 2\); average .* keras\.ops\.mean"),
        (lambda x: x[:, :, np.newaxis, np.newaxis], r"or one waveform \[samples\], received the shape"),
        (lambda x: np.float32(0), r"received the shape \(\)"),
        (lambda x: (x * 2**15).astype(np.int16), r"received int16; divide them by 32768, with tf\.cast"),
        (lambda x: (x * 2**7 + 2**7).astype(np.uint8), r"received uint8; .*/ 128 - 1"),
        (lambda x: x > 0, "received bool; convert"),
        (lambda x: x[:, :100], r"at least \d+ samples, received 100; use longer waveforms or a smaller"),
        (lambda x: x[0, :, np.newaxis], r"received 1; .*; a single waveform has the shape \[samples\]"),
        (lambda x: x[0, :0], "received 0; use longer"),
    ],
)
def test_what_is_no_mono_waveform_is_one_sentence(
    front_end: str, change: Callable[[np.ndarray], np.ndarray], message: str, waveforms
):
    layer = build_front_end(front_end, **SETTINGS)
    with pytest.raises(ValueError, match=rf"{type(layer).__name__} expected (mono )?waveforms .*{message}"):
        layer(change(waveforms))


@each_front_end
def test_what_only_a_running_graph_knows(front_end: str, waveforms):
    layer = build_front_end(front_end, **SETTINGS)
    dataset = tf.data.Dataset.from_generator(
        lambda: iter([waveforms[0], waveforms[0, :100]]), output_signature=tf.TensorSpec([None], tf.float32)
    )
    images = iter(dataset.map(layer))
    assert next(images).shape == layer.compute_output_shape((SAMPLES,))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=f"expected waveforms of at least {layer.min_samples} samp"
    ):
        next(images)
    # Keras's loader of WAV files does not say how many channels there are.
    channels = tf.data.Dataset.from_generator(
        lambda: iter([waveforms[..., np.newaxis], stereo(waveforms)]),
        output_signature=tf.TensorSpec([None, None, None], tf.float32),
    )
    images = iter(channels.map(layer))
    np.testing.assert_allclose(next(images), layer(waveforms), atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected mono waveforms; average the channels"):
        next(images)
    unknown = dataset.map(lambda waveform: tf.ensure_shape(tf.numpy_function(np.abs, [waveform], tf.float32), None))
    with pytest.raises(ValueError, match=r"unknown shape; say it with tf\.ensure_shape"):
        unknown.map(layer)


@pytest.mark.parametrize("policy", ["mixed_bfloat16"], indirect=True)
def test_mfcc_in_a_model(policy: str, waveforms, tmp_path: Path):
    log_mel = layers.LogMelSpectrogram(scaling="decibel", **SETTINGS)
    cepstra = keras.layers.Lambda(layers.mfcc, arguments={"n_mfcc": 13}, dtype="float32")
    model = keras.Sequential([keras.Input((None,)), log_mel, cepstra])
    found = model.predict(waveforms, verbose=0)
    np.testing.assert_allclose(found, layers.mfcc(log_mel(waveforms), 13), atol=1e-4)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(layers.load_model(tmp_path / "model.keras").predict(waveforms, verbose=0), found)
