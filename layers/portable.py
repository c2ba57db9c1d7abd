"""The log-mel front end in the operations that other runtimes have, for converting a trained model."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from layers.log_mel import LogMelSpectrogram, find_front_end


class RfftLogMelSpectrogram(LogMelSpectrogram):
    """For TFLite: its FFT takes the last axis only, so the waveform must have no channel axis (kapre's has).

    That FFT also takes powers of two only.
    """

    def _power_spectrum(self, waveform: tf.Tensor) -> tf.Tensor:
        stft = tf.signal.stft(waveform, self.n_fft, self.hop_length, self.n_fft)  # [batch, frames, n_fft // 2 + 1]
        return tf.expand_dims(tf.square(tf.math.real(stft)) + tf.square(tf.math.imag(stft)), -1)


class ConvolutionLogMelSpectrogram(LogMelSpectrogram):
    """For ONNX, and other lengths in TFLite: the Fourier transform as a convolution with windowed cosines and sines."""

    def _power_spectrum(self, waveform: tf.Tensor) -> tf.Tensor:
        bins = self.n_fft // 2 + 1
        time, frequency = np.arange(self.n_fft), np.arange(bins)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * time / self.n_fft)  # periodic Hann
        # The product is reduced before the trigonometry, which is inexact for large angles.
        angle = 2 * np.pi / self.n_fft * (time[:, np.newaxis] * frequency % self.n_fft)  # [n_fft, bins]
        kernel = window[:, np.newaxis] * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
        both = tf.nn.conv1d(
            tf.expand_dims(waveform, -1), kernel[:, np.newaxis, :].astype(np.float32), self.hop_length, "VALID"
        )  # [batch, frames, 2 * bins]
        return tf.expand_dims(tf.square(both[:, :, :bins]) + tf.square(both[:, :, bins:]), -1)


def portable_classifier(
    model: keras.Model, front_end_class: type[LogMelSpectrogram], min_samples: int
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Rebuilds a trained model on another implementation of its front end.

    Args:
        model: from `build_audio_classifier`, in float32.
        front_end_class: one of this module's.
        min_samples: waveforms that are shorter are padded with zeros to this length.

    Returns:
        A function from waveform [batch, samples] to {"probabilities" [batch, classes], "embedding" [batch, units]}.

    Raises:
        ValueError: the model computes in half precision, or has another front end.
    """
    original = find_front_end(model)
    half = sorted({layer.compute_dtype for layer in model.layers} - {"float32"})
    if half:
        raise ValueError(
            f"expected a model that computes in float32, received one in {', '.join(half)}; train without "
            "--mixed_precision to convert it to TFLite or ONNX"
        )
    network = keras.Model(original.output, [model.output, model.get_layer("embedding").output])

    def classify(waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        # Made here, so that its filterbank is a constant of the graph: converters take what comes from outside for input.
        front_end = front_end_class.from_config(original.get_config())
        missing = tf.maximum(min_samples - tf.shape(waveform)[1], 0)
        probabilities, embedding = network(front_end(tf.pad(waveform, [[0, 0], [0, missing]])), training=False)
        return {"probabilities": probabilities, "embedding": embedding}

    return classify
