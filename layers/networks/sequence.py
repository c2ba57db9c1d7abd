"""Networks that take a log-mel image [batch, frames, n_mels, 1] as a sequence: recurrent ones and a transformer."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from layers.networks.cnn import BATCH_NORM_MOMENTUM


def conv1d_lstm(features: keras.KerasTensor) -> keras.KerasTensor:
    """Conv1D over frames, with the mels as channels, before an LSTM: 264,067 parameters for 128 mels and three classes.

    The study names it as what to try next; sizes are ours. Two convolutions with a pooling each leave one step in four
    frames (93 ms) to the LSTM, whose last state is the embedding. As in `cnn2d_bn`, pooling comes first.

    Args:
        features: image [batch, frames, n_mels, 1].

    Returns:
        Embedding [batch, 128].
    """
    x = keras.layers.Reshape((-1, features.shape[2]))(features)  # [batch, frames, n_mels]
    for filters, kernel_size in ((128, 5), (128, 3)):
        x = keras.layers.Conv1D(filters, kernel_size, padding="same", use_bias=False)(x)
        x = keras.layers.MaxPooling1D(2)(x)  # frames halved
        x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.Dropout(0.3)(x)
    x = keras.layers.LSTM(128)(x)  # [batch, 128]
    return keras.layers.Dropout(0.3)(x)


def crnn(features: keras.KerasTensor) -> keras.KerasTensor:
    """Convolutions, then two GRUs over time: 405,287 parameters for 128 mels and three classes.

    Choi, Fazekas, Sandler and Cho, "Convolutional recurrent neural networks for music classification", 2017,
    arXiv:1609.04243, in the widths of the first author's published code: 64, 128, 128 and 128 filters of 3x3 and GRUs
    of 32 units. Mels are pooled by 2, 3, 4 and 4 as there. Frames are pooled by 16 instead of 96, so that a crop of 5 s
    leaves the GRUs the 14 steps that they have there of 29 s.

    Args:
        features: image [batch, frames, n_mels, 1].

    Returns:
        Embedding [batch, 32].
    """
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(features)
    for filters, mels in ((64, 2), (128, 3), (128, 4), (128, 4)):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
        x = keras.layers.ELU()(x)
        x = keras.layers.MaxPooling2D((2, mels), padding="same")(x)
        x = keras.layers.Dropout(0.1)(x)
    x = keras.layers.Reshape((-1, x.shape[2] * x.shape[3]))(x)  # [batch, frames / 16, mels left * 128]
    x = keras.layers.GRU(32, return_sequences=True)(x)
    x = keras.layers.GRU(32)(x)  # [batch, 32]
    return keras.layers.Dropout(0.3)(x)


def audio_transformer(features: keras.KerasTensor) -> keras.KerasTensor:
    """A small transformer of log-mel patches: 826,627 parameters with a head for three classes.

    In the spirit of Gong, Chung and Glass, "AST: audio spectrogram transformer", 2021, arXiv:2104.01778, but from
    scratch and small: patches of 16x16 that do not overlap, four pre-normalised blocks of width 128 with four heads,
    and the mean over patches. Positions are sinusoidal in time and mel, so that any length will do; memory grows with
    the square of the length, to 30 s of audio without trouble.

    Args:
        features: image [batch, frames, n_mels, 1].

    Returns:
        Embedding [batch, 128].
    """
    width, heads = 128, 4
    x = keras.layers.Conv2D(width, 16, strides=16, padding="same")(features)  # [batch, frames / 16, n_mels / 16, width]
    x = SinusoidalPositions()(x)
    x = keras.layers.Reshape((-1, width))(x)  # [batch, patches, width]
    x = keras.layers.Dropout(0.1)(x)
    for _ in range(4):
        y = keras.layers.LayerNormalization(epsilon=1e-6)(x)
        y = keras.layers.MultiHeadAttention(heads, width // heads, dropout=0.1)(y, y)
        x = keras.layers.Add()([x, keras.layers.Dropout(0.1)(y)])
        y = keras.layers.LayerNormalization(epsilon=1e-6)(x)
        y = keras.layers.Dense(4 * width, activation="gelu")(y)
        y = keras.layers.Dense(width)(y)
        x = keras.layers.Add()([x, keras.layers.Dropout(0.1)(y)])
    x = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    return keras.layers.GlobalAveragePooling1D()(x)  # [batch, width]


@keras.saving.register_keras_serializable(package="melstream")
class SinusoidalPositions(keras.layers.Layer):
    """Adds positions to a grid of patches [batch, frames, bands, width], of any size.

    The first half of the width encodes the position in time, the second the band, each by sines and cosines of falling
    frequency (Vaswani et al., "Attention is all you need", 2017, arXiv:1706.03762). Width must be a multiple of 4.
    """

    def call(self, patches: tf.Tensor) -> tf.Tensor:
        _, frames, bands, _ = tf.unstack(tf.shape(patches))
        half = patches.shape[3] // 2
        time = tf.broadcast_to(_sinusoids(frames, half)[:, tf.newaxis], [frames, bands, half])
        band = tf.broadcast_to(_sinusoids(bands, half)[tf.newaxis], [frames, bands, half])
        return patches + tf.cast(tf.concat([time, band], axis=-1), patches.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


def _sinusoids(size: tf.Tensor, width: int) -> tf.Tensor:
    """Sines, then cosines of the positions, float32 [size, width]."""
    frequency = np.exp(-np.log(10_000) * np.arange(0, width, 2) / width).astype(np.float32)
    angle = tf.cast(tf.range(size), tf.float32)[:, tf.newaxis] * frequency
    return tf.concat([tf.sin(angle), tf.cos(angle)], axis=1)
