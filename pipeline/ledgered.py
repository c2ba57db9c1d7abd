"""A dataset that knows its ledger, and whose iteration stops with the ledger's own error."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.data.ops.iterator_ops import OwnedIterator
from tensorflow.python.data.ops.multi_device_iterator_ops import OwnedMultiDeviceIterator

from pipeline.failed_examples import find_problem
from pipeline.failures import FailureLedger


class LedgeredDataset(tf.data.Dataset):
    """A `tf.data.Dataset` with the ledger of the files that it could not decode.

    What is made of it (`map`, `repeat`, `prefetch`, …) is a plain dataset: it records in the same ledger, but has no
    attribute for it, and TensorFlow's error stands around the ledger's message when too many files fail. Only
    `apply(tf.data.experimental.prefetch_to_device(…))` gives a `LedgeredDataset` again.

    Args:
        dataset: what it holds.
        paths: the files that it is made of.
        ledger: that it records its failures in.
        batches: how many it has; None: as many as TensorFlow knows that it has.

    Attributes:
        ledger: of the files that could not be decoded.
    """

    def __init__(
        self, dataset: tf.data.Dataset, paths: Sequence[str], ledger: FailureLedger, batches: tf.Tensor | None = None
    ) -> None:
        self._dataset = dataset
        self._paths = paths
        self._batches = batches
        self.ledger = ledger
        super().__init__(dataset._variant_tensor)

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self._dataset]

    @property
    def element_spec(self) -> Any:
        """The shapes and types of a batch."""
        return self._dataset.element_spec

    def cardinality(self) -> tf.Tensor:
        """Returns the number of batches, as that of any dataset."""
        return super().cardinality() if self._batches is None else self._batches

    def apply(self, transformation_func: Callable[[tf.data.Dataset], tf.data.Dataset]) -> tf.data.Dataset:
        """Applies a transformation, as that of any dataset does; after `prefetch_to_device` number and ledger are still known."""
        made = super().apply(transformation_func)
        if not getattr(transformation_func, "__qualname__", "").startswith("prefetch_to_device."):
            return made
        # TensorFlow does not know the number, and `assert_cardinality` must not stand behind a device's memory.
        return LedgeredDataset(made, self._paths, self.ledger, self.cardinality())

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._dataset)
        return _Batches(batches, self._paths, self.ledger) if tf.executing_eagerly() else batches


class _Batches(Iterator[Any]):
    """Iterates, and raises the ledger's error where TensorFlow's would hide it.

    It is no `tf.data.Iterator`: Keras takes the batches of such a one inside a graph, which only TensorFlow's errors leave.
    """

    def __init__(self, batches: Any, paths: Sequence[str], ledger: FailureLedger) -> None:
        self._batches, self._paths, self._ledger = batches, paths, ledger

    def __next__(self) -> Any:
        try:
            return next(self._batches)
        except tf.errors.OpError:
            problem = find_problem(self._paths, self._ledger)
            if problem is None:
                raise
        raise problem

    def get_next(self) -> Any:
        """Returns the next batch; raises tf.errors.OutOfRangeError after the last one."""
        return self._batches.get_next()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Switches tf.data's autotuning off.

    Autotuning starts with hardly any buffer, and takes longer than an epoch of a small data set to find out what is known
    beforehand: every core should decode.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@atexit.register
def close_iterators() -> None:
    """Ends the threads that decode ahead for iterators which are still there at the end of the process.

    Otherwise the interpreter takes such an iterator down when it lets no other thread run Python any more. A thread that
    decodes at this moment never ends, the iterator waits for it, and the process hangs.
    """
    was_frozen = gc.get_freeze_count() > 0  # frozen objects are not listed
    gc.unfreeze()
    for thing in gc.get_objects():
        if type(thing) in (OwnedIterator, OwnedMultiDeviceIterator):
            vars(thing).clear()
    if was_frozen:
        gc.freeze()
