"""Failures inside a dataset: takes failed examples out of their batches, and records them, and remarks, in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from pipeline.failures import FailureBudgetError, FailureLedger


def drop_failures(paths: Sequence[str], ledger: FailureLedger) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Makes a function for `Dataset.map` that takes failed examples out of a batch and records them, and remarks on others.

    Args:
        paths: the path of each row.
        ledger: where the failures and remarks are recorded.

    Returns:
        A function of a batch (*tensors, row, error, remark), all [batch, ...], that returns the batch (*tensors, row)
        without the examples whose error is not empty.
    """

    def note(rows: np.ndarray, remarks: np.ndarray) -> np.int64:
        for row, remark in zip(rows, remarks, strict=True):
            ledger.remark(paths[row], remark.decode(errors="surrogateescape"))
        return np.int64(len(rows))

    def record(rows: np.ndarray, errors: np.ndarray) -> np.int64:
        try:
            for row, error in zip(rows, errors, strict=True):
                ledger.record(paths[row], error.decode(errors="surrogateescape"))
        except FailureBudgetError as error:
            raise _printable(error) from None
        return np.int64(len(rows))

    def drop(*batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        *kept, error, remark = batch
        failed, remarked = error != "", remark != ""

        def record_and_drop() -> list[tf.Tensor]:
            rows = tf.boolean_mask(kept[-1], failed)
            recorded = tf.numpy_function(record, [rows, tf.boolean_mask(error, failed)], tf.int64)
            with tf.control_dependencies([recorded]):
                return [tf.boolean_mask(tensor, ~failed) for tensor in kept]

        def note_remarks() -> tf.Tensor:
            rows = tf.boolean_mask(kept[-1], remarked)
            return tf.numpy_function(note, [rows, tf.boolean_mask(remark, remarked)], tf.int64)

        noted = tf.cond(tf.reduce_any(remarked), note_remarks, lambda: tf.constant(0, tf.int64))
        with tf.control_dependencies([noted]):
            # The usual batch has no failure and is passed on without a copy.
            result = tf.cond(tf.reduce_any(failed), record_and_drop, lambda: [tf.identity(tensor) for tensor in kept])
        for tensor, original in zip(result, kept, strict=True):
            tensor.set_shape([None, *original.shape[1:]])
        return tuple(result)

    return drop


def find_problem(paths: Sequence[str], ledger: FailureLedger) -> FailureBudgetError | None:
    """Returns why a dataset cannot go on: more files failed than the ledger allows, or all of them.

    Args:
        paths: the files of the dataset.
        ledger: where their failures are recorded.
    """
    try:
        ledger.check()
    except FailureBudgetError as error:
        return error
    failures = ledger.failures
    if any(path not in failures for path in paths):
        return None
    shown = "\n".join(f"  {path}: {failures[path].reason}" for path in dict.fromkeys(paths[:10]))
    return FailureBudgetError(f"expected files that can be decoded, found none of {len(paths)}:\n{shown}")


def at_least_one(paths: Sequence[str], ledger: FailureLedger, nothing: Sequence[tf.Tensor]) -> tf.data.Dataset:
    """Makes a dataset without batches that raises an error if every file has failed when it is reached.

    Args:
        paths: the files of the dataset in front of it.
        ledger: where their failures are recorded.
        nothing: a batch without examples.
    """

    def check() -> np.int64:
        if problem := find_problem(paths, ledger):
            raise _printable(problem)
        return np.int64(0)

    def checked(*batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.control_dependencies([tf.numpy_function(check, [], tf.int64)]):
            return tuple(tf.identity(tensor) for tensor in batch)

    return tf.data.Dataset.from_tensors(tuple(nothing)).map(checked).filter(not_empty)


def _printable(error: FailureBudgetError) -> FailureBudgetError:
    """Returns the same error without what is not text: TensorFlow dies of an exception with such a file's name."""
    return FailureBudgetError(str(error).encode(errors="backslashreplace").decode())


def not_empty(*batch: tf.Tensor) -> tf.Tensor:
    """Returns whether a batch has examples, bool scalar: a function for `Dataset.filter`."""
    return tf.shape(batch[0])[0] > 0
