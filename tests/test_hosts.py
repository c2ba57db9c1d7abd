"""Training on several hosts: two local processes against one, and what happens when one of them ends."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SMALL_RUN
from training_host import Recorder

from experiments import training
from experiments.settings import Settings

# Seven steps an epoch, of which the last has half a batch, so nothing for the second host.
RUN = SMALL_RUN | {"crops_per_clip": 4, "epochs": 8, "seed": 3, "learning_rate": 1e-4}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def train_on_two_hosts(settings: dict, folder: Path) -> list[subprocess.CompletedProcess]:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    processes = []
    for index in range(2):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        command = [
            sys.executable,
            "tests/training_host.py",
            folder / "run",
            folder / f"{index}.npz",
            json.dumps(settings),
        ]
        environment = os.environ | {"TF_CONFIG": json.dumps(task), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        processes.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=-1, stderr=-1, text=True))
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(processes, outputs, strict=True)
    ]


def occurrences(run_dir: Path) -> dict[str, str]:
    with open(run_dir / "failures.csv", newline="") as file:
        return {row["path"]: row["occurrences"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("model", ["cnn2d_bn", "cnn2d"])
def test_two_hosts_train_as_one_does(model: str, small_fma, tmp_path: Path, monkeypatch):
    settings = RUN | {"dataset": "fma", "data_dir": str(small_fma), "model": model}
    chief, other = train_on_two_hosts(settings, tmp_path)
    assert other.returncode == 9, other.stdout + other.stderr
    assert chief.returncode == 1, chief.stdout + chief.stderr
    assert "expected all 2 training hosts to go on, but host 1 (127.0.0.1:" in chief.stderr
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["failures"] == 0

    ours, theirs = (np.load(tmp_path / f"{index}.npz") for index in range(2))
    assert set(ours) == set(theirs) and len(ours["losses"]) == 56
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])

    alone = Recorder(monkeypatch.setattr)
    training.train(Settings(**settings), tmp_path / "alone")
    np.testing.assert_allclose(ours["losses"], alone.losses, rtol=1e-5)
    for i, weights in enumerate(alone.weights):
        np.testing.assert_allclose(ours[f"arr_{i}"], weights, rtol=1e-3, atol=1e-4)
    assert occurrences(tmp_path / "run") == occurrences(tmp_path / "alone")
