"""Mixup: pairs of training examples and their targets, mixed on the device by a stateless function."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from scipy.special import betaincinv

_SHARES = 4096  # quantiles in the table that weights are drawn from


def mixup(waveform: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes each example, and its target with it, with the example before it in the batch (the first with the last).

    The weight is of Beta(alpha, alpha), for each example anew, and the larger of it and its complement goes to the
    example itself: of a shuffled batch that gives the same mixtures as without, and each keeps its main label. Zhang et
    al. 2018, arXiv:1710.09412.

    Args:
        waveform: float32 [batch, samples].
        targets: float32 [batch, classes].
        seed: integers [2].
        alpha: above 0: near 0 most mixtures are nearly one example, at 1 every weight is equally likely.

    Returns:
        Mixed waveform, float32 [batch, samples], and mixed targets, float32 [batch, classes].

    Example:
        >>> from layers.augmentation.mixup import mixup
        >>> waveform, targets = mixup(tf.zeros([4, 8000]), tf.eye(4), seed=[0, 1], alpha=0.4)
        >>> waveform.shape, targets.shape
        (TensorShape([4, 8000]), TensorShape([4, 4]))
    """
    # Drawn from a table of the upper half's quantiles, because XLA has no gamma distribution.
    quantiles = 0.5 + (np.arange(_SHARES) + 0.5) / (2 * _SHARES)
    table = tf.constant(betaincinv(alpha, alpha, quantiles), tf.float32)
    share = tf.gather(
        table, tf.random.stateless_uniform(tf.stack([tf.shape(waveform)[0], 1]), seed, maxval=_SHARES, dtype=tf.int32)
    )  # [batch, 1]
    partner, partner_targets = tf.roll(waveform, 1, axis=0), tf.roll(targets, 1, axis=0)
    return share * waveform + (1 - share) * partner, share * targets + (1 - share) * partner_targets
