"""Augmentation of waveforms on the device: stateless functions of a batch and a seed, for the training step alone.

Every example has its own draw, which follows from the seed and from the example's position in the batch: the same seed gives
the same result, so a training run repeats and resumes exactly. All compute in float32 on waveforms [batch, samples] of any
size, without a loop over the batch, and compile under XLA. `layers.augmentation.registry` lists them.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_EQ_POINTS = 8  # of the random curve, from 0 Hz to half the sample rate, equally far apart in mel


def random_gain(waveform: tf.Tensor, seed: tf.Tensor, max_gain_db: float) -> tf.Tensor:
    """Makes each example louder or softer.

    Args:
        waveform: float32 [batch, samples].
        seed: integers [2].
        max_gain_db: the gain is uniform in dB from minus this to this.

    Returns:
        Louder or softer waveform, float32 [batch, samples].

    Example:
        >>> from layers.augmentation.waveform import random_gain
        >>> louder = random_gain(tf.ones([3, 8000]), seed=[0, 1], max_gain_db=6.0)
        >>> bool(tf.reduce_all((louder > 0.5) & (louder < 2.0)))  # 6 dB are nearly a factor of 2
        True
    """
    gain_db = tf.random.stateless_uniform(_column(waveform), seed, -max_gain_db, max_gain_db)
    return waveform * _amplitude(gain_db)


def random_polarity(waveform: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Changes the sign of each example with probability 1/2.

    Args:
        waveform: float32 [batch, samples].
        seed: integers [2].

    Returns:
        Waveform or its negative, float32 [batch, samples].

    Example:
        >>> from layers.augmentation.waveform import random_polarity
        >>> bool(tf.reduce_all(tf.abs(random_polarity(tf.ones([3, 8000]), seed=[0, 1])) == 1))
        True
    """
    flip = tf.random.stateless_uniform(_column(waveform), seed) < 0.5
    return tf.where(flip, -waveform, waveform)


def random_time_shift(waveform: tf.Tensor, seed: tf.Tensor, sample_rate_hz: int, max_seconds: float) -> tf.Tensor:
    """Shifts each example in a circle: what leaves at one end comes in at the other.

    Args:
        waveform: float32 [batch, samples].
        seed: integers [2].
        sample_rate_hz: rate of the waveform.
        max_seconds: the shift is uniform over all whole samples from minus this to this.

    Returns:
        Shifted waveform, float32 [batch, samples].

    Example:
        >>> from layers.augmentation.waveform import random_time_shift
        >>> ramp = tf.reshape(tf.range(8000.0), [1, 8000])
        >>> shifted = random_time_shift(ramp, seed=[0, 1], sample_rate_hz=8000, max_seconds=0.5)
        >>> sorted(shifted.numpy()[0]) == list(range(8000))
        True
    """
    max_samples = round(max_seconds * sample_rate_hz)
    shift = tf.random.stateless_uniform(_column(waveform), seed, -max_samples, max_samples + 1, tf.int32)
    samples = tf.shape(waveform)[1]
    source = tf.math.floormod(tf.range(samples)[tf.newaxis] - shift, samples)  # [batch, samples]
    return tf.ensure_shape(tf.gather(waveform, source, batch_dims=1), waveform.shape)


def random_noise(waveform: tf.Tensor, seed: tf.Tensor, min_snr_db: float, max_snr_db: float) -> tf.Tensor:
    """Adds white Gaussian noise to each example, as loud as its signal-to-noise ratio says; silence stays silence.

    Args:
        waveform: float32 [batch, samples].
        seed: integers [2].
        min_snr_db: lowest ratio of the powers of waveform and noise, each over the whole example, in dB.
        max_snr_db: highest; between them it is uniform in dB.

    Returns:
        Noisy waveform, float32 [batch, samples].

    Example:
        >>> from layers.augmentation.waveform import random_noise
        >>> random_noise(tf.ones([3, 8000]), seed=[0, 1], min_snr_db=10.0, max_snr_db=30.0).shape
        TensorShape([3, 8000])
    """
    snr_seed, noise_seed = tf.unstack(tf.random.split(seed, 2))
    snr_db = tf.random.stateless_uniform(_column(waveform), snr_seed, min_snr_db, max_snr_db)
    noise = tf.random.stateless_normal(tf.shape(waveform), noise_seed)
    # By the noise's own power, so that the ratio is exact and not only expected.
    return waveform + noise * _rms(waveform) / _rms(noise) * _amplitude(-snr_db)


def random_equalizer(waveform: tf.Tensor, seed: tf.Tensor, sample_rate_hz: int, max_gain_db: float) -> tf.Tensor:
    """Filters each example by a smooth random gain curve over frequency, without change of phase.

    The curve runs through eight points equally far apart in mel, each uniform in dB, with half a cosine between
    neighbours. It is applied to the Fourier transform of the whole example, so filtering wraps around its ends by the
    filter's few milliseconds. After FilterAugment (Nam et al. 2022, arXiv:2110.03282), which does so to the
    spectrogram.

    Args:
        waveform: float32 [batch, samples].
        seed: integers [2].
        sample_rate_hz: rate of the waveform.
        max_gain_db: every point's gain lies between minus this and this.

    Returns:
        Filtered waveform, float32 [batch, samples].

    Example:
        >>> from layers.augmentation.waveform import random_equalizer
        >>> random_equalizer(tf.ones([3, 8000]), seed=[0, 1], sample_rate_hz=8000, max_gain_db=6.0).shape
        TensorShape([3, 8000])
    """
    samples = tf.shape(waveform)[1]
    points_db = tf.random.stateless_uniform([tf.shape(waveform)[0], _EQ_POINTS], seed, -max_gain_db, max_gain_db)
    bins = tf.cast(tf.range(samples // 2 + 1), tf.float32)
    mel = tf.math.log1p(bins * sample_rate_hz / tf.cast(samples, tf.float32) / 700.0)
    position = mel / np.float32(np.log1p(sample_rate_hz / 2 / 700)) * (_EQ_POINTS - 1)  # [bins], counted in points
    distance = tf.minimum(tf.abs(position[tf.newaxis] - tf.range(_EQ_POINTS, dtype=tf.float32)[:, tf.newaxis]), 1.0)
    curve_db = points_db @ (0.5 + 0.5 * tf.cos(np.pi * distance))  # [batch, bins]
    spectrum = tf.signal.rfft(waveform) * tf.cast(_amplitude(curve_db), tf.complex64)
    return tf.ensure_shape(tf.signal.irfft(spectrum, [samples]), waveform.shape)


def _column(waveform: tf.Tensor) -> tf.Tensor:
    """The shape [batch, 1]: one number for each example."""
    return tf.stack([tf.shape(waveform)[0], 1])


def _amplitude(decibel: tf.Tensor) -> tf.Tensor:
    return tf.pow(10.0, decibel / 20)


def _rms(waveform: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_mean(tf.square(waveform), axis=1, keepdims=True))
