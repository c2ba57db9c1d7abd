"""The tf.data service: the batches of a run without it, whatever happens to its processes."""

import dataclasses
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from support.audio import music, write_mp3
from support.tensorflow_io import DECODER_PARAMS

from experiments.builders import training_data as streams
from experiments.settings import Settings, differences
from pipeline.catalogs.catalog import make_catalog
from pipeline.decoding import batches as decoding_batches
from pipeline.decoding.registry import DECODERS, DEFAULT_DECODER
from pipeline.failures import FailureLedger
from pipeline.service import servers as service
from pipeline.service.client import Receiver, ReorderBuffer, ServiceError, Timeouts, check_service

pytestmark = pytest.mark.slow

SHORT = Timeouts(notice_seconds=0.05, gone_seconds=0.1, late_seconds=0.1, later_batches=4)
LONG = Timeouts(notice_seconds=60, gone_seconds=120, late_seconds=60, later_batches=4)


def batch(step: int, error: str = "") -> tuple[tf.Tensor, ...]:
    """Two examples of a step."""
    nothing = tf.constant(["", ""])
    return tf.fill([2, 3], float(step)), tf.constant([2 * step, 2 * step + 1]), tf.constant([error, ""]), nothing


def ordered(items: Iterator, steps: int, timeouts: Timeouts = LONG) -> tuple[ReorderBuffer, list[str], list[int]]:
    """What comes out if these arrive: the iterator, its reports and the steps that were decoded here, when exhausted."""
    decoded_here: list[int] = []

    def decode(step: int) -> tuple[tf.Tensor, ...]:
        decoded_here.append(step)
        return batch(step)

    reports: list[str] = []
    result = ReorderBuffer(Receiver.start(lambda: items), steps, decode, timeouts, reports.append)
    batches = list(result)
    assert [int(waveform[0, 0]) for waveform, *_ in batches] == list(range(steps))
    assert not any(np.any(error != b"") for _, _, error, _ in batches)
    return result, reports, decoded_here


def test_batches_come_in_order_and_are_counted(rng):
    for _ in range(20):
        arriving = [step for step in range(12) if rng.random() < 0.8]
        arriving += [step for step in arriving if rng.random() < 0.2]
        displaced = sorted(range(len(arriving)), key=lambda i: arriving[i] + rng.uniform(0, 3))
        last = max(arriving)
        result, reports, decoded_here = ordered(iter((arriving[i], batch(arriving[i])) for i in displaced), 12)
        counts = result.deliveries
        assert counts.received + counts.lost == 24 and counts.lost == 2 * len(decoded_here)
        assert set(range(12)) - set(arriving) <= set(decoded_here)
        if last == 11:  # otherwise the rest does not matter to anyone
            seen = 2 * len([i for i in displaced if i <= displaced.index(arriving.index(11))])
            assert counts.repeated <= seen
        assert not reports


def test_repeated_batches_are_dropped():
    steps = [0, 0, 2, 2, 1, 0, 3]
    result, _, decoded_here = ordered(iter((step, batch(step)) for step in steps), 4)
    assert not decoded_here
    assert (result.deliveries.received, result.deliveries.lost, result.deliveries.repeated) == (8, 0, 6)


def never() -> Iterator:
    threading.Event().wait()
    yield


def test_a_batch_is_given_up_when_too_many_later_ones_have_come():
    def arriving() -> Iterator:
        yield from ((step, batch(step)) for step in (1, 2, 3, 4, 0, 5))
        yield from never()

    result, reports, decoded_here = ordered(arriving(), 6)  # with long timeouts: it must not be time that decides
    assert decoded_here == [0] and result.deliveries.lost == 2 and result.deliveries.repeated == 2 and not reports


def test_a_late_batch_is_given_up():
    def arriving() -> Iterator:
        yield from ((step, batch(step)) for step in (0, 2, 3))
        yield from never()

    result, reports, decoded_here = ordered(arriving(), 4, SHORT)
    assert decoded_here == [1] and result.deliveries.received == 6 and not reports


def test_a_silent_service_is_reported_and_done_without_until_it_speaks_again():
    speak = threading.Event()

    def arriving() -> Iterator:
        yield 0, batch(0)
        speak.wait()
        yield from ((step, batch(step)) for step in (1, 4, 5))

    decoded_here: list[int] = []

    def decode(step: int) -> tuple[tf.Tensor, ...]:
        decoded_here.append(step)
        if step == 3:
            speak.set()
            time.sleep(0.2)
        return batch(step)

    reports: list[str] = []
    result = ReorderBuffer(Receiver.start(arriving), 6, decode, SHORT, reports.append)
    assert [int(waveform[0, 0]) for waveform, *_ in result] == list(range(6))
    assert decoded_here == [1, 2, 3] and result.deliveries.repeated == 2  # the late step 1
    assert len(reports) == 2 and "do dispatcher and workers run" in reports[0] and "going on" in reports[1]


