"""From settings to the augmentations of training, as `layers.augmentation.registry` lists them."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from experiments.settings import Settings
from layers.augmentation.registry import build_augmentations

# (waveform [batch, samples], targets [batch, classes], training step) -> (waveform, targets)
BatchAugmentation = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def batch_augmentation(settings: Settings) -> BatchAugmentation:
    """Makes what the training step does to a batch before the model: augment each waveform, then mix them.

    All draws follow from the run's seed and the number of the step, which a checkpoint holds as the optimizer's.

    Returns:
        A function from waveform [batch, samples], targets [batch, classes] and step to waveform and targets.

    Raises:
        ValueError: settings of an augmentation do not fit together.
    """
    augmentations = list(build_augmentations("waveform", vars(settings)).values())
    mixtures = list(build_augmentations("mixture", vars(settings)).values())

    def apply(waveform: tf.Tensor, targets: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # 32 bits, which is all that XLA takes on every device.
        step_seed = tf.stack([tf.constant(settings.seed % tf.int32.max), tf.cast(step, tf.int32)])
        # A mixture's seed is there without a mixture, too: checkpoints of such runs go on with the draws they had.
        seeds = iter(tf.unstack(tf.random.split(step_seed, len(augmentations) + max(1, len(mixtures)))))
        for augmentation in augmentations:
            waveform = augmentation(waveform, next(seeds))
        for mixture in mixtures:
            waveform, targets = mixture(waveform, targets, next(seeds))
        return waveform, targets

    def nothing(waveform: tf.Tensor, targets: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return waveform, targets

    return apply if augmentations or mixtures else nothing


def image_augmentations(settings: Settings) -> list[keras.layers.Layer]:
    """Makes the layers that augment images between front end and network; none where all are off.

    Raises:
        ValueError: a setting is out of range.
    """
    return list(build_augmentations("image", vars(settings)).values())
