"""Per-channel energy normalisation with trainable parameters."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from layers.front_ends.log_mel import constructor_settings

_DOUBLINGS = 12  # of the smoother's memory: 4,096 frames


@keras.saving.register_keras_serializable(package="melstream")
class Pcen(keras.layers.Layer):
    """Energies [batch, frames, bands] to per-channel normalised ones of the same shape.

    `(E / (epsilon + M) ** gain + bias) ** power - bias ** power`, where M is E smoothed over time by
    `M[t] = (1 - smoothing) * M[t - 1] + smoothing * E[t]`, from `M[-1] = E[0]`: Wang, Getreuer, Hughes, Lyon and Saurous,
    "Trainable frontend for robust and far-field keyword spotting", 2017, arXiv:1607.05666. The arguments are
    initial values: each band trains its own gain, bias and power as their logarithms, which keeps them positive, and its
    own smoothing as its logit. Equal to `librosa.pcen` with `zi=(1 - b) * E[0]`. The smoother remembers 4,096 frames
    (95 s at the default hop). Computes in float32 under every precision policy.

    Args:
        gain: exponent of the automatic gain control.
        bias: offset of the compression.
        power: exponent of the compression.
        smoothing: the weight of the newest frame, 0…1.
        epsilon: floor of the smoothed energy; not trained.

    Raises:
        ValueError: a setting is out of range.

    Example:
        >>> from layers.front_ends.pcen import Pcen
        >>> pcen = Pcen(gain=0.98, bias=2.0, power=0.5)
        >>> pcen(tf.ones([2, 100, 64])).shape
        TensorShape([2, 100, 64])
        >>> pcen.count_params()  # four for each band
        256
    """

    def __init__(
        self,
        gain: float = 0.98,
        bias: float = 2.0,
        power: float = 0.5,
        smoothing: float = 0.025,
        epsilon: float = 1e-6,
        **kwargs: Any,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.gain = gain
        self.bias = bias
        self.power = power
        self.smoothing = smoothing
        self.epsilon = epsilon
        for name, value in constructor_settings(self).items():
            if not value > 0:
                raise ValueError(f"Pcen expected {name} > 0, received {value}.")
        if not smoothing < 1:
            raise ValueError(f"Pcen expected smoothing < 1, received {smoothing}.")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        logit = float(np.log(self.smoothing / (1 - self.smoothing)))
        values = {name: float(np.log(getattr(self, name))) for name in ("gain", "bias", "power")}
        self._trained = {
            name: self.add_weight(
                shape=(input_shape[-1],), initializer=keras.initializers.Constant(value), name=f"{name}_parameter"
            )
            for name, value in (values | {"smoothing": logit}).items()
        }

    def call(self, energy: tf.Tensor) -> tf.Tensor:
        gain, bias, power = (tf.exp(self._trained[name]) for name in ("gain", "bias", "power"))  # [bands] each
        smoothed = _smooth(energy, tf.sigmoid(self._trained["smoothing"]))
        normalized = energy * tf.exp(-gain * tf.math.log(self.epsilon + smoothed))
        return tf.pow(normalized + bias, power) - tf.pow(bias, power)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]  # float32 under every policy
        return {**config, **constructor_settings(self)}


def _smooth(energy: tf.Tensor, smoothing: tf.Tensor) -> tf.Tensor:
    """First-order smoothing over time, [batch, frames, bands], that begins in its steady state.

    The recursion is a sum of past frames under falling weights. It is summed by doubling: with 2**k frames summed, the
    same sum from 2**k frames before, weighted once more, gives 2**(k + 1). That takes 12 steps instead of one a frame.
    """
    frames = tf.shape(energy)[1]
    keep = 1.0 - smoothing
    first = energy[:, :1] * (keep / smoothing)  # what the past would have left, were it all as the first frame
    total = smoothing * (energy + tf.pad(first, [[0, 0], [0, frames - 1], [0, 0]]))
    for doubling in range(_DOUBLINGS):
        shift = tf.minimum(2**doubling, frames)
        earlier = tf.pad(total[:, : frames - shift], [[0, 0], [shift, 0], [0, 0]])
        total += tf.pow(keep, 2.0**doubling) * earlier
    return total
