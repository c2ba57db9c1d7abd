"""Padding of waveforms."""

from __future__ import annotations

import tensorflow as tf


def pad_samples(waveform: tf.Tensor, before: int, after: int, mode: str) -> tf.Tensor:
    """Pads waveforms [batch, samples] at their ends, as `tf.pad` does.

    One of several replicas may have no example to train on, and `tf.pad` reflects no empty tensor. There, and only
    there, what it makes of the samples' numbers says which samples to repeat.
    """
    if mode != "reflect" or not tf.distribute.has_strategy():
        return tf.pad(waveform, [[0, 0], [before, after]], mode=mode)
    samples = waveform.shape[1] or tf.shape(waveform)[1]
    places = tf.pad(tf.range(samples), [[before, after]], mode=mode)
    start, end = (tf.gather(waveform, part, axis=1) for part in (places[:before], places[before + samples :]))
    return tf.concat([start, waveform, end], axis=1)
