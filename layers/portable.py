"""A trained model in operations that other runtimes have: its front end's Fourier transform, which is kapre's, is replaced."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from layers.front_ends.log_mel import LogMelSpectrogram
from layers.front_ends.registry import find_front_end

# (padded waveform [batch, samples], n_fft, hop_length) -> power spectra [batch, frames, n_fft // 2 + 1]
PowerSpectrum = Callable[[tf.Tensor, int, int], tf.Tensor]


def rfft_power_spectrum(waveform: tf.Tensor, n_fft: int, hop_length: int) -> tf.Tensor:
    """Computes power spectra as TFLite can: its FFT takes the last axis only, and kapre's waveform has channels there.

    Args:
        waveform: padded, float32 [batch, samples].
        n_fft: window and FFT length in samples; TFLite's FFT takes powers of two only.
        hop_length: samples between frames.

    Returns:
        Squared magnitudes, float32 [batch, frames, n_fft // 2 + 1].
    """
    stft = tf.signal.stft(waveform, n_fft, hop_length, n_fft)
    return tf.square(tf.math.real(stft)) + tf.square(tf.math.imag(stft))


def convolution_power_spectrum(waveform: tf.Tensor, n_fft: int, hop_length: int) -> tf.Tensor:
    """Computes power spectra as a convolution with windowed cosines and sines: for ONNX, and for any n_fft in TFLite.

    Args:
        waveform: padded, float32 [batch, samples].
        n_fft: window and FFT length in samples.
        hop_length: samples between frames.

    Returns:
        Squared magnitudes, float32 [batch, frames, n_fft // 2 + 1].
    """
    bins = n_fft // 2 + 1
    time, frequency = np.arange(n_fft), np.arange(bins)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / n_fft)  # periodic Hann
    # The product is reduced before the trigonometry, which is inexact for large angles.
    angle = 2 * np.pi / n_fft * (time[:, np.newaxis] * frequency % n_fft)  # [n_fft, bins]
    kernel = window[:, np.newaxis] * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    both = tf.nn.conv1d(
        tf.expand_dims(waveform, -1), kernel[:, np.newaxis, :].astype(np.float32), hop_length, "VALID"
    )  # [batch, frames, 2 * bins]
    return tf.square(both[:, :, :bins]) + tf.square(both[:, :, bins:])


def portable_classifier(
    model: keras.Model, power_spectrum: PowerSpectrum, min_samples: int
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Rebuilds a trained model on another Fourier transform, if its front end has one at all.

    Args:
        model: from `build_audio_classifier`, in float32.
        power_spectrum: one of this module's.
        min_samples: waveforms that are shorter are padded with zeros to this length.

    Returns:
        A function from waveform [batch, samples] to {"probabilities" [batch, classes], "embedding" [batch, units]}.

    Raises:
        ValueError: the model computes in half precision.
    """
    front_end = find_front_end(model)
    half = sorted({layer.compute_dtype for layer in model.layers} - {"float32"})
    if half:
        raise ValueError(
            f"expected a model that computes in float32, received one in {', '.join(half)}; train without "
            "--mixed_precision to convert it to TFLite or ONNX"
        )
    fourier = front_end if isinstance(front_end, LogMelSpectrogram) else None
    outputs = [model.output, model.get_layer("embedding").output]
    network = keras.Model(fourier.output if fourier else model.input, outputs)

    def classify(waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        missing = tf.maximum(min_samples - tf.shape(waveform)[1], 0)
        features = tf.pad(waveform, [[0, 0], [0, missing]])
        if fourier:
            power = power_spectrum(fourier.padded(features), fourier.n_fft, fourier.hop_length)
            features = fourier.image(power)
        probabilities, embedding = network(features, training=False)
        return {"probabilities": probabilities, "embedding": embedding}

    return classify
