"""The machines and GPUs that train together: one process on each host, with a copy of the model on every GPU.

`TF_CONFIG`, as TensorFlow defines it, names the hosts and says which of them this process is:

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:9000", "10.0.0.2:9000"]}, "task": {"type": "worker", "index": 0}}'

Without it training is one process: on the CPU, on a GPU, or on all GPUs of the machine. One process on a CPU can also have
as many copies of the model as a training on several hosts, and then computes what they do, bit for bit, while every clip
can be decoded.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments.training.examples import count_examples_only
from experiments.training.watchdog import ended_after
from pipeline.failures import Failure, FailureLedger

TIMEOUT_SECONDS = 600  # for the hosts to start, and for the slowest of them to take a step or write a checkpoint


_LOST = (
    *(tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError),
    *(tf.errors.CancelledError, tf.errors.FailedPreconditionError),
)


class HostError(ValueError):
    """Another training host stopped, or cannot be reached."""


class Cluster:
    """The hosts that train together, seen from one of them.

    Args:
        strategy: of TensorFlow, in whose scope the model is built.
        addresses: of all hosts, in their order; empty without others.
        index: of this one.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy | None = None, addresses: Sequence[str] = (), index: int = 0
    ) -> None:
        self.strategy = strategy or tf.distribute.get_strategy()
        self.addresses = tuple(addresses)
        self.index = index

        def total(vector: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # A tensor of the replica's own: what comes from outside has no device.
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(vector))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def total_of_hosts(vector: tf.Tensor) -> tf.Tensor:
            return self.first_replica(self.strategy.run(total, [vector])) / self.local_replicas

        self._total_of_hosts = total_of_hosts

    @property
    def count(self) -> int:
        """Number of hosts."""
        return len(self.addresses) or 1

    @property
    def is_chief(self) -> bool:
        """Whether this is the host that writes the run directory."""
        return self.index == 0

    @property
    def replicas(self) -> int:
        """Copies of the model on all hosts together."""
        return self.strategy.num_replicas_in_sync

    @property
    def local_replicas(self) -> int:
        """Copies of the model on this host."""
        return self.replicas // self.count

    def first_replica(self, values: Any) -> Any:
        """Returns the first replica's result of `strategy.run`: for results that are the same on every replica."""
        return self.strategy.experimental_local_results(values)[0]

    def all_texts(self, text: str) -> list[str]:
        """Returns the texts that the hosts pass, in their order. All hosts must call it at the same place.

        Bytes travel as the float32 sums that training itself needs: every device and network has those.
        """
        if self.count == 1:
            return [text]
        own = np.frombuffer(text.encode(), np.uint8)
        lengths = np.zeros(self.count, np.float32)
        lengths[self.index] = len(own)
        lengths = self._total_of_hosts(lengths).numpy().astype(int)
        table = np.zeros((self.count, max(1, *lengths)), np.float32)  # TensorFlow dies of a sum of nothing
        table[self.index, : len(own)] = own
        table = self._total_of_hosts(table.ravel()).numpy().reshape(table.shape).astype(np.uint8)
        return [row[:length].tobytes().decode() for row, length in zip(table, lengths, strict=True)]

    def from_chief(self, value: Any) -> Any:
        """Returns the chief's value on every host, for decisions that all must take alike. JSON must be able to hold it."""
        return json.loads(self.all_texts(json.dumps(value))[0])

    def wait(self) -> None:
        """Waits until every host is here."""
        self.all_texts("")

    def check_alike(self, what: str, value: str, remedy: str) -> None:
        """Raises the same ValueError on every host if the hosts' values differ."""
        values = self.all_texts(value)
        if len(set(values)) > 1:
            listed = "\n".join(f"  host {i}: {value}" for i, value in enumerate(values))
            raise ValueError(f"expected {what} alike on every training host, found\n{listed}\n{remedy}")

    def synchronise_batch_norm(self, model: keras.Model) -> None:
        """Lets batch normalisation take its moments over the examples of all replicas: as one large batch would.

        A stand-in for a replica without examples does not count (`examples.py`). A frozen layer takes no moments.
        """
        for layer in model.layers:
            if isinstance(layer, keras.Model):
                self.synchronise_batch_norm(layer)
            elif isinstance(layer, keras.layers.BatchNormalization) and layer.trainable and self.replicas > 1:
                layer.synchronized = True
                count_examples_only(layer)

    def spread_seeds(self, model: keras.Model) -> None:
        """Gives the replicas different masks of dropout and SpecAugment; the chief's first replica keeps its own."""
        weights = {id(weight) for weight in model.weights}
        seeds = [variable.value for variable in model.variables if id(variable) not in weights]  # [seed, draws so far]

        def shift() -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            for seed in seeds:
                seed.assign_add(tf.cast(tf.stack([replica, 0]), seed.dtype))

        @tf.function
        def shift_all() -> None:
            self.strategy.run(shift)

        if self.replicas > 1:
            shift_all()


