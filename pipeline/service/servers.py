"""Runs and supervises the servers of a tf.data service, which decode training batches for trainers elsewhere.

One dispatcher hands the batches of an epoch to any number of workers, on this machine or on others. Whoever can connect to
their ports can make them compute anything and read any file that they may read, so use trusted networks only.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import tensorflow as tf

from pipeline.dataset import default_workers
from pipeline.decoding.batches import serve_batches
from pipeline.decoding.python_op import PythonOpError
from pipeline.decoding.registry import DECODERS

RESTARTS = 10
STEADY_SECONDS = 300.0
LONGEST_DELAY_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


class SupervisionError(ValueError):
    """A server does not stay up, or its port is taken."""


@dataclasses.dataclass(frozen=True)
class Dispatcher:
    """Settings of a dispatcher.

    Args:
        port: to listen on.
        work_dir: folder of the journal from which the dispatcher goes on after a restart.
    """

    port: int
    work_dir: str

    @property
    def name(self) -> str:
        """The server's name in messages."""
        return "dispatcher"

    def start(self) -> Any:
        """Starts the server in this process and returns it."""
        service = tf.data.experimental.service
        return service.DispatchServer(
            service.DispatcherConfig(port=self.port, protocol="grpc", work_dir=self.work_dir, fault_tolerant_mode=True)
        )


@dataclasses.dataclass(frozen=True)
class Worker:
    """Settings of a worker.

    Args:
        port: to listen on.
        dispatcher: the dispatcher's host:port.
        host: name under which trainers reach this machine.
    """

    port: int
    dispatcher: str
    host: str = "localhost"

    @property
    def name(self) -> str:
        """The server's name in messages."""
        return f"worker on port {self.port}"

    def start(self) -> Any:
        """Starts the server in this process and returns it."""
        service = tf.data.experimental.service
        return service.WorkerServer(
            service.WorkerConfig(
                dispatcher_address=self.dispatcher,
                worker_address=f"{self.host}:{self.port}",
                port=self.port,
                protocol="grpc",
            )
        )


@dataclasses.dataclass
class _Process:
    """A server's process, how often it has been restarted lately, and when it was or will be started."""

    server: Dispatcher | Worker
    process: SpawnProcess | None = None
    restarts: int = 0
    start_time: float = 0.0


class Supervisor:
    """Runs servers in processes of their own while its block runs, and restarts a server that ends, on the same port.

    The supervisor waits between the restarts of a server, twice as long each time. The servers end with this process,
    however it ends.

    Args:
        servers: the servers to run.
        report: is called with a sentence about whatever happens to a server.
        restarts: how often one server is restarted before the supervisor gives up; the count begins again when the
            server has run for `STEADY_SECONDS`.
        delay_seconds: time before the first restart.
    """

    def __init__(
        self,
        servers: Sequence[Dispatcher | Worker],
        report: Callable[[str], None],
        restarts: int = RESTARTS,
        delay_seconds: float = 1.0,
    ):
        self._processes = [_Process(server) for server in servers]
        self._report, self._restarts, self._delay_seconds = report, restarts, delay_seconds
        self._context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._error: str = ""

    def __enter__(self) -> Supervisor:
        for supervised in self._processes:
            check_port(supervised.server.port)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self) -> None:
        """Waits without an end.

        Raises:
            SupervisionError: a server has used up its restarts; the other servers have been stopped.
        """
        while self._thread.is_alive():
            self._thread.join(0.5)  # in slices, because a join without an end cannot be interrupted
        if self._error:
            raise SupervisionError(self._error)

    def pids(self) -> list[int | None]:
        """Returns the servers' process ids, in the order of the servers; None for a server that is not running."""
        alive = (supervised.process for supervised in self._processes)
        return [process.pid if process and process.is_alive() else None for process in alive]

    def _watch(self) -> None:
        try:
            while not self._stop.is_set() and not self._error:
                for supervised in self._processes:
                    self._look_after(supervised)
                self._stop.wait(0.1)
        finally:
            self._stop_all()

    def _look_after(self, supervised: _Process) -> None:
        now, process, name = time.monotonic(), supervised.process, supervised.server.name
        if process and not process.is_alive():
            if now - supervised.start_time > STEADY_SECONDS:
                supervised.restarts = 0
            if supervised.restarts == self._restarts:
                self._error = (
                    f"expected the {name} to stay up, but it ended (exit code {process.exitcode}) after "
                    f"{self._restarts} restarts; its messages above may say why"
                )
                return
            delay = min(self._delay_seconds * 2**supervised.restarts, LONGEST_DELAY_SECONDS)
            self._report(f"the {name} ended (exit code {process.exitcode}); starting it again in {delay:g} s")
            supervised.process, supervised.restarts, supervised.start_time = None, supervised.restarts + 1, now + delay
        elif not process and now >= supervised.start_time:
            supervised.process = self._context.Process(target=_serve, args=(supervised.server,), daemon=True)
            supervised.process.start()
            supervised.start_time = now
            self._report(f"{name}: process {supervised.process.pid}")

    def _stop_all(self) -> None:
        processes = [supervised.process for supervised in self._processes if supervised.process]
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()


def _serve(server: Dispatcher | Worker) -> None:
    """Runs a server until its supervisor ends or stops it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal: the supervisor decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _end_with_supervisor()
    try:
        _load_decoders(server)
        server.start().join()
    except (ValueError, tf.errors.OpError) as error:
        print(f"error: the {server.name} cannot start: {error}", file=sys.stderr)
        sys.exit(1)


def _load_decoders(server: Dispatcher | Worker) -> None:
    """Prepares this process for graphs that decode, before the first one comes: what is missing here is left out."""
    for decoder in DECODERS.values():
        try:
            decoder.check_package()
        except ValueError:
            continue  # a trainer that asks for this decoder hears of it
        if decoder.is_graph_native:
            decoder.load().load_ops()  # a dispatcher looks at graphs, too
        elif isinstance(server, Worker):
            decoder.prepare()
    if isinstance(server, Worker):
        try:
            serve_batches(default_workers())
        except PythonOpError as error:
            print(f"the {server.name} decodes by graph ops alone: {error}", file=sys.stderr)


def _end_with_supervisor() -> None:
    """Has the kernel kill this process when its supervisor ends, for whatever reason (Linux).

    A thread that watches the supervisor would not do: TensorFlow holds Python's lock while a worker looks for its
    dispatcher.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    supervisor = multiprocessing.parent_process()
    if supervisor and os.getppid() != supervisor.pid:  # it has ended already
        sys.exit(1)


def free_ports(count: int) -> list[int]:
    """Returns ports on which nothing listens at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def check_port(port: int) -> None:
    """Checks that nothing listens on a port, which gRPC would share without a message.

    Raises:
        SupervisionError: something listens on it.
    """
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise SupervisionError(
            f"expected port {port} to be free, but it cannot be listened on: {error.strerror}"
        ) from error


@contextlib.contextmanager
def journal_dir(work_dir: str) -> Iterator[str]:
    """Makes the folder of the dispatcher's journal and yields it: `work_dir`, or a temporary folder if that is empty."""
    if work_dir:
        Path(work_dir).mkdir(parents=True, exist_ok=True)
        yield work_dir
    else:
        with tempfile.TemporaryDirectory(prefix="dispatcher_") as temporary:
            yield temporary
