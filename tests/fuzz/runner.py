"""Tries inputs in processes of their own, so that a crash or a hang is an answer like any other."""

import collections
import dataclasses
import itertools
import multiprocessing
import os
import resource
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path

from fuzz.memory import peak_mib, reset_peak
from fuzz.registry import TARGETS
from fuzz.target import input_rng

_SET_UP_SECONDS = 300  # imports, seeds, graphs
_ADDRESS_SPACE_BYTES = 8 << 30  # on top of what a process has after its set-up
_LOOK_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Failure:
    """An input that ended as none may.

    Attributes:
        index: of the input, counted from 0.
        kind: "exception", "crash", "hang" or "memory".
        detail: traceback, or what killed the process.
        file: where the input was saved.
    """

    index: int
    kind: str
    detail: str
    file: Path


@dataclasses.dataclass
class Report:
    """What became of a target's inputs.

    Attributes:
        tried: number of inputs.
        seconds: wall time.
        outcomes: how often each ending occurred.
        failures: those that may not occur.
    """

    name: str
    tried: int = 0
    seconds: float = 0.0
    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    failures: list[Failure] = dataclasses.field(default_factory=list)

    def describe(self) -> str:
        """One line for people."""
        kinds = collections.Counter(failure.kind for failure in self.failures)
        bad = ", ".join(f"{kind} {kinds[kind]}" for kind in ("exception", "crash", "hang", "memory"))
        ends = ", ".join(f"{name} {count}" for name, count in self.outcomes.most_common(8))
        return f"{self.name}: {self.tried} inputs in {self.seconds:.0f} s; {bad}; ended as: {ends}"


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for the processes that the block starts."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Worker:
    """A process that tries the inputs [first, end), and tells when it has tried each."""

    def __init__(self, name: str, seed: int, first: int, end: int):
        context = multiprocessing.get_context("spawn")
        self.first, self.end = first, end
        self.connection, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(name, seed, first, end, theirs), daemon=True)
        with _environment(TARGETS[name].environment):
            self.process.start()
        theirs.close()
        self.deadline = time.monotonic() + _SET_UP_SECONDS

    def stop(self) -> int:
        """Ends the process; returns its exit code."""
        self.process.kill()
        return self.wait()

    def wait(self) -> int:
        """Waits for its end; returns the exit code."""
        self.process.join()
        self.connection.close()
        return self.process.exitcode or 0


def run(
    name: str,
    inputs: int,
    seed: int,
    failures_dir: Path,
    workers: int = 1,
    hang_seconds: float = 10.0,
    progress: Callable[[int], object] = lambda tried: None,
) -> Report:
    """Tries inputs 0 … inputs - 1 of a target; those that fail are saved.

    Args:
        name: of the target.
        inputs: how many.
        seed: with an input's number it makes the input.
        failures_dir: where failed inputs go, each beside a text that says what happened.
        workers: processes.
        hang_seconds: what one input may take.
        progress: called with the number of inputs tried since its last call.
    """
    report, begin = Report(name), time.monotonic()
    edges = [inputs * i // workers for i in range(workers + 1)]
    spans = [(first, end) for first, end in itertools.pairwise(edges) if first < end]
    running = {worker.connection: worker for worker in (_Worker(name, seed, *span) for span in spans)}

    def tried(worker: _Worker, kind: str, text: str) -> None:
        report.tried += 1
        if kind == "ended":
            report.outcomes[text] += 1
        else:
            file = _save(failures_dir, name, seed, worker.first, kind, text)
            report.failures.append(Failure(worker.first, kind, text, file))
        worker.first += 1
        progress(1)

    def go_on(worker: _Worker) -> None:
        del running[worker.connection]
        if worker.first < worker.end:
            successor = _Worker(name, seed, worker.first, worker.end)
            running[successor.connection] = successor

    try:
        while running:
            for connection in wait(list(running), timeout=_LOOK_SECONDS):
                assert isinstance(connection, Connection)
                worker = running[connection]
                try:
                    kind, text = connection.recv()
                except EOFError:
                    _take_down_end(worker, tried)
                    go_on(worker)
                    continue
                worker.deadline = time.monotonic() + hang_seconds
                if kind == "unprepared":
                    raise RuntimeError(f"the target {name} cannot be prepared:\n{text}")
                if kind != "ready":
                    tried(worker, kind, text)
            for worker in [worker for worker in running.values() if time.monotonic() > worker.deadline]:
                if worker.connection.poll():
                    continue  # it was this process that was slow
                worker.stop()
                if worker.first < worker.end:
                    tried(worker, "hang", f"no answer within {hang_seconds:g} s")
                go_on(worker)
    finally:
        for worker in running.values():
            worker.stop()
    report.seconds = time.monotonic() - begin
    report.failures.sort(key=lambda failure: failure.index)
    return report


def _take_down_end(worker: _Worker, tried: Callable[[_Worker, str, str], None]) -> None:
    """Takes down why a process ended before all its inputs were tried."""
    code = worker.wait()
    if worker.first < worker.end:
        tried(worker, "crash", f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")


def _save(folder: Path, name: str, seed: int, index: int, kind: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{seed}-{index}.bin"
    with tempfile.TemporaryDirectory() as scratch:
        file.write_bytes(TARGETS[name].prepare(Path(scratch)).make(input_rng(name, seed, index)))
    file.with_suffix(".txt").write_text(f"{kind}\n{text}\n", encoding="utf-8")
    return file


def _work(name: str, seed: int, first: int, end: int, connection: Connection) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)  # libmpg123's complaints
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        target = TARGETS[name]
        try:
            prepared = target.prepare(Path(folder))
        except Exception:
            connection.send(("unprepared", traceback.format_exc()))
            return
        _limit_address_space()
        connection.send(("ready", ""))
        for index in range(first, end):
            reset_peak()
            before = peak_mib()
            try:
                ended = prepared.check(prepared.make(input_rng(name, seed, index)))
            except Exception:
                connection.send(("exception", traceback.format_exc()))
                continue
            grown = peak_mib() - before
            if grown > target.memory_mib:
                connection.send(("memory", f"{grown:.0f} MiB more for one input that ended as {ended}"))
            else:
                connection.send(("ended", ended))


def _limit_address_space() -> None:
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + _ADDRESS_SPACE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