def share_failures(cluster: Cluster, ledger: FailureLedger, known: dict[str, Failure]) -> None:
    """Brings to every host's ledger what the others have recorded since all knew the same.

    Args:
        cluster: the hosts that train together; all must call this at the same place.
        ledger: this host's.
        known: its failures when they last were the same on every host.

    Raises:
        FailureBudgetError: on every host, if together they are too many.
    """
    new = {}
    for path, failure in ledger.failures.items():
        if count := failure.occurrences - (known[path].occurrences if path in known else 0):
            new[path] = failure.reason, count
    for i, text in enumerate(cluster.all_texts(json.dumps(new))):
        if i != cluster.index:
            for path, (reason, count) in json.loads(text).items():
                ledger.record(path, reason, count)


@contextmanager
def joined_hosts(replicas: int = 0) -> Iterator[Cluster]:
    """Joins the other hosts of TF_CONFIG, if there are any, and leaves together with them.

    Args:
        replicas: copies of the model on all hosts together; 0: one on each GPU, or on each host without any.

    Raises:
        HostError: another host does not start, or stops before the end.
        ValueError: TF_CONFIG cannot be understood, or does not fit the copies.
    """
    addresses, index = _read_tf_config(os.environ.get("TF_CONFIG", ""))
    try:
        cluster = _join(addresses, index) if len(addresses) > 1 else Cluster(_local_strategy(replicas))
        if replicas not in (0, cluster.replicas):
            raise ValueError(
                f"expected --replicas={cluster.replicas} of {cluster.count} training hosts with {cluster.local_replicas} copies "
                f"of the model each, received {replicas}; leave it out"
            )
        yield cluster
        cluster.wait()
    except _LOST as error:
        if len(addresses) < 2:
            raise
        others = [int(number) for number in re.findall(r"/task:(\d+)", error.message) if int(number) != index]
        which = f"host {others[0]} ({addresses[others[0]]})" if others else "another one"
        raise HostError(
            f"expected all {len(addresses)} training hosts to go on, but {which} stopped, cannot be reached, or was silent "
            f"for {TIMEOUT_SECONDS} s (this is host {index}). See what it printed; then start the same command on every "
            "host, and training goes on from the last checkpoint"
        ) from error


def _local_strategy(replicas: int) -> tf.distribute.Strategy | None:
    """Returns the strategy of a single process; None is TensorFlow's default."""
    gpus = len(tf.config.list_physical_devices("GPU"))
    if replicas < 0 or (gpus and replicas > gpus):
        raise ValueError(
            f"expected --replicas of 0{f' … {gpus}, the number of GPUs' if gpus else ' or more'}, received {replicas}"
        )
    if (replicas or gpus) < 2:
        return None
    if gpus:
        return tf.distribute.MirroredStrategy([f"GPU:{number}" for number in range(replicas or gpus)])
    # As each of several hosts is one device.
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    except RuntimeError as error:
        raise ValueError(
            f"expected a process that has not used TensorFlow yet for --replicas={replicas} on a CPU: {error}; train in "
            "one of its own"
        ) from error
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(replicas)])


def _join(addresses: list[str], index: int) -> Cluster:
    print(f"training host {index} of {len(addresses)}, waiting for the others", flush=True)
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=float(TIMEOUT_SECONDS))
    # TensorFlow waits for ever.
    with ended_after(
        TIMEOUT_SECONDS,
        f"error: expected {len(addresses)} training hosts ({', '.join(addresses)}) within {TIMEOUT_SECONDS} s, but host "
        f"{index} still waits for others; start the same command on each, with its own index in TF_CONFIG",
    ):
        cluster = Cluster(tf.distribute.MultiWorkerMirroredStrategy(communication_options=options), addresses, index)
        cluster.wait()
    return cluster


def _read_tf_config(text: str) -> tuple[list[str], int]:
    """Returns the addresses of all hosts and the place of this one among them; no address if there is no TF_CONFIG."""
    if not text.strip():
        return [], 0
    try:
        config = json.loads(text)
        addresses, index = config["cluster"].pop("worker"), config["task"]["index"]
        if config["cluster"] or config["task"]["type"] != "worker" or not 0 <= index < len(set(addresses)):
            raise ValueError("not one of several workers, and workers only")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            'expected TF_CONFIG as {"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": 0}}, '
            f"received {text!r} ({error!r}); mend it, or unset it to train on this machine alone"
        ) from error
    return addresses, index
