"""Kills one training again and again at random moments, and compares its end with that of an uninterrupted one.

    python tests/support/kill_training.py --kills=20 --output_dir=runs/killed -- --dataset=fma --data_dir=/data/fma --epochs=4

What stands behind `--` are flags of `experiments.train`. Run by `make kill-test`; not part of the tests, which take the
functions below for a training that is interrupted twice.
"""

import argparse
import functools
import io
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent.parent


def train_command(flags: list[str], run_dir: Path) -> list[str]:
    return [sys.executable, "-m", "experiments.train", *flags, f"--output_dir={run_dir}"]


def interrupt(command: list[str], ready: Callable[[], bool], how: signal.Signals, seconds: float = 0.0) -> int:
    """Starts a command, signals it some seconds after it is ready unless it has ended, and returns its exit status."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # What is started in the background of a shell ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 200
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(seconds)
    process.send_signal(how)
    return process.wait()


def differences(run_dir: Path, other: Path) -> list[str]:
    """What two finished runs do not have in common, to the bit: the state at the end of training, history and scores."""
    found = []
    ours, theirs = (_arrays(folder) for folder in (run_dir, other))
    if set(ours) != set(theirs):
        found.append("variables")
    found += [name for name in sorted(set(ours) & set(theirs)) if not np.array_equal(ours[name], theirs[name])]
    histories = [pd.read_csv(folder / "history.csv", float_precision="round_trip") for folder in (run_dir, other)]
    ours, theirs = (history.drop(columns=["seconds", "wait_seconds"]) for history in histories)
    if not ours.equals(theirs):
        found.append("history.csv")
    return found + [
        name
        for name in ("metrics.json", "predictions.csv")
        if (run_dir / name).read_bytes() != (other / name).read_bytes()
    ]


def _arrays(run_dir: Path) -> dict[str, np.ndarray]:
    """The variables of model and optimizer, and the best weights, in the last checkpoint."""
    *_, last = sorted((run_dir / "checkpoints").glob("epoch-*.npz"))
    with np.load(io.BytesIO(last.read_bytes())) as arrays:
        return {name: arrays[name] for name in arrays.files if name != "progress"}


class Watch:
    """What appears in a run directory from now on."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir, self.started = run_dir, time.time()
        self.old, self.new = self._checkpoints(), set[str]()

    def _checkpoints(self) -> set[str]:
        return {path.name for path in self.run_dir.glob("checkpoints/epoch-*.npz")}

    def new_checkpoints(self) -> int:
        self.new |= self._checkpoints() - self.old
        return len(self.new)

    def has_begun_and_made(self, checkpoints: int) -> bool:
        settings = self.run_dir / "settings.json"  # is written each time that a training begins
        begun = settings.exists() and settings.stat().st_mtime > self.started
        return begun and self.new_checkpoints() >= checkpoints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output_dir", type=Path, required=True, help="new folder for two runs")
    parser.add_argument("flags", nargs="+", help="flags of experiments.train, behind --")
    arguments = parser.parse_args()
    flags, random_number = [*arguments.flags, "--deterministic"], random.Random(arguments.seed)
    whole, killed = arguments.output_dir / "whole", arguments.output_dir / "killed"

    print("training without interruption", flush=True)
    watch, begin = Watch(whole), time.monotonic()
    process = subprocess.Popen(train_command(flags, whole), cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        watch.new_checkpoints()
        time.sleep(0.02)
    if process.returncode:
        sys.exit(f"the uninterrupted training failed with {process.returncode}")
    seconds, total = time.monotonic() - begin, watch.new_checkpoints()
    print(f"{seconds:.0f} s, {total} checkpoints", flush=True)

    kills = during_a_write = 0
    while kills < arguments.kills:
        # Half of the checkpoints fall to the lives that end early, the other half to the last one.
        wanted = random_number.randint(0, max(1, total // arguments.kills))
        delay = random_number.uniform(0, 2 * seconds / total)
        watch = Watch(killed)
        ready = functools.partial(watch.has_begun_and_made, wanted)
        if interrupt(train_command(flags, killed), ready, signal.SIGKILL, delay) != -signal.SIGKILL:
            break
        kills += 1
        partial = [path.name for path in killed.glob("**/.*.partial*")]
        during_a_write += bool(partial)
        last = max(killed.glob("checkpoints/epoch-*.npz"), key=lambda path: path.stat().st_mtime, default=None)
        print(
            f"kill {kills:2d}, {delay:4.1f} s after checkpoint {wanted}: {last and last.stem} {' '.join(partial)}",
            flush=True,
        )
    status = subprocess.run(train_command(flags, killed), cwd=ROOT, stdout=subprocess.DEVNULL).returncode
    found = differences(killed, whole) if status == 0 else [f"exit status {status}"]
    leftovers = [str(path) for path in killed.glob("**/.*.partial*")]
    print(json.dumps({"kills": kills, "during_a_write": during_a_write, "different": found, "leftovers": leftovers}))
    sys.exit(bool(found or leftovers or kills < arguments.kills))


if __name__ == "__main__":
    main()