def test_a_service_that_breaks_off_is_done_without():
    def arriving() -> Iterator:
        yield 0, batch(0)
        raise tf.errors.UnavailableError(None, None, "the reason")

    result, reports, decoded_here = ordered(arriving(), 3)
    assert decoded_here == [1, 2] and result.deliveries.lost == 4
    assert len(reports) == 1 and "the reason" in reports[0]


def test_what_a_worker_cannot_decode_is_tried_here():
    result, _, decoded_here = ordered(iter([(0, batch(0)), (1, batch(1, "no such file"))]), 2)
    assert decoded_here == [1] and result.deliveries.failed == 1 and result.deliveries.received == 4


def test_why_a_worker_cannot_decode_is_reported_once():
    _, reports, _ = ordered(iter([(0, batch(0, "no such file")), (1, batch(1, "no such file"))]), 2)
    assert reports == ["a worker cannot decode what this process can, which therefore decodes it: no such file"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "ValueError: Could not find callback with key=melstream.decode_batch in the registry.\nTraceback",
            "does not know",
        ),
        ("Op type not registered 'IO>AudioDecodeMP3' in binary running on host.\nMake sure", "have no tensorflow-io"),
        ("something else\nTraceback", "something else$"),
    ],
)
def test_an_error_of_the_service_is_one_line(message: str, expected: str):
    def arriving() -> Iterator:
        raise tf.errors.InvalidArgumentError(None, None, message)
        yield

    _, reports, decoded_here = ordered(arriving(), 1)
    assert decoded_here == [0] and len(reports) == 1 and "\n" not in reports[0]
    assert re.search(expected, reports[0])


class FakeProcess:
    """A process that ends at once, or runs until it is told to end."""

    def __init__(self, args: tuple, lives: bool, **_: object):
        self.server, self.lives, self.alive, self.pid, self.exitcode = args[0], lives, False, 1, None

    def start(self) -> None:
        self.alive = self.lives
        self.exitcode = None if self.lives else 3

    def is_alive(self) -> bool:
        return self.alive

    def terminate(self) -> None:
        self.alive = False

    def join(self, timeout: float | None = None) -> None:
        pass


def test_a_server_that_does_not_stay_up_is_given_up_and_the_others_stopped():
    started: list[FakeProcess] = []

    def make(args: tuple, **options: object) -> FakeProcess:
        started.append(FakeProcess(args, lives=isinstance(args[0], service.Dispatcher), **options))
        return started[-1]

    ports = service.free_ports(2)
    reports: list[str] = []
    servers = [service.Dispatcher(ports[0], "journal"), service.Worker(ports[1], "localhost:1")]
    supervisor = service.Supervisor(servers, reports.append, restarts=2, delay_seconds=0.01)
    supervisor._context = SimpleNamespace(Process=make)
    with supervisor, pytest.raises(service.SupervisionError, match=r"worker on port \d+ to stay up.*2 restarts"):
        supervisor.wait()
    assert [type(process.server) for process in started] == [service.Dispatcher, *[service.Worker] * 3]
    assert not any(process.alive for process in started)
    assert [text.rpartition(" in ")[2] for text in reports if "again" in text] == ["0.01 s", "0.02 s"]


def test_a_port_in_use_is_refused():
    with socket.create_server(("", 0)) as listening:
        port = listening.getsockname()[1]
        with (
            pytest.raises(service.SupervisionError, match=f"port {port}"),
            service.Supervisor([service.Worker(port, "localhost:1")], print),
        ):
            pass


@pytest.mark.parametrize("address", ["localhost:5050", "grpc://localhost", "grpc://:1", "http://localhost:80"])
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(ServiceError, match="expected data_service like grpc://host:port"):
        check_service(address)


class Service:
    """A dispatcher and two workers in processes of their own."""

    def __init__(self, supervisor: service.Supervisor, address: str, worker_address: str):
        self.supervisor, self.address, self.worker_address = supervisor, address, worker_address

    def kill(self, server: int) -> Callable[[], bool]:
        """Kills the dispatcher (0) or a worker (1, 2); returns whether another one runs in its place."""
        killed = self.supervisor.pids()[server]
        assert killed
        os.kill(killed, signal.SIGKILL)
        return lambda: self.supervisor.pids()[server] not in (killed, None)


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    port, *worker_ports = service.free_ports(3)
    with service.journal_dir("") as journal:
        servers = [
            service.Dispatcher(port, journal),
            *(service.Worker(worker_port, f"localhost:{port}") for worker_port in worker_ports),
        ]
        with service.Supervisor(servers, print, delay_seconds=0.1) as supervisor:
            address = f"grpc://localhost:{port}"
            check_service(address, timeout_seconds=120)
            yield Service(supervisor, address, f"grpc://localhost:{worker_ports[0]}")
    assert supervisor.pids() == [None] * 3
    service.check_port(port)


