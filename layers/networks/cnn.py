"""2D CNNs of log-mel images [batch, frames, n_mels, 1]."""

from __future__ import annotations

import keras

# Of every batch normalisation here: see `cnn2d_bn`.
BATCH_NORM_MOMENTUM = 0.8


def cnn2d(features: keras.KerasTensor) -> keras.KerasTensor:
    """The study's 2D CNN: 202,115 parameters with a head for three classes.

    The study is a public project without a paper: its `convert.py` makes log-mel images of 128 x 640 from FMA small, and
    this is its `model4.py`, which tells Rock from Hip-Hop in 94 % of the clips.

    Convolutions of 32 9x9 (same), 64 5x5 and 128 3x3 (valid) with one 2x2 pooling, global average pooling, and three
    dense layers under dropout. The study's image is [mels, frames], ours [frames, mels]: every kernel is square, so
    the network is the same.

    Args:
        features: image [batch, frames, n_mels, 1].

    Returns:
        Embedding [batch, 64].
    """
    x = keras.layers.Conv2D(32, 9, padding="same", activation="relu")(features)  # [batch, frames, n_mels, 32]
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Dropout(0.2)(x)
    x = keras.layers.Conv2D(64, 5, activation="relu")(x)
    x = keras.layers.Conv2D(128, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)  # [batch, 128]
    x = keras.layers.Dropout(0.3)(x)
    for units in (256, 128, 64):
        x = keras.layers.Dense(units, activation="relu")(x)
        x = keras.layers.Dropout(0.3)(x)
    return x


def cnn2d_bn(features: keras.KerasTensor) -> keras.KerasTensor:
    """A compact batch-normalised CNN that learns from small sets in minutes on a CPU: 98,259 parameters for three classes.

    Batch normalisation's momentum is 0.8: with more (Keras's own is 0.99) the running statistics lag behind weights
    that move fast, validation stays at chance for the first epochs, and the epoch kept may be one of those. Pooling
    stands before the normalisation, which then has a quarter of the values to go through: a step takes a third of the
    time on a CPU.

    Args:
        features: image [batch, frames, n_mels, 1].

    Returns:
        Embedding [batch, 128].
    """
    x = features
    for filters in (16, 32, 64, 128):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.MaxPooling2D(2)(x)  # frames and mels halved
        x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)  # [batch, 128]
    x = keras.layers.Dropout(0.3)(x)
    return x


def short_chunk_resnet(features: keras.KerasTensor) -> keras.KerasTensor:
    """The short-chunk CNN with residual connections: 10,757,383 parameters with a head for three classes.

    Won, Ferraro, Bogdanov and Serra, "Evaluation of CNN-based automatic music tagging models", 2020, arXiv:2006.00751:
    seven residual blocks of two 3x3 convolutions that halve frames and mels, 128 to 512 filters at the full width of
    the authors' code, global maximum pooling and a dense layer of 512. Theirs sees 3.7 s of 128 mels in decibels. Only
    the batch normalisation differs, in its momentum (see `cnn2d_bn`). It is made for GPUs.

    Args:
        features: image [batch, frames, n_mels, 1].

    Returns:
        Embedding [batch, 512].
    """
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(features)
    for filters in (128, 128, 128, 256, 256, 256, 512):
        x = _residual_block(x, filters)  # frames and mels halved
    x = keras.layers.GlobalMaxPooling2D()(x)  # [batch, 512]
    x = keras.layers.Dense(512, use_bias=False)(x)
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    x = keras.layers.ReLU()(x)
    return keras.layers.Dropout(0.5)(x)


def _residual_block(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """Two convolutions, the first of stride 2, beside a strided one: Won et al.'s Res_2d."""
    shortcut = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
    shortcut = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(shortcut)
    x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    return keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))
