"""LEAF: a front end that learns its filters, its pooling and its compression from the waveform."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from layers.front_ends.learnable_mel import PCEN_SCALINGS
from layers.front_ends.log_mel import PAD_MODES, constructor_settings, mel_filters, standardize
from layers.front_ends.pcen import Pcen
from layers.front_ends.waveforms import over_waveforms, split_shape

_MAX_STRIDE = 16
_FILTER_SECONDS = 0.025
_POOLING_HOPS = 2.5  # length of the pooling window: the paper's 25 ms at a hop of 10 ms


@keras.saving.register_keras_serializable(package="melstream")
class Leaf(keras.layers.Layer):
    """Waveform [batch, samples] to a learned image [batch, frames, n_mels, 1], 1 + samples // hop_length frames.

    Zeghidour, Teboul, de Chaumont Quitry and Tagliasacchi, "LEAF: a learnable frontend for audio classification", 2021,
    arXiv:2101.08596: a filterbank of complex Gabor filters of 25 ms, squared modulus, a Gaussian low-pass filter for each
    band, and PCEN. Trainable are the filters' centres and widths, the pooling's widths and PCEN's parameters, all from
    the mel scale at the start. Two things differ from the paper's code. The modulus is computed every `stride` samples
    only instead of at each: its bandwidth is a filter's, so that little aliases, and the filterbank, which is nearly
    all of the cost, takes a sixteenth of the time. And the low-pass filters sum to one, so that PCEN sees the same
    energies at any hop. Computes in float32 under every precision policy. It may also be called with [batch, samples, 1] and
    with a single waveform [samples], as `LogMelSpectrogram`.

    Args:
        sample_rate_hz: rate of the waveform.
        hop_length: samples between frames; frame t is centred on sample t * hop_length.
        n_mels: number of bands.
        fmin_hz: lower edge of the lowest band at the start.
        fmax_hz: upper edge of the highest band at the start; None is half the sample rate.
        pad_mode: padding of the ends: "reflect" or "constant" (zeros).
        stride: samples between values of the modulus, a divisor of hop_length; None: the largest up to 16.
        scaling: "standardized" gives each example zero mean and unit variance; "raw" leaves it.

    Raises:
        ValueError: a setting is out of range, or the waveform is too short for one frame, of several channels, or integers.

    Example:
        >>> from layers.front_ends.leaf import Leaf
        >>> leaf = Leaf(sample_rate_hz=16000, hop_length=160, n_mels=40)
        >>> leaf(np.zeros([2, 16000], np.float32)).shape
        TensorShape([2, 101, 40, 1])
        >>> model = keras.Sequential([leaf, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
        >>> model(np.zeros([2, 16000], np.float32)).shape
        TensorShape([2, 3])
    """

    def __init__(
        self,
        sample_rate_hz: int = 22050,
        hop_length: int = 512,
        n_mels: int = 128,
        fmin_hz: float = 0.0,
        fmax_hz: float | None = None,
        pad_mode: str = "reflect",
        stride: int | None = None,
        scaling: str = "standardized",
        **kwargs: Any,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.sample_rate_hz = sample_rate_hz
        self.hop_length = hop_length
        self.n_mels = n_mels
        self.fmin_hz = fmin_hz
        self.fmax_hz = fmax_hz
        self.pad_mode = pad_mode
        self.stride = stride
        self.scaling = scaling
        self._check_settings()
        divisors = [size for size in range(1, _MAX_STRIDE + 1) if hop_length % size == 0]
        self._stride = stride or divisors[-1]
        self._half_filter = int(_FILTER_SECONDS * sample_rate_hz / 2)  # in samples
        self._half_pooling = max(1, round(_POOLING_HOPS * hop_length / self._stride / 2))  # in values of the modulus
        # The values of arXiv:2101.08596's code.
        self._pcen = Pcen(gain=0.96, bias=2.0, power=0.5, smoothing=0.04, epsilon=1e-12, name="pcen")

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's own arguments by name."""
        return constructor_settings(self)

    @property
    def min_samples(self) -> int:
        """Shortest waveform in samples that gives a frame."""
        return self._padding + 2 if self.pad_mode == "reflect" else 1

    def shortest_waveform(self, frames: int) -> int:
        """Length in samples of the shortest waveform that gives this many frames."""
        return max(self.min_samples, (frames - 1) * self.hop_length)

    @property
    def _padding(self) -> int:
        return self._half_filter + self._half_pooling * self._stride

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        centre, width = self._mel_gabor_parameters()
        trained = {
            "centre": centre,
            "log_width": np.log(width),
            "log_pooling_width": np.full(self.n_mels, np.log(0.4)),  # of half the window, as in the paper's code
        }
        self._trained = {
            name: self.add_weight(shape=(self.n_mels,), initializer=keras.initializers.Constant(values), name=name)
            for name, values in trained.items()
        }
        self._pcen.build((None, None, self.n_mels))
        self.built = True

    def _mel_gabor_parameters(self) -> tuple[np.ndarray, np.ndarray]:
        """Centres in radians a sample and widths (standard deviations in samples) with the mel filters' peaks and widths."""
        n_fft = 2**15
        filters = mel_filters(self.sample_rate_hz, n_fft, self.n_mels, self.fmin_hz, self.fmax_hz, mel_norm=None)
        centre = filters.argmax(axis=0) * 2 * np.pi / n_fft
        half_width = (filters >= 0.5 * filters.max(axis=0)).sum(axis=0) * 2 * np.pi / n_fft  # full, at half maximum
        return centre, np.clip(2 * np.sqrt(2 * np.log(2)) / half_width, *self._width_limits())

    def _width_limits(self) -> tuple[float, float]:
        """The paper's: between a band of half the spectrum, and what the window has room for."""
        unit = np.sqrt(2 * np.log(2)) / np.pi
        return 4 * unit, (2 * self._half_filter + 1) * unit

    def call(self, waveform: tf.Tensor) -> tf.Tensor:
        remedy = f"a smaller hop_length (hop_length={self.hop_length}, pad_mode={self.pad_mode!r})"
        return over_waveforms("Leaf", waveform, self.min_samples, remedy, self._features)

    def _features(self, waveform: tf.Tensor) -> tf.Tensor:
        # One more at the end, for a frame that is centred on the sample after the last.
        waveform = tf.pad(waveform, [[0, 0], [self._padding, self._padding + 1]], mode=self.pad_mode)
        filtered = tf.nn.conv1d(tf.expand_dims(waveform, 2), self._gabor_filters(), self._stride, "VALID")
        modulus = tf.square(filtered[:, :, : self.n_mels]) + tf.square(filtered[:, :, self.n_mels :])
        hop = self.hop_length // self._stride
        pooling = tf.reshape(self._pooling_filters(), [-1, 1, self.n_mels, 1])
        pooled = tf.nn.depthwise_conv2d(tf.expand_dims(modulus, 2), pooling, [1, hop, hop, 1], "VALID")
        image = self._pcen(tf.squeeze(pooled, 2))  # [batch, frames, n_mels]
        return tf.expand_dims(standardize(image) if self.scaling == "standardized" else image, -1)

    def _gabor_filters(self) -> tf.Tensor:
        """Real, then imaginary parts, [samples, 1, 2 * n_mels]."""
        time = tf.range(-self._half_filter, self._half_filter + 1, dtype=tf.float32)[:, tf.newaxis]
        low, high = self._width_limits()
        width = tf.clip_by_value(tf.exp(self._trained["log_width"]), low, high)  # [n_mels]
        centre = tf.clip_by_value(self._trained["centre"], 0.0, np.pi)
        envelope = tf.exp(-0.5 * tf.square(time / width)) / (np.sqrt(2 * np.pi) * width)  # [samples, n_mels]
        parts = [envelope * tf.cos(centre * time), envelope * tf.sin(centre * time)]
        return tf.expand_dims(tf.concat(parts, axis=1), 1)

    def _pooling_filters(self) -> tf.Tensor:
        """Gaussian low-pass filters, [values of the modulus, n_mels]."""
        size = 2 * self._half_pooling + 1
        time = tf.range(-self._half_pooling, self._half_pooling + 1, dtype=tf.float32)[:, tf.newaxis]
        # Limits of the paper's code.
        width = tf.clip_by_value(tf.exp(self._trained["log_pooling_width"]), 2.0 / size, 0.5) * self._half_pooling
        weights = tf.exp(-0.5 * tf.square(time / width))
        return weights / tf.reduce_sum(weights, axis=0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, samples = split_shape("Leaf", input_shape)
        return (*batch, None if samples is None else 1 + samples // self.hop_length, self.n_mels, 1)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]  # float32 under every policy
        return {**config, **self.settings}

    def _check_settings(self) -> None:
        for name in ("sample_rate_hz", "hop_length", "n_mels"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Leaf expected {name} > 0, received {getattr(self, name)}.")
        nyquist_hz = self.sample_rate_hz / 2
        if not 0 <= self.fmin_hz < (nyquist_hz if self.fmax_hz is None else self.fmax_hz) <= nyquist_hz:
            raise ValueError(
                f"Leaf expected 0 <= fmin_hz < fmax_hz <= {nyquist_hz:g} (half of sample_rate_hz), received "
                f"fmin_hz={self.fmin_hz} and fmax_hz={self.fmax_hz}."
            )
        if self.stride is not None and (self.stride < 1 or self.hop_length % self.stride):
            raise ValueError(
                f"Leaf expected stride to divide hop_length={self.hop_length}, received {self.stride}; leave it out."
            )
        for name, choices in (("pad_mode", PAD_MODES), ("scaling", PCEN_SCALINGS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"Leaf expected {name} to be one of {choices}, received {getattr(self, name)!r}.")
