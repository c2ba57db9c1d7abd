"""Sample-rate conversion as TensorFlow ops, for graphs that must not leave TensorFlow: exports and graph-native decoding.

A windowed-sinc polyphase FIR (Smith, "Digital Audio Resampling", ccrma.stanford.edu/~jos/resample) whose band edges are
those of soxr's HQ quality, so that it may stand in for it: flat to 0.91 of the lower rate's half, silent from that half
on. The source rate is a tensor; the filter is designed in the graph for it.
"""

from __future__ import annotations

import math

import tensorflow as tf

_CUTOFF = 0.956872  # -6 dB point, in units of the lower rate's half
_BETA = 13.711  # of the Kaiser window
_HALF_WIDTH = 102.25  # of the filter, in samples at the lower rate
_BLOCK = 64  # outputs that share one window of inputs, and so one row of a matrix product


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

    # A cycle of `up` outputs uses the same filters again `down` inputs later. Cycles are cut into blocks, after
    # repeating a short one until it fills a block.
    repeats = tf.maximum(_BLOCK // up, 1)
    cycle_out, cycle_in = up * repeats, down * repeats
    starts, weights = _filters(up, down, (cycle_out + _BLOCK - 1) // _BLOCK)  # [blocks], [blocks, width, _BLOCK]
    blocks, width = tf.unstack(tf.shape(weights, tf.int64)[:2])
    cycles = (samples_out + cycle_out - 1) // cycle_out
    first = -starts[0]  # the zeros before the waveform that the first window reaches
    places = first + (tf.range(cycles) * cycle_in)[:, tf.newaxis] + starts  # [cycles, blocks]
    after = tf.maximum(tf.reduce_max(places) + width - first - samples, 0)
    padded = tf.pad(waveform, [[0, 0], [first, after]])
    windows = tf.gather(padded, places[:, :, tf.newaxis] + tf.range(width), axis=1)  # [batch, cycles, blocks, width]
    outputs = tf.einsum("ncbw,bwo->ncbo", windows, weights)  # [batch, cycles, blocks, _BLOCK]
    outputs = tf.reshape(outputs, [batch, cycles, blocks * _BLOCK])[:, :, :cycle_out]
    return tf.reshape(outputs, [batch, cycles * cycle_out])[:, :samples_out]


def _filters(up: tf.Tensor, down: tf.Tensor, blocks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Designs the filters of one cycle.

    Returns:
        Where each block's window of inputs begins, int64 [blocks], and its weights, float32 [blocks, width, _BLOCK].
    """
    ratio = tf.cast(down, tf.float64) / tf.cast(up, tf.float64)  # inputs an output
    lower = 1.0 / tf.maximum(ratio, 1.0)  # the lower rate in units of the source's
    half_width = _HALF_WIDTH / lower
    reach = tf.cast(tf.math.ceil(half_width), tf.int64)
    first_out = tf.range(blocks) * _BLOCK  # [blocks]
    starts = first_out * down // up - reach
    width = (_BLOCK * down + up - 1) // up + 2 * reach + 1
    # Exact in integers: the distance of each output of a block from each input of its window, times `up`.
    outputs = (first_out[:, tf.newaxis] + tf.range(tf.constant(_BLOCK, tf.int64)))[:, tf.newaxis, :] * down
    inputs = (starts[:, tf.newaxis] + tf.range(width))[:, :, tf.newaxis] * up
    distance = tf.cast(outputs - inputs, tf.float64) / tf.cast(up, tf.float64)  # [blocks, width, _BLOCK]
    angle = math.pi * _CUTOFF * lower * distance
    sinc = tf.where(distance == 0.0, tf.ones_like(angle), tf.math.divide_no_nan(tf.sin(angle), angle))
    inside = tf.maximum(1.0 - tf.square(distance / half_width), 0.0)
    weights = tf.where(inside > 0.0, sinc * _bessel_i0(_BETA * tf.sqrt(inside)), tf.zeros_like(sinc))
    return starts, tf.cast(weights / tf.reduce_sum(weights, axis=1, keepdims=True), tf.float32)


def _bessel_i0(x: tf.Tensor) -> tf.Tensor:
    return tf.math.exp(x) * tf.math.bessel_i0e(x)
