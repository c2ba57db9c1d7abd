"""Training batches from a tf.data service: the same ones, in the same order, as if they were decoded here.

The service delivers each epoch's batches in any order. It loses some when a worker is killed, and whatever it has in
hand when all of it is. So every batch carries its number: they are put in order, those that came before are dropped and
counted, and one that does not come in time is counted as lost and decoded here.
"""

from __future__ import annotations

import dataclasses
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import tensorflow as tf

from pipeline.dataset import Batch, Delivery

Report = Callable[[str], None]
START_SECONDS = 60.0
MOMENT_SECONDS = 0.1  # in which what has come while nobody asked is taken in


class ServiceError(ValueError):
    """There is no tf.data service where one is expected."""


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait for a batch before it is decoded here.

    Args:
        notice_seconds: without any batch, after which the reason for the wait is reported.
        gone_seconds: without any batch, after which the service counts as gone. What it sends later is used again.
        late_seconds: for one batch while later ones have come.
        later_batches: how many later ones may come before it is given up; they are kept in memory.
    """

    notice_seconds: float = 15.0
    gone_seconds: float = 60.0
    late_seconds: float = 10.0
    later_batches: int = 32


@dataclasses.dataclass
class Deliveries:
    """What became of an epoch's examples.

    Each is received or lost, and lost ones are decoded here. `failed` ones were received, but as undecodable: they are
    tried again here. `repeated` ones came twice, or after they had been given up.
    """

    received: int = 0
    lost: int = 0
    failed: int = 0
    repeated: int = 0

    def __str__(self) -> str:
        return (
            f"{self.received} examples received from the data service, {self.lost} lost and {self.failed} undecodable "
            f"there, which were decoded here, {self.repeated} repeated ones dropped"
        )


@dataclasses.dataclass
class Arrivals:
    """What a thread has received from the service: (step, batch), and at the end None or the reason why it broke off."""

    items: queue.Queue[tuple[int, Batch] | Exception | None]
    stopped: threading.Event

    @classmethod
    def begin(cls, read: Callable[[], Iterator[tuple[int, Batch]]]) -> Arrivals:
        """Reads in a thread of its own, since reading from a dead service waits inside TensorFlow without an end."""
        arrivals = cls(queue.Queue(maxsize=1), threading.Event())
        threading.Thread(target=arrivals._receive, args=(read,), daemon=True).start()
        return arrivals

    def _receive(self, read: Callable[[], Iterator[tuple[int, Batch]]]) -> None:
        try:
            for item in read():
                if not self._put(item):
                    return
            self._put(None)
        except Exception as error:  # whatever it is, the epoch can be finished without the service
            self._put(error)

    def _put(self, item: tuple[int, Batch] | Exception | None) -> bool:
        while not self.stopped.is_set():
            try:
                self.items.put(item, timeout=1)
                return True
            except queue.Full:
                pass
        return False


class InOrder:
    """Iterates over an epoch's batches in order, whatever arrives.

    Args:
        arrivals: from the service.
        steps: number of batches.
        decode: decodes a step's batch here.
        patience: with the service.
        report: is told what goes wrong.
    """

    def __init__(
        self, arrivals: Arrivals, steps: int, decode: Callable[[int], Batch], patience: Patience, report: Report
    ):
        self.deliveries = Deliveries()
        self._arrivals, self._steps, self._decode = arrivals, steps, decode
        self._patience, self._report = patience, report
        self._later: dict[int, tuple[float, Batch]] = {}  # with the time of arrival, in its order
        self._ended = self._gone = False

    def __iter__(self) -> Iterator[Batch]:
        for step in range(self._steps):
            yield self._next(step)

    def _next(self, step: int) -> Batch:
        self._await(step)
        if step not in self._later:
            batch = self._decode(step)
            self.deliveries.lost += len(batch[1])
            return batch
        _, batch = self._later.pop(step)
        self.deliveries.received += len(batch[1])
        if failures := int(tf.math.count_nonzero(batch[2])):
            # Perhaps on that worker alone, where a file is out of reach: what counts is whether it can be decoded here.
            batch = self._decode(step)
            self.deliveries.failed += failures
        return batch

    def _await(self, step: int) -> None:
        """Returns when a step's batch is there or is given up."""
        patience, began, noticed = self._patience, time.monotonic(), False
        while step not in self._later and not self._ended and len(self._later) < patience.later_batches:
            if self._later:
                # Late since the first later one came, so that two lost batches are waited for once; but what has come
                # while nobody asked gets a moment to be taken in.
                first_arrival = next(iter(self._later.values()))[0]
                until = max(first_arrival + patience.late_seconds, began + MOMENT_SECONDS)
            elif self._gone:
                until = began + MOMENT_SECONDS
            else:
                until = began + (patience.gone_seconds if noticed else patience.notice_seconds)
            try:
                item = self._arrivals.items.get(timeout=max(0, until - time.monotonic()))
            except queue.Empty:
                if self._later or self._gone:
                    return
                self._gone = noticed
                self._report(
                    f"the data service has sent nothing for {time.monotonic() - began:.0f} s"
                    + (
                        ": going on by decoding here"
                        if self._gone
                        else f" (do dispatcher and workers run?); after {patience.gone_seconds:g} s decoding goes on here"
                    )
                )
                noticed = True
                continue
            if not isinstance(item, tuple):
                self._ended = True
                if item:
                    self._report(f"the data service broke off, decoding goes on here: {item}")
            elif item[0] < step or item[0] in self._later:
                self.deliveries.repeated += len(item[1][1])
                if self._gone:
                    began = time.monotonic()  # it is coming back: take in what it has sent since
            else:
                self._later[item[0]] = time.monotonic(), item[1]
                self._gone = False