def one_pass(settings: Settings, paths: list[Path], at_batch: Callable[[int], object] = lambda i: None):
    """The batches of an epoch, as arrays, the failures with their occurrences, and the remarks."""
    rows = [{"track_id": i, "path": str(path), "label": f"{i:02d}"} for i, path in enumerate(paths)]
    catalog = make_catalog(pd.DataFrame(rows).assign(split="training"), [])
    ledger = FailureLedger(len(paths), 1.0)
    batches = []
    dataset, steps = streams.training_stream(catalog, settings, ledger, epoch=1)
    for i, batch in enumerate(dataset):
        at_batch(i)
        batches.append(tuple(part.numpy() for part in batch))
    assert len(batches) == steps
    return batches, {path: failure.occurrences for path, failure in ledger.failures.items()}, ledger.remarks


def assert_equal_passes(served, own):
    assert len(served[0]) == len(own[0]) and served[1:] == own[1:]
    for served_batch, own_batch in zip(served[0], own[0], strict=True):
        for served_part, own_part in zip(served_batch, own_batch, strict=True):
            np.testing.assert_array_equal(served_part, own_part)


OWN = Settings(sample_rate_hz=8000, crop_seconds=0.5, crops_per_clip=2, batch_size=3)


@pytest.mark.parametrize("decoder", DECODER_PARAMS)
def test_served_batches_are_those_of_a_run_without(running: Service, clips, tmp_path: Path, capsys, decoder: str):
    own = dataclasses.replace(OWN, decoder=decoder)
    served = dataclasses.replace(own, data_service=running.address)
    assert not differences(own, served), "a run must be able to go on without the service"
    streams.check_data_service(served)
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"no music" * 1000)
    paths = [*clips, broken]
    passes = [one_pass(settings, paths) for settings in (served, own)]
    assert_equal_passes(*passes)
    assert passes[0][1] == {str(broken): 2}
    assert (
        "epoch 2: 26 examples received from the data service, 0 lost and 2 undecodable there" in capsys.readouterr().out
    )


@pytest.mark.parametrize("decoder", [name for name, entry in DECODERS.items() if not entry.is_graph_native])
def test_remarks_of_served_clips_arrive(running: Service, clips, tmp_path: Path, decoder: str):
    """Of a file whose second half has another rate, and a name that is no text."""
    halves = [write_mp3(tmp_path / f"{rate}.mp3", music(3, rate), rate) for rate in (44100, 48000)]
    joined = Path(os.fsdecode(os.fsencode(tmp_path) + b"/joined-\xff.mp3"))
    joined.write_bytes(b"".join(half.read_bytes() for half in halves))
    own = dataclasses.replace(OWN, decoder=decoder)
    passes = [
        one_pass(settings, [*clips[:2], joined])
        for settings in (dataclasses.replace(own, data_service=running.address), own)
    ]
    assert_equal_passes(*passes)
    assert list(passes[0][2]) == [str(joined)] and "follow" in passes[0][2][str(joined)]


def test_a_worker_of_another_version_decodes_nothing(running: Service, clips, capsys, monkeypatch):
    own = one_pass(OWN, clips)
    monkeypatch.setattr(decoding_batches, "code_version", lambda is_compiled: "other")
    assert_equal_passes(one_pass(dataclasses.replace(OWN, data_service=running.address), clips), own)
    output = capsys.readouterr().out
    assert output.count("cannot decode") == 1 and "the worker's code or packages for decoding" in output
    assert "24 examples received from the data service, 0 lost and 24 undecodable there" in output


def test_a_decoder_that_a_worker_lacks_is_named(running: Service, clips, capsys, monkeypatch):
    own = one_pass(OWN, clips)
    monkeypatch.setitem(DECODERS, "newer", DECODERS[DEFAULT_DECODER])
    served = dataclasses.replace(OWN, data_service=running.address)
    object.__setattr__(served, "decoder", "newer")  # settings know the choices of their module's import
    assert_equal_passes(one_pass(served, clips), own)
    assert "received 'newer'" in capsys.readouterr().out


def test_killed_processes_change_nothing_and_are_started_again(running: Service, clips, capsys):
    """Whole clips this time."""
    own = dataclasses.replace(OWN, crop_seconds=0.0, crops_per_clip=4)
    restarted: list[Callable[[], bool]] = []

    def kill(i: int) -> None:
        if i in (1, 6):  # a worker first, the dispatcher later
            restarted.append(running.kill(1 if i == 1 else 0))

    passes = [
        one_pass(dataclasses.replace(own, data_service=running.address), clips, kill),
        one_pass(own, clips),
    ]
    assert_equal_passes(*passes)
    received, lost, failed, repeated = map(
        int, re.findall(r" (\d+) (?:examples|lost|undecodable|repeated)", capsys.readouterr().out)
    )
    assert received + lost == 48 and failed == 0 and repeated <= lost
    deadline = time.monotonic() + 60
    while not all(restart() for restart in restarted) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [restart() for restart in restarted] == [True, True]
    check_service(running.address, timeout_seconds=120)


def test_a_wrong_address_is_one_message_in_time(running: Service):
    (port,) = service.free_ports(1)
    with pytest.raises(ServiceError, match=r"none answered within 0 s \(Connection refused\)"):
        check_service(f"grpc://localhost:{port}", timeout_seconds=0.3)
    with pytest.raises(ServiceError, match="is it a worker's port"):
        check_service(running.worker_address)
