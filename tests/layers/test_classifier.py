"""One contract for every front end: listing one in LAYERS is what covers it. For networks see test_contract.py."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from layers.classifier import build_audio_classifier
from layers.front_ends.leaf import Leaf
from layers.front_ends.learnable_mel import PcenMelSpectrogram, TrainableMelSpectrogram
from layers.front_ends.log_mel import LogMelSpectrogram
from layers.front_ends.musicnn_mel import MusicnnMelSpectrogram
from layers.front_ends.registry import FRONT_ENDS, build_front_end

# Other than the defaults.
MEL = {
    "sample_rate_hz": 8000,
    "n_fft": 256,
    "hop_length": 100,
    "n_mels": 20,
    "fmin_hz": 10.0,
    "fmax_hz": 3000.0,
    "center": False,
    "pad_mode": "constant",
    "mel_scale": "htk",
    "mel_norm": None,
}
LOG_MEL = MEL | {"power": 1.0, "top_db": 60.0, "scaling": "standardized"}
PCEN = {"gain": 0.8, "bias": 1.0, "pcen_power": 0.3, "time_constant_seconds": 0.1, "epsilon": 1e-5, "scaling": "raw"}
LEAF = {name: MEL[name] for name in ("sample_rate_hz", "hop_length", "n_mels", "fmin_hz", "fmax_hz", "pad_mode")}
# (constructor, arguments)
LAYERS = [
    (LogMelSpectrogram, LOG_MEL),
    (TrainableMelSpectrogram, LOG_MEL),
    (PcenMelSpectrogram, MEL | PCEN),
    (Leaf, LEAF | {"stride": 5, "scaling": "raw"}),
    (
        MusicnnMelSpectrogram,
        {name: MEL[name] for name in ("sample_rate_hz", "n_fft", "hop_length", "n_mels", "fmin_hz", "fmax_hz")}
        | {"pad_mode": "reflect"},
    ),
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


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_front_ends_by_name_are_drop_ins(name: str, policy: str, rng):
    settings = {"sample_rate_hz": 8000, "n_fft": 512, "hop_length": 128, "n_mels": 32, "fmax_hz": 3900.0}
    front_end = build_front_end(name, **settings, scaling="standardized")
    assert front_end.name == name
    for key in front_end.settings.keys() & settings.keys():
        assert getattr(front_end, key) == settings[key]
    waveform = rng.standard_normal((3, 8001)).astype(np.float32) * np.array([[1], [0.01], [0]], np.float32)
    image = front_end(waveform)
    assert image.dtype == tf.float32 and image.shape == (3, 63, 32, 1)
    if "scaling" in front_end.settings:
        np.testing.assert_allclose(np.mean(image, axis=(1, 2, 3)), 0, atol=1e-4)
        np.testing.assert_allclose(np.std(image, axis=(1, 2, 3)), [1, 1, 0], atol=1e-2)  # silence is flat, not NaN
    np.testing.assert_array_equal(np.ptp(image[2], axis=(0, 1)), 0)
    np.testing.assert_allclose(front_end(waveform[1:2]), image[1:2], atol=1e-4)
    shortest = front_end.shortest_waveform(40)
    assert front_end(waveform[:1, :shortest]).shape[1] == 40
    assert front_end.compute_output_shape((1, shortest - 1))[1] == 39
    with pytest.raises(ValueError, match=f"expected waveforms of at least {front_end.min_samples} samples"):
        front_end(waveform[:, : front_end.min_samples - 1])
    front_end(waveform[:, : front_end.min_samples])


def test_unknown_front_end_and_wrong_scaling():
    with pytest.raises(ValueError, match="received 'leav'; choose one of: leaf"):
        build_front_end("leav")
    for name in ("pcen", "leaf"):
        with pytest.raises(ValueError, match=r"scaling to be one of .'standardized', 'raw'., received 'unit'"):
            build_front_end(name, scaling="unit")


def test_cnn2d_is_the_network_of_the_study():
    model = build_audio_classifier("cnn2d", 3, LogMelSpectrogram(), crop_samples=639 * 512)
    assert model.count_params() == 202_115
    kinds = [(layer.filters, layer.kernel_size[0]) for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert kinds == [(32, 9), (64, 5), (128, 3)]
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.2, 0.3, 0.3, 0.3, 0.3]
    assert model.layers[1].compute_output_shape((1, 639 * 512)) == (1, 640, 128, 1)


def test_unknown_network_and_too_few_labels():
    with pytest.raises(ValueError, match="received 'cnn2d_bm'; choose one of: cnn2d_bn, cnn2d,"):
        build_audio_classifier("cnn2d_bm", 3, small_front_end())
    with pytest.raises(ValueError, match="at least 2 labels"):
        build_audio_classifier("cnn2d", 1, small_front_end())


def test_loss_is_computed_on_logits():
    # A probability of exactly 0 would otherwise be clipped, and give no gradient to learn from.
    model = keras.Sequential([keras.Input((2,)), keras.layers.Softmax()])
    loss = tf.function(lambda x: keras.losses.SparseCategoricalCrossentropy()(tf.constant([1]), model(x)))
    assert float(loss(tf.constant([[500.0, 0.0]]))) == pytest.approx(500)
