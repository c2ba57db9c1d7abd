"""Receives training batches from a tf.data service: the same batches, in the same order, as if this process decoded them.

The service delivers the batches of an epoch in any order. It loses some when a worker is killed, and all that it holds when
all its processes are. So every batch carries its number. The client puts the batches in order, drops and counts those that
it has had before, and decodes a batch itself that does not arrive in time.
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

from pipeline.decoding.batches import Batch
from pipeline.passes import Delivery

Report = Callable[[str], None]
START_SECONDS = 60.0
MOMENT_SECONDS = 0.1  # time to take in the batches that have arrived while nobody asked


class ServiceError(ValueError):
    """No tf.data service answers at the address."""


@dataclasses.dataclass(frozen=True)
class Timeouts:
    """How long to wait for a batch before this process decodes it.

    Args:
        notice_seconds: time without any batch after which the client reports why it waits.
        gone_seconds: time without any batch after which the service counts as gone. If it sends batches later, they are
            used again.
        late_seconds: time to wait for one batch while later batches have arrived.
        later_batches: how many later batches may arrive before the client gives a batch up; they are kept in memory.
    """

    notice_seconds: float = 15.0
    gone_seconds: float = 60.0
    late_seconds: float = 10.0
    later_batches: int = 32


@dataclasses.dataclass
class Deliveries:
    """Counts of an epoch's examples.

    Attributes:
        received: examples that the service delivered.
        lost: examples that did not arrive; this process decoded them.
        failed: received examples that the service could not decode; this process tried them again.
        repeated: examples that arrived twice, or after they had been given up.
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
class Receiver:
    """A thread that reads from the service.

    Attributes:
        items: (step, batch) as they arrive; at the end None, or the error with which the service broke off.
        stopped: set it to end the thread.
    """

    items: queue.Queue[tuple[int, Batch] | Exception | None]
    stopped: threading.Event

    @classmethod
    def start(cls, read: Callable[[], Iterator[tuple[int, Batch]]]) -> Receiver:
        """Starts to read, in a thread because reading from a dead service waits inside TensorFlow without an end."""
        receiver = cls(queue.Queue(maxsize=1), threading.Event())
        threading.Thread(target=receiver._receive, args=(read,), daemon=True).start()
        return receiver

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


class ReorderBuffer:
    """Iterates over an epoch's batches in order, whatever arrives.

    Args:
        receiver: reads from the service.
        steps: number of batches.
        decode: decodes the batch of a step in this process.
        timeouts: how long to wait for the service.
        report: is called with a sentence when something goes wrong.
    """

    def __init__(
        self, receiver: Receiver, steps: int, decode: Callable[[int], Batch], timeouts: Timeouts, report: Report
    ):
        self.deliveries = Deliveries()
        self._receiver, self._steps, self._decode = receiver, steps, decode
        self._timeouts, self._report = timeouts, report
        self._later: dict[int, tuple[float, Batch]] = {}  # with the time of arrival, in its order
        self._ended = self._gone = self._unable = False

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
            theirs, batch = batch, self._decode(step)
            self.deliveries.failed += failures
            self._report_unable(theirs[2], batch[2])
        return batch

    def _report_unable(self, theirs: tf.Tensor, ours: tf.Tensor) -> None:
        """Reports once why a worker cannot decode what this process can.

        Args:
            theirs: errors of the worker [batch].
            ours: errors of this process.
        """
        reasons = tf.boolean_mask(theirs, (theirs != "") & (ours == "")).numpy()
        if len(reasons) and not self._unable:
            self._unable = True
            reason = reasons[0].decode(errors="surrogateescape")
            self._report(f"a worker cannot decode what this process can, which therefore decodes it: {reason}")

    def _await(self, step: int) -> None:
        """Waits until the batch of a step has arrived or is given up."""
        timeouts, began, noticed = self._timeouts, time.monotonic(), False
        while step not in self._later and not self._ended and len(self._later) < timeouts.later_batches:
            if self._later:
                # Late since the first later one came, so that two lost batches are waited for once; but what has come
                # while nobody asked gets a moment to be taken in.
                first_arrival = next(iter(self._later.values()))[0]
                until = max(first_arrival + timeouts.late_seconds, began + MOMENT_SECONDS)
            elif self._gone:
                until = began + MOMENT_SECONDS
            else:
                until = began + (timeouts.gone_seconds if noticed else timeouts.notice_seconds)
            try:
                item = self._receiver.items.get(timeout=max(0, until - time.monotonic()))
            except queue.Empty:
                if self._later or self._gone:
                    return
                self._gone = noticed
                self._report(
                    f"the data service has sent nothing for {time.monotonic() - began:.0f} s"
                    + (
                        ": going on by decoding here"
                        if self._gone
                        else f" (do dispatcher and workers run?); after {timeouts.gone_seconds:g} s decoding goes on here"
                    )
                )
                noticed = True
                continue
            if not isinstance(item, tuple):
                self._ended = True
                if item:
                    self._report(f"the data service broke off, decoding goes on here: {_reason(item)}")
            elif item[0] < step or item[0] in self._later:
                self.deliveries.repeated += len(item[1][1])
                if self._gone:
                    began = time.monotonic()  # it is coming back: take in what it has sent since
            else:
                self._later[item[0]] = time.monotonic(), item[1]
                self._gone = False


def _reason(error: Exception) -> str:
    """Returns an error of the service as a part of a sentence."""
    text = error.message if isinstance(error, tf.errors.OpError) else str(error)
    if "Could not find callback with key" in text:
        return "a worker does not know how this version of the trainer decodes; start it again from the same version"
    if "Op type not registered 'IO>" in text:
        return "dispatcher or workers have no tensorflow-io, which --decoder=tfio requires there too"
    return text.strip().partition("\n")[0]


def service_delivery(address: str, report: Report, timeouts: Timeouts | None = None) -> Delivery:
    """Has the batches of `pipeline.dataset.train_dataset` decoded by a tf.data service.

    No failure of the service stops or changes the pass: this process decodes the batches that do not arrive.

    Args:
        address: address of the dispatcher, grpc://host:port.
        report: is called with a sentence when the service fails, and at the end of a pass with its counts.
        timeouts: how long to wait for the service.

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
            receiver = Receiver.start(read)
            try:
                ordered = ReorderBuffer(
                    receiver, int(numbered.cardinality()), decode_step, timeouts or Timeouts(), report
                )
                yield from ordered
                report(str(ordered.deliveries))
            finally:
                receiver.stopped.set()

        return tf.data.Dataset.from_generator(batches, output_signature=numbered.element_spec[1:])

    return delivery


def check_service(address: str, timeout_seconds: float = START_SECONDS) -> None:
    """Waits until a dispatcher answers.

    Args:
        address: grpc://host:port.
        timeout_seconds: how long the dispatcher may be out of reach, for instance because it is being started.

    Raises:
        ServiceError: the address has another form, or no dispatcher answers there.
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
