"""The mel spectrogram that musicnn was trained on."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from layers.front_ends.log_mel import LogMelSpectrogram

_LARGEST_HALF = 65504.0  # of float16


@keras.saving.register_keras_serializable(package="melstream")
class MusicnnMelSpectrogram(LogMelSpectrogram):
    """Waveform [batch, samples] to the image [batch, frames, n_mels, 1] that musicnn takes: log10(10000 mel + 1).

    Pons and Serra, "musicnn: pre-trained convolutional neural networks for music audio tagging", 2019, arXiv:1909.06654, with the
    settings of its package. The mel power spectrogram is librosa's, rounded to float16 as the package rounds it, which the
    weights know. It is not relative to the loudest bin: the level of the music counts.

    Args:
        sample_rate_hz: rate of the waveform.
        n_fft: window and FFT length in samples.
        hop_length: samples between frames.
        n_mels: number of mel bands.
        fmin_hz: lower edge of the lowest band.
        fmax_hz: upper edge of the highest band; None is half the sample rate.
        pad_mode: of the ends: "constant" (zeros), as librosa from 0.9 on pads, or "reflect", as before. Only the first and the
            last frame differ.

    Raises:
        ValueError: a setting is out of range, or the waveform is too short for one frame, of several channels, or integers.

    Example:
        >>> from layers.front_ends.musicnn_mel import MusicnnMelSpectrogram
        >>> MusicnnMelSpectrogram()(np.zeros([2, 48000], np.float32)).shape  # two crops of 3 s
        TensorShape([2, 188, 96, 1])
    """

    def __init__(
        self,
        sample_rate_hz: int = 16000,
        n_fft: int = 512,
        hop_length: int = 256,
        n_mels: int = 96,
        fmin_hz: float = 0.0,
        fmax_hz: float | None = None,
        pad_mode: str = "constant",
        **kwargs: Any,
    ):
        super().__init__(
            sample_rate_hz=sample_rate_hz,
            n_fft=n_fft,
            hop_length=hop_length,
            n_mels=n_mels,
            fmin_hz=fmin_hz,
            fmax_hz=fmax_hz,
            pad_mode=pad_mode,
            **kwargs,
        )

    def _compress(self, mel: tf.Tensor) -> tf.Tensor:
        """Mel power [batch, frames, n_mels] to log10(10000 mel + 1)."""
        rounded = tf.cast(tf.cast(tf.minimum(mel, _LARGEST_HALF), tf.float16), tf.float32)
        return tf.math.log(10000.0 * rounded + 1.0) / tf.math.log(10.0)
