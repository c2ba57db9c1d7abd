"""Log-mel spectrogram as a Keras layer, on kapre's layers, equal to librosa's.

`kapre.get_melspectrogram_layer` alone is tens of dB away from librosa: it applies the filterbank to magnitudes and
does not centre the frames. Here kapre's STFT and filterbank stand in librosa's order: centre, STFT, power, filterbank,
decibels relative to each example's own loudest bin. `layers.front_ends.learnable_mel` has the variants with trainable parts.
"""

from __future__ import annotations

import inspect
from typing import Any

import kapre
import keras
import numpy as np
import tensorflow as tf

from layers.front_ends.waveforms import over_waveforms, split_shape

PAD_MODES = ("reflect", "constant")
MEL_SCALES = ("slaney", "htk")
_BLOCK_BANDS = 32  # 16 are no faster, 64 slower
_AMIN = 1e-10  # librosa.power_to_db's default floor; kapre's is 1e-5


@keras.saving.register_keras_serializable(package="melstream")
class LogMelSpectrogram(keras.layers.Layer):
    """Waveform [batch, samples] to log-mel image [batch, frames, n_mels, 1].

    Equal to `librosa.power_to_db(librosa.feature.melspectrogram(...), ref=np.max, top_db=top_db)` within 0.001 dB (to
    `librosa.amplitude_to_db` with power 1), then scaled. An example's features do not depend on the rest of its batch.
    Computes in float32 under every precision policy, because the real FFT has no half-precision kernel; the next layer
    casts.

    With `center` there are 1 + samples // hop_length frames, without it 1 + (samples - n_fft) // hop_length.

    It may also be called with waveforms [batch, samples, 1], as Keras's own loader gives mono, and with a single waveform
    [samples], which gives an image [frames, n_mels, 1]. Samples are floating-point numbers. Under mixed precision, begin a
    `keras.Sequential` with `keras.Input((None,))` and give your own subclass of `keras.Model` `autocast=False`: otherwise
    Keras rounds the waveforms to half precision before any layer sees them.

    Args:
        sample_rate_hz: rate of the waveform.
        n_fft: window and FFT length in samples (a Hann window of the same length).
        hop_length: samples between frames.
        n_mels: number of mel bands.
        fmin_hz: lower edge of the lowest band.
        fmax_hz: upper edge of the highest band; None is half the sample rate.
        center: whether frame t is centred on sample t * hop_length, with n_fft // 2 samples of padding at both ends.
        pad_mode: that padding: "reflect" or "constant" (zeros).
        power: exponent of the magnitude: 2 is power, 1 is magnitude.
        mel_scale: "slaney" or "htk".
        mel_norm: "slaney" (bands of equal area) or None.
        top_db: dynamic range: bins this far below the example's loudest are raised to that floor.
        scaling: "unit" maps [-top_db, 0] dB to [0, 1]; "standardized" gives each example zero mean and unit
            variance; "decibel" leaves dB.

    Raises:
        ValueError: a setting is out of range, or the waveform is too short for one frame, of several channels, or integers.

    Example:
        >>> from layers.front_ends.log_mel import LogMelSpectrogram
        >>> log_mel = LogMelSpectrogram(sample_rate_hz=22050, n_mels=128)
        >>> log_mel(np.zeros([2, 110250], np.float32)).shape  # two crops of 5 s
        TensorShape([2, 216, 128, 1])

        As the first layer of any model:

        >>> model = keras.Sequential([log_mel, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
        >>> model(np.zeros([2, 110250], np.float32)).shape
        TensorShape([2, 3])

        In a `tf.data` pipeline:

        >>> dataset = tf.data.Dataset.from_tensors((tf.zeros([2, 110250]), [0, 1]))
        >>> dataset = dataset.map(lambda waveform, label: (log_mel(waveform), label), tf.data.AUTOTUNE)
        >>> next(iter(dataset))[0].shape
        TensorShape([2, 216, 128, 1])
    """

    scalings: tuple[str, ...] = ("unit", "standardized", "decibel")

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
        power: float = 2.0,
        mel_scale: str = "slaney",
        mel_norm: str | None = "slaney",
        top_db: float = 80.0,
        scaling: str = "unit",
        **kwargs: Any,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.sample_rate_hz = sample_rate_hz
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.n_mels = n_mels
        self.fmin_hz = fmin_hz
        self.fmax_hz = fmax_hz
        self.center = center
        self.pad_mode = pad_mode
        self.power = power
        self.mel_scale = mel_scale
        self.mel_norm = mel_norm
        self.top_db = top_db
        self.scaling = scaling
        self._check_settings()
        self._stft = kapre.STFT(
            n_fft=n_fft,
            hop_length=hop_length,
            input_data_format="channels_last",
            output_data_format="channels_last",
            dtype="float32",
        )
        # A NumPy array is a constant of any graph that it gets into: converters take a tensor from outside for input.
        self._filters = mel_filters(sample_rate_hz, n_fft, n_mels, fmin_hz, fmax_hz, mel_scale, mel_norm)
        self._blocks = _filter_blocks(self._filters)

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's own arguments by name."""
        return constructor_settings(self)

    @property
    def min_samples(self) -> int:
        """Shortest waveform in samples that gives a frame."""
        if not self.center:
            return self.n_fft
        return self.n_fft // 2 + 1 if self.pad_mode == "reflect" else 1

    def shortest_waveform(self, frames: int) -> int:
        """Length in samples of the shortest waveform that gives this many frames."""
        return max(self.min_samples, (frames - 1) * self.hop_length + (0 if self.center else self.n_fft))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.built = True  # constants only

    def call(self, waveform: tf.Tensor) -> tf.Tensor:
        remedy = f"a smaller n_fft (n_fft={self.n_fft}, center={self.center}, pad_mode={self.pad_mode!r})"
        return over_waveforms(type(self).__name__, waveform, self.min_samples, remedy, self._features)

    def _features(self, waveform: tf.Tensor) -> tf.Tensor:
        return self.image(self._power_spectrum(self.padded(waveform)))

    def padded(self, waveform: tf.Tensor) -> tf.Tensor:
        """Pads a waveform as it is before it is cut into frames.

        Args:
            waveform: float32 [batch, samples].

        Returns:
            float32 [batch, samples + n_fft] with `center`, or else the waveform itself.
        """
        if not self.center:
            return waveform
        half = self.n_fft // 2
        return tf.pad(waveform, [[0, 0], [half, half]], mode=self.pad_mode)

    def image(self, power: tf.Tensor) -> tf.Tensor:
        """Makes the layer's output of power spectra.

        Args:
            power: squared magnitudes, float32 [batch, frames, n_fft // 2 + 1].

        Returns:
            The image, float32 [batch, frames, n_mels, 1].
        """
        if self.power != 2.0:
            power = tf.pow(power, self.power / 2.0)
        filterbank = self._filterbank()
        # Most of the filterbank is zeros: block by block it is half the work.
        blocks = [tf.tensordot(power[:, :, bins], filterbank[bins, bands], axes=1) for bins, bands in self._blocks]
        mel = tf.concat(blocks, axis=-1)  # [batch, frames, n_mels]
        if self.power != 2.0:
            mel = tf.pow(mel, 2.0 / self.power)  # what follows is of power, whatever the filterbank was applied to
        return tf.expand_dims(self._compress(mel), -1)  # not by an index, which TFLite cannot

    def _power_spectrum(self, waveform: tf.Tensor) -> tf.Tensor:
        stft = self._stft(waveform[:, :, tf.newaxis])[..., 0]  # complex [batch, frames, n_fft // 2 + 1]
        return tf.square(tf.math.real(stft)) + tf.square(tf.math.imag(stft))

    def _filterbank(self) -> tf.Tensor:
        """The mel filters [n_fft // 2 + 1, n_mels]."""
        return tf.constant(self._filters)

    def _compress(self, mel: tf.Tensor) -> tf.Tensor:
        """Mel power [batch, frames, n_mels] to scaled decibels."""
        decibel = kapre.backend.magnitude_to_decibel(mel, ref_value=1.0, amin=_AMIN, dynamic_range=self.top_db)
        decibel -= tf.reduce_max(decibel, axis=[1, 2], keepdims=True)
        if self.scaling == "unit":
            return decibel / self.top_db + 1.0
        return standardize(decibel) if self.scaling == "standardized" else decibel

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, samples = split_shape(type(self).__name__, input_shape)
        if samples is None:
            return (*batch, None, self.n_mels, 1)
        covered = samples + 2 * (self.n_fft // 2) if self.center else samples
        return (*batch, 1 + (covered - self.n_fft) // self.hop_length, self.n_mels, 1)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]  # float32 under every policy
        return {**config, **self.settings}

    def _check_settings(self) -> None:
        for name in ("sample_rate_hz", "n_fft", "hop_length", "n_mels", "power", "top_db"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{type(self).__name__} expected {name} > 0, received {getattr(self, name)}.")
        if self.n_fft % 2:
            raise ValueError(f"{type(self).__name__} expected an even n_fft, received {self.n_fft}.")
        nyquist_hz = self.sample_rate_hz / 2
        fmax_hz = nyquist_hz if self.fmax_hz is None else self.fmax_hz
        if not 0 <= self.fmin_hz < fmax_hz <= nyquist_hz:
            raise ValueError(
                f"{type(self).__name__} expected 0 <= fmin_hz < fmax_hz <= {nyquist_hz:g} (half of sample_rate_hz), "
                f"received fmin_hz={self.fmin_hz} and fmax_hz={self.fmax_hz}."
            )
        for name, choices in (
            ("pad_mode", PAD_MODES),
            ("mel_scale", MEL_SCALES),
            ("mel_norm", ("slaney", None)),
            ("scaling", self.scalings),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{type(self).__name__} expected {name} to be one of {choices}, received {getattr(self, name)!r}."
                )


def mel_filters(
    sample_rate_hz: int,
    n_fft: int,
    n_mels: int,
    fmin_hz: float,
    fmax_hz: float | None,
    mel_scale: str = "slaney",
    mel_norm: str | None = "slaney",
) -> np.ndarray:
    """Computes triangular mel filters; the arguments are `LogMelSpectrogram`'s.

    Returns:
        The weight of each bin in each band, float32 [n_fft // 2 + 1, n_mels].
    """
    with tf.init_scope():  # a value also where a graph is being made
        filters = kapre.backend.filterbank_mel(
            sample_rate_hz, n_fft // 2 + 1, n_mels, fmin_hz, fmax_hz, htk=mel_scale == "htk", norm=mel_norm
        )
        return np.asarray(filters, np.float32)


def _filter_blocks(filters: np.ndarray) -> list[tuple[slice, slice]]:
    """Groups of neighbouring bands of filters [bins, bands], each with the bins beyond which they are zero."""
    blocks = []
    for low in range(0, filters.shape[1], _BLOCK_BANDS):
        bands = slice(low, min(low + _BLOCK_BANDS, filters.shape[1]))
        (used,) = np.nonzero(filters[:, bands].any(axis=1))
        blocks.append((slice(used[0], used[-1] + 1) if len(used) else slice(0, 1), bands))
    return blocks


def standardize(image: tf.Tensor) -> tf.Tensor:
    """Gives each example zero mean and unit variance.

    Args:
        image: float32 [batch, frames, n_mels].

    Returns:
        float32 [batch, frames, n_mels].
    """
    mean, variance = tf.nn.moments(image, axes=[1, 2], keepdims=True)
    return (image - mean) * tf.math.rsqrt(variance + 1e-6)


def constructor_settings(layer: keras.layers.Layer) -> dict[str, Any]:
    """A layer's own constructor arguments by name, which are its attributes."""
    names = inspect.signature(type(layer).__init__).parameters
    return {name: getattr(layer, name) for name in names if name not in ("self", "kwargs")}
