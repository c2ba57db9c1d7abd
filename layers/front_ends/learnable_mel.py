"""The mel spectrogram with trainable parts: its filters, or its compression."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from layers.front_ends.log_mel import LogMelSpectrogram, standardize
from layers.front_ends.pcen import Pcen

PCEN_SCALINGS = ("standardized", "raw")  # PCEN has no decibel range to map to 0…1


@keras.saving.register_keras_serializable(package="melstream")
class TrainableMelSpectrogram(LogMelSpectrogram):
    """`LogMelSpectrogram` whose mel filters are trained; until then it is equal to it.

    Trained is the logarithm of each filter's gain at each bin, [n_fft // 2 + 1, n_mels], from 0. So filters stay positive
    (Sainath, Kingsbury, Mohamed and Ramabhadran, "Learning filter banks within a deep neural network framework", ASRU
    2013), a step of the optimiser changes each by the same proportion, however narrow or wide its band, and a band
    keeps its edges: bins outside stay at zero. The arguments are `LogMelSpectrogram`'s.

    Example:
        >>> from layers.front_ends.learnable_mel import TrainableMelSpectrogram
        >>> mel = TrainableMelSpectrogram(sample_rate_hz=16000, n_fft=1024, hop_length=256, n_mels=64)
        >>> mel(np.zeros([2, 16000], np.float32)).shape
        TensorShape([2, 63, 64, 1])
        >>> mel.count_params()  # a log-gain for each of 513 bins in each band
        32832
        >>> model = keras.Sequential([mel, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
        >>> model(np.zeros([2, 16000], np.float32)).shape
        TensorShape([2, 3])
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._log_gain = self.add_weight(shape=self._filters.shape, initializer="zeros", name="log_gain")
        self.built = True

    def _filterbank(self) -> tf.Tensor:
        return tf.constant(self._filters) * tf.exp(self._log_gain)


@keras.saving.register_keras_serializable(package="melstream")
class PcenMelSpectrogram(LogMelSpectrogram):
    """Waveform [batch, samples] to a mel image [batch, frames, n_mels, 1] under per-channel energy normalisation.

    `layers.front_ends.pcen.Pcen`, trainable, in the place of `LogMelSpectrogram`'s decibels: the result depends little on loudness
    and on stationary noise (Wang et al. 2017, arXiv:1607.05666). The arguments not named here are `LogMelSpectrogram`'s.

    Args:
        gain, bias, pcen_power, epsilon: initial values of `Pcen`'s gain, bias and power, and its floor.
        time_constant_seconds: the smoother's at the start; 0.4 s, as in `librosa.pcen`, is the paper's smoothing of 0.025
            at its hop of 10 ms.
        scaling: "standardized" gives each example zero mean and unit variance; "raw" leaves it.

    Raises:
        ValueError: a setting is out of range, or the waveform is too short for one frame, of several channels, or integers.

    Example:
        >>> from layers.front_ends.learnable_mel import PcenMelSpectrogram
        >>> pcen_mel = PcenMelSpectrogram(sample_rate_hz=16000, n_fft=1024, hop_length=256, n_mels=64)
        >>> pcen_mel(np.zeros([2, 16000], np.float32)).shape
        TensorShape([2, 63, 64, 1])
        >>> model = keras.Sequential([pcen_mel, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
        >>> model(np.zeros([2, 16000], np.float32)).shape
        TensorShape([2, 3])
    """

    scalings = PCEN_SCALINGS

    def __init__(
        self,
        sample_rate_hz: int = 22050,
        n_fft: int = 2048,
        hop_length: int = 512,
        n_mels: int = 128,
        fmin_hz: float = 0.0,
        fmax_hz: float | None = None,
        center: bool = True,
        pad_mode: str = "reflect",
        mel_scale: str = "slaney",
        mel_norm: str | None = "slaney",
        gain: float = 0.98,
        bias: float = 2.0,
        pcen_power: float = 0.5,
        time_constant_seconds: float = 0.4,
        epsilon: float = 1e-6,
        scaling: str = "standardized",
        **kwargs: Any,
    ):
        super().__init__(
            sample_rate_hz,
            n_fft,
            hop_length,
            n_mels,
            fmin_hz,
            fmax_hz,
            center,
            pad_mode,
            mel_scale=mel_scale,
            mel_norm=mel_norm,
            scaling=scaling,
            **kwargs,
        )
        self.gain = gain
        self.bias = bias
        self.pcen_power = pcen_power
        self.time_constant_seconds = time_constant_seconds
        self.epsilon = epsilon
        if not time_constant_seconds > 0:
            raise ValueError(
                f"PcenMelSpectrogram expected time_constant_seconds > 0, received {time_constant_seconds}."
            )
        frames = time_constant_seconds * sample_rate_hz / hop_length
        smoothing = (math.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)  # librosa's
        self._pcen = Pcen(gain, bias, pcen_power, smoothing, epsilon, name="pcen")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._pcen.build((None, None, self.n_mels))
        self.built = True

    def _compress(self, mel: tf.Tensor) -> tf.Tensor:
        image = self._pcen(mel)
        return standardize(image) if self.scaling == "standardized" else image
