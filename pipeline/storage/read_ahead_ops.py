"""Reading ahead as a stage of a dataset: see `pipeline.storage.read_ahead`."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from pipeline.storage.read_ahead import read_ahead

_CLIPS_AT_ONCE = 16  # a pass that is left waits for these at most


def read_groups_ahead(crops: tf.data.Dataset, table: tf.Tensor, group_size: int) -> tf.data.Dataset:
    """Reads the clips of the next group of crops while those of the group before are decoded.

    Args:
        crops: (row int64, position float32), both scalar; see `pipeline.decoding.batches.decoded_batches`.
        table: paths of the clips, string [rows].
        group_size: number of crops that are read together.

    Returns:
        The same dataset.
    """

    def read(paths: np.ndarray) -> np.ndarray:
        read_ahead(map(os.fsdecode, paths))
        return np.zeros(0, np.int64)

    def read_slice(paths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        nothing = tf.ensure_shape(tf.numpy_function(read, [paths], tf.int64, stateful=False), [None])
        return nothing, tf.cast(nothing, tf.float32)

    def group(row: tf.Tensor, position: tf.Tensor) -> tf.data.Dataset:
        paths = tf.gather(table, tf.sort(tf.unique(row)[0]))
        slices = tf.data.Dataset.from_tensor_slices(paths).batch(_CLIPS_AT_ONCE).map(read_slice)
        return slices.concatenate(tf.data.Dataset.from_tensors((row, position)))

    slices = group_size // _CLIPS_AT_ONCE + 1
    return crops.batch(group_size).flat_map(group).prefetch(slices + 1).unbatch()
