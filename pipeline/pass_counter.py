"""Which pass over the data comes next: counted inside a dataset, where Keras, which asks for one pass after another, is not asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


class _PassCounter:
    """The number of the next pass. Several threads may use it at once."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._lock = threading.Lock()

    def read(self) -> np.int64:
        with self._lock:
            return np.int64(self._next)

    def finish(self, number: np.int64) -> np.int64:
        """Notes that a pass has been delivered to its end; of passes that ran at the same time, the latest counts."""
        with self._lock:
            self._next = max(self._next, int(number) + 1)
        return number


def count_passes(
    make_pass: Callable[[tf.Tensor], tf.data.Dataset], batches: int, first: int, buffer_batches: int
) -> tf.data.Dataset:
    """Makes a dataset of which every iteration is another pass.

    A pass is finished when its last batch has been handed out: whoever knows the number of batches does not ask for the end.
    A pass that is left before is begun anew by the next iteration.

    Args:
        make_pass: from the number of a pass, int64 scalar, to its dataset of tuples.
        batches: how many of them each pass has.
        first: number of the first pass.
        buffer_batches: how many batches are made ahead.

    Returns:
        A dataset of the same tuples, which knows its number of batches.
    """
    counter = _PassCounter(first)

    def number_batches(number: tf.Tensor) -> tf.data.Dataset:
        return make_pass(number).enumerate(1).map(lambda place, batch: (number, place, batch))

    def count(number: tf.Tensor, place: tf.Tensor, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        finished = tf.cond(
            tf.equal(place, batches),
            lambda: tf.numpy_function(counter.finish, [number], tf.int64),
            lambda: tf.identity(number),
        )
        with tf.control_dependencies([finished]):
            return tf.nest.map_structure(tf.identity, batch)

    numbers = tf.data.Dataset.from_tensors(0).map(
        lambda _: tf.ensure_shape(tf.numpy_function(counter.read, [], tf.int64), [])
    )
    # Counted behind the buffer, so that what waits in it is not taken as handed out.
    passes = numbers.flat_map(number_batches).prefetch(buffer_batches).map(count)
    return passes.apply(tf.data.experimental.assert_cardinality(batches))
