"""What a replica computes in a step in which it has no example of its own.

The last batch of an epoch may have fewer examples than there are replicas, and every file of a replica's part may fail. The
replica must take part all the same, because the others wait for its share of each sum. It cannot do so with an empty batch:
kernels disagree about those (oneDNN's convolution gives [0, height, width, input channels] instead of output channels, and
`tf.pad` reflects no empty tensor). It computes one example of silence instead, which enters neither loss nor moments.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

_step = threading.local()  # TensorFlow traces each replica in a thread of its own


def with_stand_in(tensor: tf.Tensor) -> tf.Tensor:
    """Adds one row of zeros to a batch [0, ...]; any other batch stays as it is."""
    missing = tf.maximum(1 - tf.shape(tensor)[0], 0)
    return tf.pad(tensor, [[0, missing]] + [[0, 0]] * (tensor.shape.rank - 1))


@contextmanager
def examples_of_step(own: tf.Tensor, total: tf.Tensor) -> Iterator[None]:
    """Says how many rows of the batch are examples while a step is traced.

    Args:
        own: number of this replica's examples, which come first in its batch.
        total: number of the examples of all replicas.
    """
    _step.counts = own, total
    try:
        yield
    finally:
        del _step.counts


def count_examples_only(layer: keras.layers.BatchNormalization) -> None:
    """Makes a layer of batch normalisation take its moments over examples, without a stand-in.

    Keras has no public place for this: its masks are neither passed on by convolutions nor summed over replicas. A step in
    which no replica has an example keeps the moments that the layer has.
    """
    moments = layer._moments

    def moments_of_examples(inputs: tf.Tensor, mask: Any) -> tuple[tf.Tensor, tf.Tensor]:
        own, total = _step.counts
        rows = tf.shape(inputs)[0] // tf.maximum(own, 1)  # of each example: musicnn cuts several windows
        mean, variance = moments(inputs[: own * rows], mask)
        kept = (tf.cast(moment.value, mean.dtype) for moment in (layer.moving_mean, layer.moving_variance))
        return tuple(tf.where(total > 0, new, old) for new, old in zip((mean, variance), kept, strict=True))

    layer._moments = moments_of_examples
