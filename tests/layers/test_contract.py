"""One contract for every network and every front end: listing one in its registry is what covers it."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.networks import LARGE, PARAMETERS, SMALL, build, built_once, small_front_end

from layers.classifier import build_audio_classifier
from layers.front_ends.log_mel import LogMelSpectrogram
from layers.front_ends.registry import FRONT_ENDS, build_front_end
from layers.networks.registry import NETWORKS

# (network, front end)
CASES = [(network, entry.front_end or "log_mel") for network, entry in NETWORKS.items()] + [
    ("cnn2d_bn", front_end) for front_end in FRONT_ENDS if front_end != "log_mel"
]
QUICK_CASES = [case for case in CASES if case[0] not in LARGE]
each = pytest.mark.parametrize("case", CASES, ids="-".join)
each_quick = pytest.mark.parametrize("case", QUICK_CASES, ids="-".join)


@pytest.fixture
def model(case: tuple[str, str]) -> keras.Model:
    return built_once(*case)


@pytest.fixture
def waveform(rng) -> np.ndarray:
    return (0.1 * rng.standard_normal((3, 6600))).astype(np.float32)


@each
def test_any_length_and_batch_in_probabilities_out(model: keras.Model, rng):
    assert model.input_shape == (None, None) and len(model.get_layer("embedding").output.shape) == 2
    for shape in ((1, 8000), (2, 9345)):
        probabilities = model(rng.standard_normal(shape).astype(np.float32))
        assert probabilities.dtype == tf.float32 and probabilities.shape == (shape[0], 3)
        np.testing.assert_allclose(np.sum(probabilities, axis=1), 1, atol=1e-5)


@each
def test_an_example_does_not_depend_on_its_batch(model: keras.Model, waveform):
    loud = np.concatenate([waveform[:1], 100 * waveform[1:]])
    np.testing.assert_allclose(model(loud, training=False)[:1], model(waveform[:1], training=False), atol=1e-5)


@each_quick
def test_as_a_graph_it_gives_the_same(model: keras.Model, waveform):
    graph = tf.function(model, input_signature=[tf.TensorSpec([None, None], tf.float32)]).get_concrete_function()
    np.testing.assert_allclose(graph(waveform), model(waveform), atol=1e-5)


@each_quick
def test_saved_and_loaded(model: keras.Model, tmp_path: Path, waveform):
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "m.keras")(waveform), model(waveform))


@each_quick
def test_the_seed_decides_the_weights(case, model: keras.Model):
    for again, weights in zip(build(*case).get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(again, weights)


@each_quick
def test_half_precision(case, model: keras.Model, waveform):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = build(*case)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(model.get_weights())
    assert half.get_layer("logits").compute_dtype == "float32"
    assert half.layers[1].compute_dtype == "float32"  # what takes the waveform
    probabilities = half(waveform)
    assert probabilities.dtype == tf.float32
    np.testing.assert_allclose(probabilities, model(waveform), atol=0.05)


@each
def test_gradients_reach_every_weight(model: keras.Model, waveform):
    with tf.GradientTape() as tape:
        loss = keras.losses.SparseCategoricalCrossentropy()(np.array([0, 1, 2]), model(waveform, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all() and np.any(gradient != 0), variable.path


@pytest.mark.parametrize("network", [network for network in NETWORKS if network not in LARGE])
def test_number_of_parameters(network: str):
    model = build_audio_classifier(network, 3, build_front_end(NETWORKS[network].front_end or "log_mel"))
    assert model.count_params() == PARAMETERS[network]
    assert f"{PARAMETERS[network]:,} parameters" in NETWORKS[network].build.__doc__


@pytest.mark.parametrize("network", NETWORKS)
def test_smallest_size_is_what_the_registry_says(network: str):
    smallest = NETWORKS[network].min_size
    what = "samples" if NETWORKS[network].takes_waveform else "frames"
    samples = smallest if what == "samples" else max(1, (smallest - 1) * SMALL["hop_length"])
    front_end = small_front_end(network, "log_mel")
    if network not in LARGE:  # of these the minimum is Keras's own
        model = build_audio_classifier(network, 2, front_end, crop_samples=samples)
        assert np.isfinite(model(np.zeros((1, samples), np.float32))).all()
    if smallest > 1:  # a front end gives at least one frame
        with pytest.raises(ValueError, match=f"at least {smallest} {what}, received {smallest - 1}; use a longer"):
            build_audio_classifier(network, 2, front_end, crop_samples=samples - 1)
    if what == "frames":
        bands, message = smallest - 1, f"at least {smallest} mel bands"
        if own := NETWORKS[network].front_end:
            bands, message = 64, f"expected an image of 96 bands for musicnn, received 64; use the front end {own}"
        with pytest.raises(ValueError, match=message):
            build_audio_classifier(network, 2, LogMelSpectrogram(n_mels=bands))
        with pytest.raises(ValueError, match="expected a front end, received none"):
            build_audio_classifier(network, 2, None)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "front_end"), [("conv1d_lstm", "pcen"), ("cnn2d_bn", "leaf")])
def test_learns_a_handful_of_clips(network: str, front_end: str, rng):
    model = build(network, front_end)
    time = np.arange(2000) / 8000
    waveform = np.stack([np.sin(2 * np.pi * hz * time) for hz in (200, 300, 250, 2000, 3000, 2500)]).astype("float32")
    waveform += 0.01 * rng.standard_normal(waveform.shape).astype("float32")
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", jit_compile=False)
    losses = model.fit(waveform, np.array([0, 0, 0, 1, 1, 1]), epochs=30, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and np.mean(losses[-5:]) < 0.3
