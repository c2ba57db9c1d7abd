"""The networks by name, each from a log-mel image [batch, frames, n_mels, 1] to an embedding [batch, units]."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable

import keras
from keras import layers


def cnn2d(features: keras.KerasTensor) -> keras.KerasTensor:
    """The study's 2D CNN: 202,115 parameters with a head for three classes.

    Convolutions of 32 9x9 (same), 64 5x5 and 128 3x3 (valid) with one 2x2 pooling, global average pooling, and three
    dense layers under dropout. The study's image is [mels, frames], ours [frames, mels]: every kernel is square, so
    the network is the same.
    """
    x = layers.Conv2D(32, 9, padding="same", activation="relu")(features)  # [batch, frames, n_mels, 32]
    x = layers.MaxPooling2D(2)(x)
    x = layers.Dropout(0.2)(x)
    x = layers.Conv2D(64, 5, activation="relu")(x)
    x = layers.Conv2D(128, 3, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)  # [batch, 128]
    x = layers.Dropout(0.3)(x)
    for units in (256, 128, 64):
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(0.3)(x)
    return x


def cnn2d_bn(features: keras.KerasTensor) -> keras.KerasTensor:
    """A compact batch-normalised CNN that learns from small sets in minutes on a CPU.

    Batch normalisation's momentum is 0.8: with more (Keras's own is 0.99) the running statistics lag behind weights
    that move fast, validation stays at chance for the first epochs, and the epoch kept may be one of those. Pooling
    stands before the normalisation, which then has a quarter of the values to go through: a step takes a third of the
    time on a CPU.
    """
    x = features
    for filters in (16, 32, 64, 128):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D(2)(x)  # frames and mels halved
        x = layers.BatchNormalization(momentum=0.8)(x)
        x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)  # [batch, 128]
    x = layers.Dropout(0.3)(x)
    return x


@dataclasses.dataclass(frozen=True)
class Network:
    """One entry of the registry.

    Attributes:
        build: maps features [batch, frames, n_mels, 1] to an embedding [batch, units].
        min_size: fewest frames, and fewest mel bands, of which its convolutions and poolings leave something.
    """

    build: Callable[[keras.KerasTensor], keras.KerasTensor]
    min_size: int


NETWORKS = {
    "cnn2d": Network(cnn2d, min_size=14),
    "cnn2d_bn": Network(cnn2d_bn, min_size=16),
}


def get_network(name: str) -> Network:
    """Looks a network up by name.

    Raises:
        ValueError: there is none of that name; the message lists the names, nearest first.
    """
    if name not in NETWORKS:
        nearest = difflib.get_close_matches(name, NETWORKS, n=len(NETWORKS), cutoff=0.0)
        raise ValueError(f"expected a model name, received {name!r}; choose one of: {', '.join(nearest)}")
    return NETWORKS[name]
