"""The learnable front ends against independent implementations."""

import librosa
import numpy as np
import pytest
import tensorflow as tf

from layers.front_ends.leaf import Leaf
from layers.front_ends.learnable_mel import PcenMelSpectrogram, TrainableMelSpectrogram
from layers.front_ends.log_mel import LogMelSpectrogram
from layers.front_ends.pcen import Pcen

RATE_HZ = 8000
MEL = {"sample_rate_hz": RATE_HZ, "n_fft": 512, "hop_length": 128, "n_mels": 24}


@pytest.fixture
def waveform(rng) -> np.ndarray:
    """Noise that grows, two examples of different loudness."""
    return (rng.standard_normal((2, 8000)) * np.linspace(0.01, 0.3, 8000) * [[1], [0.1]]).astype(np.float32)


def test_untrained_trainable_mel_is_log_mel(waveform):
    for scaling in ("unit", "standardized", "decibel"):
        trainable, fixed = (cls(scaling=scaling, **MEL) for cls in (TrainableMelSpectrogram, LogMelSpectrogram))
        np.testing.assert_array_equal(trainable(waveform), fixed(waveform))


def test_trained_mel_keeps_the_edges_of_its_bands(waveform):
    layer = TrainableMelSpectrogram(scaling="decibel", **MEL)
    layer(waveform)
    filters = librosa.filters.mel(sr=RATE_HZ, n_fft=512, n_mels=24).T
    gain = np.random.default_rng(1).normal(size=filters.shape)
    layer.set_weights([gain])
    stft = librosa.stft(waveform[0], n_fft=512, hop_length=128, pad_mode="reflect")
    expected = librosa.power_to_db((np.abs(stft.T) ** 2) @ (filters * np.exp(gain)), ref=np.max)
    np.testing.assert_allclose(layer(waveform)[0, :, :, 0], expected, atol=0.001)


def test_pcen_is_librosas(waveform):
    layer = PcenMelSpectrogram(**MEL, gain=0.9, bias=1.5, pcen_power=0.4, time_constant_seconds=0.2, scaling="raw")
    for example, ours in zip(waveform, layer(waveform)[..., 0], strict=True):
        mel = librosa.feature.melspectrogram(
            y=example, sr=RATE_HZ, n_fft=512, hop_length=128, n_mels=24, pad_mode="reflect"
        )
        frames = 0.2 * RATE_HZ / 128
        smoothing = (np.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
        settings = {"sr": RATE_HZ, "hop_length": 128, "gain": 0.9, "bias": 1.5, "power": 0.4, "time_constant": 0.2}
        expected = librosa.pcen(mel, **settings, zi=(1 - smoothing) * mel[:, :1])
        np.testing.assert_allclose(ours, expected.T, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 700])
def test_pcen_smooths_as_the_recursion_does(frames: int, rng):
    energy = rng.random((1, frames, 3)).astype(np.float32)
    smoothed = [energy[:, 0].astype(np.float64)]
    for t in range(1, frames):
        smoothed.append(0.99 * smoothed[-1] + 0.01 * energy[:, t])
    layer = Pcen(gain=0.98, bias=2.0, power=0.5, smoothing=0.01)
    expected = (energy / (1e-6 + np.stack(smoothed, axis=1)) ** 0.98 + 2) ** 0.5 - 2**0.5
    np.testing.assert_allclose(layer(energy), expected, rtol=1e-4, atol=1e-5)


def leaf_energies(waveform: np.ndarray, layer: Leaf, centre: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Gabor filters, squared modulus at every sample, Gaussian pooling: [frames, n_mels]."""
    half, hop = int(0.025 * layer.sample_rate_hz / 2), layer.hop_length
    pool = round(1.25 * hop)
    padded = np.pad(waveform.astype(np.float64), half + pool, mode="reflect")
    time, lag = np.arange(-half, half + 1), np.arange(-pool, pool + 1)
    weights = np.exp(-0.5 * (lag / (0.4 * pool)) ** 2)
    weights /= weights.sum()
    bands = []
    for eta, sigma in zip(centre, width, strict=True):
        gabor = np.exp(-0.5 * (time / sigma) ** 2 + 1j * eta * time) / (np.sqrt(2 * np.pi) * sigma)
        modulus = np.abs(np.convolve(padded, gabor, "valid")) ** 2
        bands.append(np.convolve(modulus, weights, "valid")[::hop])
    return np.stack(bands, axis=1)


@pytest.mark.parametrize(("stride", "tolerance"), [(1, 0.002), (None, 0.1)])
def test_leaf_is_the_papers_formula(stride: int | None, tolerance: float, waveform):
    layer = Leaf(RATE_HZ, hop_length=128, n_mels=24, fmin_hz=100.0, stride=stride, scaling="raw")
    ours = layer(waveform)[0, :, :, 0]
    weights = {weight.name: weight.numpy() for weight in layer.weights}
    centre_hz = weights["centre"] * RATE_HZ / (2 * np.pi)
    expected_hz = librosa.mel_frequencies(26, fmin=100.0, fmax=RATE_HZ / 2)[1:-1]
    np.testing.assert_allclose(centre_hz, expected_hz, atol=0.3)
    energy = leaf_energies(waveform[0], layer, weights["centre"], np.exp(weights["log_width"]))[: len(ours)]
    expected = librosa.pcen(
        energy.T, gain=0.96, bias=2.0, power=0.5, b=0.04, eps=1e-12, zi=0.96 * energy[0][:, np.newaxis]
    ).T
    # A stride of 16 samples undersamples the modulus of the widest bands a little.
    assert np.abs(ours - expected).mean() / expected.std() < tolerance


def test_leaf_filters_are_as_wide_as_the_mel_filters():
    layer = Leaf(RATE_HZ, n_mels=8, fmin_hz=1000.0)
    layer.build((None, None))
    edges_hz = librosa.mel_frequencies(10, fmin=1000.0, fmax=4000.0)
    width_hz = np.sqrt(2 * np.log(2)) / np.pi / np.exp(layer.weights[1].numpy()) * RATE_HZ
    np.testing.assert_allclose(width_hz, (edges_hz[2:] - edges_hz[:-2]) / 2, rtol=0.02)


def test_gradients_of_silence_are_finite():
    silence = tf.zeros([1, 8000])
    for layer in (Leaf(RATE_HZ, n_mels=8), PcenMelSpectrogram(**MEL), TrainableMelSpectrogram(**MEL)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(silence) - 1))
        for gradient in tape.gradient(loss, layer.trainable_variables):
            assert np.isfinite(gradient).all()
