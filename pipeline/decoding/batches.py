"""From crops to batches of waveforms: the decoders within tf.data."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipeline.decoding import tfio_decoder as mp3_graph
from pipeline.decoding.soundfile_decoder import DecodeError, decode_crop, fit_length

DECODERS = ("soundfile", "tfio")

Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # waveform [batch, samples], row [batch], error [batch], "" for none


def path_table(paths: Sequence[str]) -> tf.Tensor:
    """The paths as a string tensor [paths]."""
    return tf.constant([os.fsencode(path) for path in paths])  # bytes: a name need not be text


def decoded_batches(
    crops: tf.data.Dataset,
    table: tf.Tensor,
    sample_rate_hz: int,
    crop_samples: int,
    batch_size: int,
    decoder: str,
    workers: int,
) -> tf.data.Dataset:
    """Decodes crops to batches.

    Batches are cut before failures are dropped, so a bad file shortens its own batch and shifts no other.

    Args:
        crops: (row int64, position float32), both scalar: a clip's place in the table, and where in it the crop lies.
        table: from `path_table`.
        sample_rate_hz: rate of the waveforms.
        crop_samples: length of a crop; 0 for whole clips.
        batch_size: crops a batch.
        decoder: one of `DECODERS`.
        workers: parallel decodes.

    Returns:
        A dataset of `Batch`.
    """

    def decode_crop_by_ops(row: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, ...]:
        waveform, error = mp3_graph.decode_file(table[row], sample_rate_hz, crop_samples, position)
        return waveform, row, error

    def decode_batch(row: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # Declared stateless: a stateful op would lose its parallelism under op determinism, and this one is a function
        # of its inputs.
        waveform, error = tf.numpy_function(
            functools.partial(_decode_batch, sample_rate_hz, crop_samples),
            [tf.gather(table, row), position],
            [tf.float32, tf.string],
            stateful=False,
        )
        return tf.ensure_shape(waveform, [None, crop_samples or None]), row, tf.ensure_shape(error, [None])

    if decoder == "tfio":
        decoded = crops.map(decode_crop_by_ops, num_parallel_calls=workers)
        return decoded.batch(batch_size) if crop_samples else decoded.padded_batch(batch_size)
    # A batch a call, rather than a crop: fewer calls into Python, and no copy into the batch by one thread.
    return crops.batch(batch_size).map(decode_batch, num_parallel_calls=workers)


def _decode_batch(
    sample_rate_hz: int, crop_samples: int, paths: np.ndarray, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    waveforms, errors = [], []
    for path, position in zip(paths, positions, strict=True):
        try:
            waveform, error = decode_crop(os.fsdecode(path), sample_rate_hz, crop_samples, float(position)), b""
        except DecodeError as failure:
            waveform, error = np.zeros(crop_samples or 1, np.float32), str(failure).encode()
        waveforms.append(waveform)
        errors.append(error)
    longest = max(len(waveform) for waveform in waveforms)  # they differ for whole clips only
    return np.stack([fit_length(waveform, longest) for waveform in waveforms]), np.array(errors, object)
