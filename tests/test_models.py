"""One contract for every layer and every network: listing one in LAYERS or the registry is what covers it."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from layers.classifier import build_audio_classifier
from layers.log_mel import LogMelSpectrogram
from layers.models import NETWORKS

# (constructor, arguments other than the defaults)
LAYERS = [
    (
        LogMelSpectrogram,
        {
            "sample_rate_hz": 8000,
            "n_fft": 256,
            "hop_length": 100,
            "n_mels": 20,
            "fmin_hz": 10.0,
            "fmax_hz": 3000.0,
            "center": False,
            "pad_mode": "constant",
            "power": 1.0,
            "mel_scale": "htk",
            "mel_norm": None,
            "top_db": 60.0,
            "scaling": "standardized",
        },
    )
]


@pytest.fixture(params=["float32", "mixed_float16", "mixed_bfloat16"])
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def small_front_end() -> LogMelSpectrogram:
    return LogMelSpectrogram(sample_rate_hz=8000, n_fft=256, hop_length=128, n_mels=32)


@pytest.mark.parametrize(("layer_class", "arguments"), LAYERS)
class TestEveryLayer:
    def test_attributes_are_the_arguments_and_config_round_trips(self, layer_class, arguments, rng):
        layer = layer_class(**arguments, name="x")
        for name, value in arguments.items():
            assert getattr(layer, name) == value
        again = layer_class.from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        waveform = rng.standard_normal((2, 4000)).astype(np.float32)
        np.testing.assert_array_equal(again(waveform), layer(waveform))

    def test_symbolic_shape_is_the_eager_one(self, layer_class, arguments, policy):
        layer = layer_class(**arguments)
        for samples in (4000, 4001, 5123):
            eager = layer(np.zeros((2, samples), np.float32))
            symbolic = layer(keras.KerasTensor((2, samples)))
            assert tuple(symbolic.shape) == tuple(eager.shape) == layer.compute_output_shape((2, samples))
        assert layer(keras.KerasTensor((None, None))).shape[0] is None

    def test_unknown_shape_in_a_graph(self, layer_class, arguments, rng):
        layer = layer_class(**arguments)
        graph = tf.function(layer, input_signature=[tf.TensorSpec([None, None], tf.float32)])
        for shape in ((1, 4000), (3, 6001)):
            waveform = rng.standard_normal(shape).astype(np.float32)
            np.testing.assert_allclose(graph(waveform), layer(waveform), atol=1e-5)

    def test_saved_in_a_model(self, layer_class, arguments, tmp_path: Path, rng):
        model = keras.Sequential([keras.Input((None,)), layer_class(**arguments)])
        model.save(tmp_path / "m.keras")
        waveform = rng.standard_normal((2, 4000)).astype(np.float32)
        np.testing.assert_array_equal(keras.models.load_model(tmp_path / "m.keras")(waveform), model(waveform))


@pytest.mark.parametrize("network", NETWORKS)
class TestEveryNetwork:
    def test_waveform_in_probabilities_out(self, network: str, policy: str, rng):
        model = build_audio_classifier(network, 4, small_front_end())
        for shape in ((1, 8000), (3, 12345)):
            probabilities = model(rng.standard_normal(shape).astype(np.float32))
            assert probabilities.dtype == tf.float32 and probabilities.shape == (shape[0], 4)
            np.testing.assert_allclose(np.sum(probabilities, axis=1), 1, atol=1e-5)
        assert len(model.get_layer("embedding").output.shape) == 2

    def test_fits_a_handful_of_clips(self, network: str, policy: str, rng):
        keras.utils.set_random_seed(0)
        model = build_audio_classifier(network, 2, small_front_end())
        time = np.arange(4000) / 8000
        waveform = np.stack([np.sin(2 * np.pi * hz * time) for hz in (200, 300, 250, 2000, 3000, 2500)]).astype(
            "float32"
        )
        waveform += 0.01 * rng.standard_normal(waveform.shape).astype("float32")
        model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
        # Half precision is emulated, slowly, on a CPU: there a few finite steps must do.
        epochs = 60 if policy == "float32" else 3
        losses = model.fit(waveform, np.array([0, 0, 0, 1, 1, 1]), epochs=epochs, verbose=0).history["loss"]
        assert np.isfinite(losses).all()
        assert policy != "float32" or np.mean(losses[-5:]) < 0.2

    def test_saved_and_loaded(self, network: str, policy: str, tmp_path: Path, rng):
        model = build_audio_classifier(network, 3, small_front_end())
        model.save(tmp_path / "m.keras")
        waveform = rng.standard_normal((2, 8000)).astype(np.float32)
        np.testing.assert_array_equal(keras.models.load_model(tmp_path / "m.keras")(waveform), model(waveform))

    def test_smallest_size_is_what_the_registry_says(self, network: str):
        smallest = NETWORKS[network].min_size
        NETWORKS[network].build(keras.Input((smallest, smallest, 1)))
        hop_length = small_front_end().hop_length
        build_audio_classifier(network, 2, small_front_end(), crop_samples=(smallest - 1) * hop_length)
        with pytest.raises(ValueError, match=f"at least {smallest} frames, received {smallest - 1}; use a longer"):
            build_audio_classifier(network, 2, small_front_end(), crop_samples=(smallest - 1) * hop_length - 1)
        few_mels = LogMelSpectrogram(n_mels=smallest - 1)
        with pytest.raises(ValueError, match=f"at least {smallest} mel bands"):
            build_audio_classifier(network, 2, few_mels)


def test_cnn2d_is_the_network_of_the_study():
    model = build_audio_classifier("cnn2d", 3, LogMelSpectrogram(), crop_samples=639 * 512)
    assert model.count_params() == 202_115
    kinds = [(layer.filters, layer.kernel_size[0]) for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert kinds == [(32, 9), (64, 5), (128, 3)]
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.2, 0.3, 0.3, 0.3, 0.3]
    assert model.layers[1].compute_output_shape((1, 639 * 512)) == (1, 640, 128, 1)


def test_unknown_network_and_too_few_labels():
    with pytest.raises(ValueError, match="received 'cnn2d_bm'; choose one of: cnn2d_bn, cnn2d"):
        build_audio_classifier("cnn2d_bm", 3, small_front_end())
    with pytest.raises(ValueError, match="at least 2 labels"):
        build_audio_classifier("cnn2d", 1, small_front_end())


def test_loss_is_computed_on_logits():
    # A probability of exactly 0 would otherwise be clipped, and give no gradient to learn from.
    model = keras.Sequential([keras.Input((2,)), keras.layers.Softmax()])
    loss = tf.function(lambda x: keras.losses.SparseCategoricalCrossentropy()(tf.constant([1]), model(x)))
    assert float(loss(tf.constant([[500.0, 0.0]]))) == pytest.approx(500)
