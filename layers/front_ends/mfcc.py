"""Mel-frequency cepstral coefficients, and their statistics over time, as TensorFlow functions."""

from __future__ import annotations

import keras
import tensorflow as tf

STATISTICS = ("mean", "std", "skew", "kurtosis", "median", "min", "max")


@keras.saving.register_keras_serializable(package="melstream")
def mfcc(decibel: tf.Tensor, n_mfcc: int = 20) -> tf.Tensor:
    """Cepstral coefficients of log-mel images: the orthonormal DCT-II over the mel bands.

    Equal to `librosa.feature.mfcc(S=..., norm="ortho")`. `tf.signal.mfccs_from_log_mel_spectrograms` is the same but
    for coefficient 0, which it leaves larger by the square root of 2, as HTK does. `LogMelSpectrogram` is relative to
    each example's loudest bin, which moves coefficient 0 alone: the level of a recording is not in these features. In a
    model it is a `keras.layers.Lambda(mfcc)`, which can be saved; it computes in float32 under every precision policy.

    Args:
        decibel: log-mel images [batch, frames, n_mels, 1] in dB.
        n_mfcc: number of coefficients.

    Returns:
        Coefficients [batch, frames, n_mfcc].

    Raises:
        ValueError: there are fewer mel bands than coefficients.

    Example:
        >>> from layers.front_ends.log_mel import LogMelSpectrogram
        >>> from layers.front_ends.mfcc import mfcc
        >>> log_mel = LogMelSpectrogram(sample_rate_hz=22050, scaling="decibel")
        >>> mfcc(log_mel(np.zeros([2, 110250], np.float32)), n_mfcc=13).shape
        TensorShape([2, 216, 13])
        >>> model = keras.Sequential([log_mel, keras.layers.Lambda(mfcc), keras.layers.LSTM(8)])
        >>> model(np.zeros([2, 110250], np.float32)).shape
        TensorShape([2, 8])
    """
    n_mels = decibel.shape[2]
    if n_mels < n_mfcc:
        raise ValueError(f"expected at least {n_mfcc} mel bands for {n_mfcc} coefficients, received {n_mels}")
    return tf.signal.dct(tf.cast(decibel[..., 0], tf.float32), type=2, norm="ortho")[..., :n_mfcc]


def time_statistics(values: tf.Tensor) -> tf.Tensor:
    """Seven statistics of each feature over time, as in FMA's baselines.

    M. Defferrard et al., "FMA: A dataset for music analysis", ISMIR 2017, arXiv:1612.01840. Skewness and excess
    kurtosis are the biased estimates, scipy's default; of a feature that does not change they are 0.

    Args:
        values: [batch, frames, features].

    Returns:
        [batch, 7 * features]: every feature's mean, then every feature's standard deviation, … as in `STATISTICS`.
    """
    mean = tf.reduce_mean(values, axis=1)  # [batch, features], as are all below
    centred = values - mean[:, tf.newaxis]
    variance = tf.reduce_mean(tf.square(centred), axis=1)
    skew = tf.math.divide_no_nan(tf.reduce_mean(centred**3, axis=1), variance**1.5)
    is_constant = tf.equal(variance, 0.0)
    kurtosis = tf.where(
        is_constant, 0.0, tf.math.divide_no_nan(tf.reduce_mean(centred**4, axis=1), tf.square(variance)) - 3.0
    )
    ordered, frames = tf.sort(values, axis=1), tf.shape(values)[1]
    median = (ordered[:, (frames - 1) // 2] + ordered[:, frames // 2]) / 2.0
    return tf.concat([mean, tf.sqrt(variance), skew, kurtosis, median, ordered[:, 0], ordered[:, -1]], axis=1)
