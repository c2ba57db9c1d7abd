"""What training minimises and reports: the cross-entropy of a clip's label, or of each of its several labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from experiments.builders.balance import class_weights, label_weights
from experiments.settings import Settings
from pipeline.catalogs.catalog import Catalog

# (targets float32 [batch, labels], probabilities [batch, labels]) -> one number for each example [batch]
Score = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Objective:
    """The scores of the examples of a batch. Keras computes all of them from the logits of the probabilities.

    Attributes:
        loss: what is minimised: weighted, of smoothed labels.
        cross_entropy: what is reported, as validation is: plain, in nats; of several labels the mean over them.
        accuracy: 1 for the right label, 0 for another; of several labels the share that is on the right side of 0.5.
    """

    loss: Score
    cross_entropy: Score
    accuracy: Score


def make_objective(settings: Settings, weights: np.ndarray | None = None) -> Objective:
    """Makes the objective of the settings.

    Args:
        settings: of the run.
        weights: from `balance_weights`; None: all examples and labels weigh alike.
    """
    return _of_several(weights) if settings.multi_label else _of_one(settings.label_smoothing, weights)


def balance_weights(settings: Settings, catalog: Catalog) -> np.ndarray | None:
    """Returns the weights that --class_balance=weights gives the training clips' labels; None without it.

    Args:
        settings: of the run.
        catalog: of the run.

    Returns:
        float32 [labels]; with several labels a clip [2, labels], of the clips without a label and of those with it.
    """
    if settings.class_balance != "weights":
        return None
    targets = catalog.targets(catalog.split("training"))
    return label_weights(targets) if settings.multi_label else class_weights(targets, len(catalog.labels))


def _of_one(label_smoothing: float, weights: np.ndarray | None) -> Objective:
    smoothed = keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing, reduction=None)

    def loss(targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        shares = None if weights is None else tf.linalg.matvec(targets, weights)  # mixtures in proportion
        return smoothed(targets, probabilities, sample_weight=shares)

    def accuracy(targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.equal(tf.argmax(probabilities, axis=1), tf.argmax(targets, axis=1)), tf.float32)

    return Objective(loss, keras.losses.CategoricalCrossentropy(reduction=None), accuracy)


def _of_several(weights: np.ndarray | None) -> Objective:
    def loss(targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        each = keras.ops.binary_crossentropy(targets, probabilities)  # [batch, labels]
        if weights is not None:
            each *= targets * weights[1] + (1 - targets) * weights[0]
        return tf.reduce_mean(each, axis=1)

    def cross_entropy(targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(keras.ops.binary_crossentropy(targets, probabilities), axis=1)

    def accuracy(targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.cast(tf.equal(probabilities > 0.5, targets > 0.5), tf.float32), axis=1)

    return Objective(loss, cross_entropy, accuracy)
