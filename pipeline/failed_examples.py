"""Failures inside a dataset: from batches that name them to batches without them, and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from pipeline.failures import FailureLedger


def drop_failures(paths: Sequence[str], ledger: FailureLedger) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Makes a map over batches (*tensors, row, error) that records the failed rows and returns (*tensors, row)."""

    def record(rows: np.ndarray, errors: np.ndarray) -> np.int64:
        for row, error in zip(rows, errors, strict=True):
            ledger.record(paths[row], error.decode())
        return np.int64(len(rows))

    def drop(*batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        *kept, error = batch
        failed = error != ""

        def record_and_drop() -> list[tf.Tensor]:
            rows = tf.boolean_mask(kept[-1], failed)
            recorded = tf.numpy_function(record, [rows, tf.boolean_mask(error, failed)], tf.int64)
            with tf.control_dependencies([recorded]):
                return [tf.boolean_mask(tensor, ~failed) for tensor in kept]

        # The usual batch has no failure and is passed on without a copy.
        result = tf.cond(tf.reduce_any(failed), record_and_drop, lambda: [tf.identity(tensor) for tensor in kept])
        for tensor, original in zip(result, kept, strict=True):
            tensor.set_shape([None, *original.shape[1:]])
        return tuple(result)

    return drop


def not_empty(*batch: tf.Tensor) -> tf.Tensor:
    """Whether a batch has examples left."""
    return tf.shape(batch[0])[0] > 0
