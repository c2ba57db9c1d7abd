"""Networks that take the waveform [batch, samples] itself."""

from __future__ import annotations

import keras

from layers.networks.cnn import BATCH_NORM_MOMENTUM


def sample_cnn(waveform: keras.KerasTensor) -> keras.KerasTensor:
    """A 1D CNN of single samples, without a spectrogram: 1,848,707 parameters with a head for three classes.

    Lee, Park, Kim and Nam, "Sample-level deep convolutional neural networks for music auto-tagging using raw waveforms",
    2017, arXiv:1703.01789: their 3**9 model, which takes 59,049 samples (2.7 s at 22,050 Hz) to one vector by a strided
    convolution and nine more with poolings by 3. Here poolings pad, and what they leave is averaged, so that it takes
    any length. The first convolution computes in float32 under every precision policy, as front ends do: half
    precision would leave 8 to 11 bits of the waveform.

    Args:
        waveform: [batch, samples].

    Returns:
        Embedding [batch, 512].
    """
    x = keras.layers.Reshape((-1, 1), dtype="float32")(waveform)  # [batch, samples, 1]
    x = keras.layers.Conv1D(128, 3, strides=3, padding="same", use_bias=False, dtype="float32")(x)
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    x = keras.layers.ReLU()(x)
    for filters in (128, 128, 256, 256, 256, 256, 256, 256, 512):
        x = keras.layers.Conv1D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling1D(3, padding="same")(x)
    x = keras.layers.Conv1D(512, 1, use_bias=False)(x)
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling1D()(x)  # [batch, 512]
    return keras.layers.Dropout(0.5)(x)
