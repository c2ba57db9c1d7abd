"""SpecAugment's masks as a Keras layer between front end and network."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="melstream")
class SpecAugment(keras.layers.Layer):
    """Masks random spans of frames and of mel bands of each example in training; the identity otherwise.

    Features [batch, frames, n_mels, 1] keep their shape. A mask's width is uniform from 0 to the widest, or to all
    there is of a shorter example, and its position uniform where it fits; masks may overlap. Masked values become the
    example's mean, as in the paper, where that is 0, as it is of standardised features: the minimum, which is several
    standard deviations below, would shift the statistics of what the network sees. Each training call draws anew from
    a seed generator, whose state is one of the model's variables. Computes in float32 under every policy.

    Park et al. 2019, arXiv:1904.08779, without its time warping.

    Args:
        time_masks: masks over frames for each example.
        time_width: widest of them in frames.
        mel_masks: masks over mel bands for each example.
        mel_width: widest of them in mel bands.
        seed: of the masks.

    Raises:
        ValueError: one of them is negative.

    Example:
        >>> from layers.augmentation.spec_augment import SpecAugment
        >>> masks = SpecAugment(time_masks=2, time_width=40, mel_masks=2, mel_width=24)
        >>> image = tf.random.stateless_normal([4, 216, 128, 1], seed=[0, 1])
        >>> bool(tf.reduce_all(masks(image) == image))  # not in training
        True
        >>> masks(image, training=True).shape
        TensorShape([4, 216, 128, 1])
    """

    def __init__(
        self,
        time_masks: int = 2,
        time_width: int = 40,
        mel_masks: int = 2,
        mel_width: int = 24,
        seed: int = 0,
        **kwargs: Any,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.time_masks = time_masks
        self.time_width = time_width
        self.mel_masks = mel_masks
        self.mel_width = mel_width
        self.seed = seed
        for name in _ARGUMENTS:
            if getattr(self, name) < 0:
                raise ValueError(f"SpecAugment expected {name} of at least 0, received {getattr(self, name)}.")
        self._seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not training:
            return features
        # TensorFlow wants 32 bits for XLA, Keras holds the state in 64.
        seed = tf.cast(tf.math.floormod(self._seed_generator.next(), tf.int32.max), tf.int32)
        time_seed, mel_seed = tf.unstack(tf.random.split(seed, 2))
        batch, frames, n_mels, _ = tf.unstack(tf.shape(features))
        masked_frames = _masked(time_seed, batch, self.time_masks, self.time_width, frames)
        masked_mels = _masked(mel_seed, batch, self.mel_masks, self.mel_width, n_mels)
        masked = masked_frames[:, :, tf.newaxis, tf.newaxis] | masked_mels[:, tf.newaxis, :, tf.newaxis]
        return tf.where(masked, tf.reduce_mean(features, axis=[1, 2, 3], keepdims=True), features)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]  # float32 under every policy
        return {**config, **{name: getattr(self, name) for name in _ARGUMENTS}}


_ARGUMENTS = ("time_masks", "time_width", "mel_masks", "mel_width", "seed")


def _masked(seed: tf.Tensor, batch: tf.Tensor, masks: int, widest: int, size: tf.Tensor) -> tf.Tensor:
    """Which positions along an axis are masked, bool [batch, size]."""
    width_seed, start_seed = tf.unstack(tf.random.split(seed, 2))
    shape = tf.stack([batch, masks, 1])
    width = tf.random.stateless_uniform(shape, width_seed, maxval=tf.minimum(widest, size) + 1, dtype=tf.int32)
    starts = tf.cast(size - width + 1, tf.float32)  # positions where a mask of this width can begin
    start = tf.cast(tf.floor(tf.random.stateless_uniform(shape, start_seed) * starts), tf.int32)
    position = tf.range(size)
    return tf.reduce_any((position >= start) & (position < start + width), axis=1)