def service_delivery(address: str, report: Report, patience: Patience | None = None) -> Delivery:
    """Has the batches of `pipeline.dataset.train_dataset` decoded by a tf.data service.

    Nothing that befalls the service stops the pass or changes it: what does not come is decoded here.

    Args:
        address: of the dispatcher, grpc://host:port.
        report: is called with a sentence when the service fails, and at the end of a pass with its counts.
        patience: with the service.

    Returns:
        The `delivery` of `train_dataset`.
    """
    service = tf.data.experimental.service

    def delivery(numbered: tf.data.Dataset, decode_step: Callable[[tf.Tensor], Batch]) -> tf.data.Dataset:
        def read() -> Iterator[tuple[int, Batch]]:
            # Uncompressed: audio as floats hardly shrinks, and compressing it takes longer than sending it.
            dataset_id = service.register_dataset(address, numbered, compression=None)
            # Batches are handed to workers one by one, when a worker asks for one: a slow worker gets fewer, and a
            # killed one takes few with it. (A fixed share each would begin again from its first when it is restarted.)
            for step, *batch in service.from_dataset_id(
                service.ShardingPolicy.DYNAMIC, address, dataset_id, numbered.element_spec
            ):
                yield int(step), tuple(batch)

        def batches() -> Iterator[Batch]:
            arrivals = Arrivals.begin(read)
            try:
                ordered = InOrder(arrivals, int(numbered.cardinality()), decode_step, patience or Patience(), report)
                yield from ordered
                report(str(ordered.deliveries))
            finally:
                arrivals.stopped.set()

        return tf.data.Dataset.from_generator(batches, output_signature=numbered.element_spec[1:])

    return delivery


def check_service(address: str, timeout_seconds: float = START_SECONDS) -> None:
    """Waits until a dispatcher answers.

    Args:
        address: grpc://host:port.
        timeout_seconds: for which it may be out of reach, for instance because it is being started.

    Raises:
        ServiceError: the address is none, or no dispatcher answers there.
    """
    match = re.fullmatch(r"grpc://(\[?[^/\s]+?\]?):(\d+)", address)
    if not match:
        raise ServiceError(f"expected data_service like grpc://host:port, received {address!r}")
    failures: list[Exception | None] = []

    def register() -> None:
        try:
            tf.data.experimental.service.register_dataset(address, tf.data.Dataset.range(1), compression=None)
            failures.append(None)
        except tf.errors.OpError as error:
            failures.append(error)

    thread = threading.Thread(target=register, daemon=True)  # it waits inside TensorFlow, without an end
    thread.start()
    thread.join(timeout_seconds)
    if failures == [None]:
        return
    raise ServiceError(
        f"expected the dispatcher of a tf.data service at {address}, but "
        + (
            f"what answers there is none: {type(failures[0]).__name__}; is it a worker's port?"
            if failures
            else f"none answered within {timeout_seconds:.0f} s ({_connection_failure(match[1], int(match[2]))})"
        )
        + ". Start one with experiments.data_service --role=dispatcher, or train without --data_service: the result is "
        "the same"
    )


def _connection_failure(host: str, port: int) -> str:
    try:
        socket.create_connection((host.strip("[]"), port), timeout=5).close()
    except OSError as error:
        return error.strerror or str(error)
    return "something else listens there"
