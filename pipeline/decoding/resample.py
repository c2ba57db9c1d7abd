"""Converts sample rates by TensorFlow ops, for graphs that must not leave TensorFlow: exports and graph-native decoding.

The filter is a windowed-sinc polyphase FIR (Smith, "Digital Audio Resampling", ccrma.stanford.edu/~jos/resample). Its band
edges are those of soxr's HQ quality, so that it can replace soxr: flat up to 0.91 of half the lower rate, silent from half
the lower rate on. The source rate is a tensor, so the filter is designed inside the graph.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

_CUTOFF = 0.956872  # -6 dB point, in units of the lower rate's half
_BETA = 13.711  # of the Kaiser window
_HALF_WIDTH = 102.25  # of the filter, in samples at the lower rate
_TABLE_STEPS = 512  # interpolating linearly between these is 117 dB from exact
_BLOCK = 64  # outputs that share one window of inputs


def resample(waveform: tf.Tensor, source_hz: tf.Tensor, target_hz: int) -> tf.Tensor:
    """Converts waveforms from `source_hz` to `target_hz`.

    Samples beyond the ends count as zeros. At equal rates the waveform is returned as it is.

    Args:
        waveform: float32 [batch, samples].
        source_hz: integer scalar tensor, at least 1.
        target_hz: at least 1.

    Returns:
        float32 [batch, floor(samples * target_hz / source_hz + 1/2)]: soxr's length.
    """
    source_hz = tf.cast(source_hz, tf.int64)
    return tf.cond(
        tf.equal(source_hz, target_hz), lambda: tf.identity(waveform), lambda: _convert(waveform, source_hz, target_hz)
    )


def _convert(waveform: tf.Tensor, source_hz: tf.Tensor, target_hz: int) -> tf.Tensor:
    divisors = tf.constant([d for d in range(1, target_hz + 1) if target_hz % d == 0], tf.int64)
    common = tf.reduce_max(tf.boolean_mask(divisors, source_hz % divisors == 0))
    up, down = target_hz // common, source_hz // common  # output n stands at input position n * down / up
    batch, samples = tf.unstack(tf.shape(waveform, tf.int64))
    samples_out = (2 * samples * up + down) // (2 * down)

    # A cycle of `up` outputs uses the same filters again `down` inputs later; a short one is repeated until it fills a
    # block. The outputs of one block, in all cycles, are one matrix product.
    repeats = tf.maximum(_BLOCK // up, 1)
    cycle_out, cycle_in = up * repeats, down * repeats
    cycles, blocks = -(-samples_out // cycle_out), -(-cycle_out // _BLOCK)
    reach = tf.cast(tf.math.ceil(_HALF_WIDTH * tf.maximum(down / up, 1.0)), tf.int64)
    width = -(-_BLOCK * down // up) + 2 * reach + 1
    rows = -(-width // cycle_in)  # a window's length in cycles
    inputs = (cycles + rows) * cycle_in
    padded = tf.pad(waveform, [[0, 0], [reach, tf.maximum(inputs + cycle_in - samples, 0)]])

    def convert_block(block: tf.Tensor) -> tf.Tensor:
        first_out = block * _BLOCK
        start = first_out * down // up  # in `padded`, where the window begins `reach` samples earlier
        cut = tf.reshape(padded[:, start : start + inputs], [batch, cycles + rows, cycle_in])
        windows = tf.gather(cut, tf.range(cycles)[:, tf.newaxis] + tf.range(rows), axis=1)
        windows = tf.reshape(windows, [batch, cycles, rows * cycle_in])[:, :, :width]
        places = (start - reach + tf.range(width))[:, tf.newaxis]
        outputs = first_out + tf.range(_BLOCK, dtype=tf.int64)
        # Exact in integers: each output's distance from each input, times `up`.
        distance = tf.cast(outputs * down - places * up, tf.float64) / tf.cast(tf.maximum(up, down), tf.float64)
        return windows @ _kernel(distance)  # [batch, cycles, _BLOCK]

    outputs = tf.map_fn(convert_block, tf.range(blocks), fn_output_signature=tf.float32, parallel_iterations=1)
    outputs = tf.transpose(outputs, [1, 2, 0, 3])  # [batch, cycles, blocks, _BLOCK]
    outputs = tf.reshape(outputs, [batch, cycles, blocks * _BLOCK])[:, :, :cycle_out]
    return tf.reshape(outputs, [batch, cycles * cycle_out])[:, :samples_out]


def _kernel(distance: tf.Tensor) -> tf.Tensor:
    """Returns weights for inputs at these distances in samples at the lower rate; the weights of an output add to 1.

    Args:
        distance: float64 [width, outputs].

    Returns:
        float32 [width, outputs].
    """
    place = tf.minimum(tf.abs(distance), _HALF_WIDTH) * _TABLE_STEPS
    below = tf.cast(place, tf.int32)
    fraction = tf.cast(place - tf.cast(below, tf.float64), tf.float32)
    table = tf.constant(_kernel_table())
    weights = tf.gather(table, below) * (1.0 - fraction) + tf.gather(table, below + 1) * fraction
    return weights / tf.reduce_sum(weights, axis=0, keepdims=True)


@functools.cache
def _kernel_table() -> np.ndarray:
    """Returns half the impulse response at `_TABLE_STEPS` points a sample at the lower rate, for linear interpolation."""
    distance = np.arange(int(_HALF_WIDTH * _TABLE_STEPS) + 2) / _TABLE_STEPS
    window = np.i0(_BETA * np.sqrt(np.maximum(1 - (distance / _HALF_WIDTH) ** 2, 0))) * (distance < _HALF_WIDTH)
    return (np.sinc(_CUTOFF * distance) * window / np.i0(_BETA)).astype(np.float32)
