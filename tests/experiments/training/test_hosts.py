"""Training on several hosts: two local processes against one, and what happens when one of them ends."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.places import ROOT
from support.small_run import SMALL_RUN
from support.training_host import Recorder

from experiments.builders.model import build_model
from experiments.settings import Settings
from experiments.training import loop as training
from experiments.training.examples import count_examples_only, examples_of_step
from experiments.training.hosts import Cluster, joined_hosts, share_failures
from experiments.training.step import TrainStep, make_train_step
from pipeline.catalogs.fma import load_fma
from pipeline.decoding.soundfile_decoder import DecodeError, read_info
from pipeline.failures import FailureBudgetError, FailureLedger

pytestmark = pytest.mark.slow

# Nine steps an epoch, of which the last has one crop, so nothing for the first host.
RUN = SMALL_RUN | {"crops_per_clip": 5, "epochs": 2, "seed": 3, "model": "cnn2d_bn"}
# Steps in which two code paths that differ by rounding alone stay together, whatever the processor: sums over a batch in
# another order differ by a few roundings (6e-8 each), and Adam's division by small moments multiplies the difference by ten
# about every seven steps (1e-6 to 1.4e-5 after 12 steps, 1e-3 after 50, with oneDNN and without, by the last bits of what is
# decoded). A wrong gradient gives 1e-3 at once.
COMPARED_STEPS, LARGEST_DRIFT = 11, 1e-4


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def train_elsewhere(settings: dict, run_dir: Path, records: list[Path]) -> list[subprocess.CompletedProcess]:
    """Trains in as many processes as there are records to write, which are hosts if there are several."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(len(records))]
    processes = []
    for index, record in enumerate(records):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = {"TF_CONFIG": json.dumps(config), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "tests/support/training_host.py", run_dir, record, json.dumps(settings)]
        processes.append(
            subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=-1, stderr=-1, text=True)
        )
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(processes, outputs, strict=True)
    ]


@pytest.fixture
def decodable_fma(small_fma, tmp_path: Path) -> Path:
    """The demo data set, where one clip of validation is broken and none of training."""
    folder = shutil.copytree(small_fma, tmp_path / "fma")
    catalog = load_fma(str(folder), "small", (), False)
    training, validation = (catalog.split(name)["path"].tolist() for name in ("training", "validation"))
    for path in training:
        try:
            read_info(path)
        except DecodeError:
            shutil.copyfile(training[0], path)
    Path(validation[0]).write_bytes(b"no music" * 100)
    return folder


def recorded(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def occurrences(run_dir: Path) -> dict[str, str]:
    with open(run_dir / "failures.csv", newline="") as file:
        return {row["path"]: row["occurrences"] for row in csv.DictReader(file)}


def test_two_hosts_train_as_one_does(decodable_fma, tmp_path: Path, monkeypatch):
    """Bit for bit as one process with two copies of the model, and at first as one with a single copy but for rounding.

    With batch normalisation, whose moments are those of the whole batch too.
    """
    settings = RUN | {"dataset": "fma", "data_dir": str(decodable_fma), "learning_rate": 1e-4}
    chief, other = train_elsewhere(settings, tmp_path / "run", [tmp_path / "0.npz", tmp_path / "1.npz"])
    assert other.returncode == 9, other.stdout + other.stderr
    assert chief.returncode == 1, chief.stdout + chief.stderr
    assert "expected all 2 training hosts to go on, but host 1 (127.0.0.1:" in chief.stderr
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["validation"]["failures"] == 1

    copies = train_elsewhere(settings | {"replicas": 2}, tmp_path / "copies", [tmp_path / "copies.npz"])[0]
    assert copies.returncode == 0, copies.stdout + copies.stderr
    ours, *others = (recorded(tmp_path / f"{name}.npz") for name in ("0", "1", "copies"))
    assert len(ours["losses"]) == 18
    for theirs in others:
        assert set(ours) == set(theirs)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])

    alone = Recorder(monkeypatch.setattr)
    training.train(Settings(**settings), tmp_path / "alone")
    np.testing.assert_allclose(ours["losses"][:COMPARED_STEPS], alone.losses[:COMPARED_STEPS], rtol=LARGEST_DRIFT)
    assert len({str(occurrences(tmp_path / name)) for name in ("run", "copies", "alone")}) == 1


def test_a_host_that_never_comes_is_waited_for_only_so_long():
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 0}}
    code = "from experiments.training import hosts; hosts.TIMEOUT_SECONDS = 3; hosts.joined_hosts().__enter__()"
    environment = os.environ | {"TF_CONFIG": json.dumps(config)}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, timeout=120)
    assert result.returncode == -signal.SIGKILL
    assert (
        f"expected 2 training hosts ({', '.join(addresses)}) within 3 s, but host 0 still waits"
        in result.stderr.decode()
    )


def test_a_process_that_waits_in_c_is_interrupted_or_ended():
    """With Python's lock held, as libc's sleep called by ctypes.PyDLL holds it; and deaf to signals."""
    code = """if True:
        import ctypes, signal
        from experiments.training.watchdog import ended_after
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which jobs in the background ignore
        with ended_after({seconds}, 'too late'):
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            print('waits', flush=True)
            ctypes.PyDLL(None).sleep({sleep})
            print('went on')
    """

    def start(seconds: float, sleep: int) -> subprocess.Popen:
        command = [sys.executable, "-c", code.format(seconds=seconds, sleep=sleep)]
        return subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1, text=True, process_group=0)

    late, punctual, interrupted = start(1, 60), start(60, 1), start(60, 60)
    assert late.communicate(timeout=30) == ("waits\n", "too late\n") and late.returncode == -signal.SIGKILL
    assert punctual.communicate(timeout=30) == ("waits\nwent on\n", "") and punctual.returncode == 0
    assert interrupted.stdout.readline() == "waits\n"
    os.killpg(interrupted.pid, signal.SIGINT)  # as a terminal does at Ctrl-C
    assert interrupted.communicate(timeout=30) == ("", "\nInterrupted.\n") and interrupted.returncode == -signal.SIGKILL


@pytest.mark.parametrize("replicas", [-1, 2])
def test_more_copies_than_gpus(replicas: int, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"] if kind == "GPU" else ["a CPU"])
    message = f"expected --replicas of 0 … 1, the number of GPUs, received {replicas}"
    with pytest.raises(ValueError, match=message), joined_hosts(replicas):
        pass


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_a_wrong_tf_config_is_one_message(config: str, small_fma, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(
        ValueError, match=r"expected TF_CONFIG as .* received .* unset it to train on this machine alone"
    ):
        training.train(Settings(**SMALL_RUN, data_dir=str(small_fma)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_copies_in_a_process_that_has_begun():
    tf.constant(0)
    with pytest.raises(ValueError, match="a process that has not used TensorFlow yet"), joined_hosts(2):
        pass


def test_one_host_in_tf_config_is_this_machine_alone(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}')
    with joined_hosts() as cluster:
        assert (cluster.count, cluster.replicas, cluster.is_chief) == (1, 1, True)
        assert cluster.from_chief({"a": [1, 0.1]}) == {"a": [1, 0.1]}
        cluster.check_alike("what", "text", "remedy")


class Several(Cluster):
    """Several hosts of which the others pass what a test says."""

    def __init__(self, *texts: str) -> None:
        super().__init__()
        self.texts = texts

    def all_texts(self, text: str) -> list[str]:
        return [text, *self.texts]


def test_hosts_that_disagree_are_listed():
    with pytest.raises(
        ValueError, match=r"the last checkpoint alike .*\n  host 0: epoch 3\n  host 1: epoch 0\nshare it"
    ):
        Several("epoch 0").check_alike("the last checkpoint", "epoch 3", "share it")


def test_failures_of_all_hosts_count_against_one_budget():
    ledger = FailureLedger(10, 0.2)
    ledger.record("both.mp3", "no audio", 2)
    known = ledger.failures
    ledger.record("both.mp3", "no audio")
    share_failures(Several(json.dumps({"both.mp3": ["no audio", 4], "theirs.mp3": ["gone", 1]})), ledger, known)
    assert {path: failure.occurrences for path, failure in ledger.failures.items()} == {"both.mp3": 7, "theirs.mp3": 1}
    with pytest.raises(FailureBudgetError, match="at most 2 undecodable files of 10"):
        share_failures(Several(json.dumps({"third.mp3": ["gone", 1]})), ledger, ledger.failures)


class Copies(Cluster):
    """Two copies of the model, of which this process has the first alone."""

    replicas = 2


def first_of_two_copies(network: str, front_end: str = "log_mel") -> tuple[keras.Model, TrainStep]:
    settings = Settings(**SMALL_RUN, model=network, frontend=front_end, mixup_alpha=0.4, random_eq_db=3.0)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")  # as any but the default it takes part in `tf.distribute`
    cluster = Copies(strategy)
    with strategy.scope():
        model = build_model(settings, 3)
    cluster.synchronise_batch_norm(model)
    return model, make_train_step(model, settings, cluster=cluster)


NETWORKS_AND_FRONT_ENDS = [
    *(("cnn2d_bn", "log_mel"), ("crnn", "log_mel"), ("audio_transformer", "pcen"), ("cnn2d_bn", "leaf")),
]


@pytest.mark.parametrize("network, front_end", NETWORKS_AND_FRONT_ENDS)
def test_a_copy_of_the_model_without_an_example_changes_nothing(network: str, front_end: str):
    """As in the last batch of an epoch, where there may be fewer examples than copies."""
    model, step = first_of_two_copies(network, front_end)
    before = [weight.numpy() for weight in model.weights]
    loss, correct, examples = step(tf.zeros([0, 16000]), tf.zeros([0], tf.int32))
    assert float(loss) == float(correct) == float(examples) == 0
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


def test_moments_are_those_of_examples(rng):
    """The stand-in of a copy without an example must not count: compared with NumPy's moments of the examples."""
    layer = keras.layers.BatchNormalization(momentum=0.0)
    inputs = rng.standard_normal((5, 7, 3)).astype(np.float32)
    layer.build(inputs.shape)
    count_examples_only(layer)
    padded = tf.concat([inputs, tf.zeros([1, 7, 3])], axis=0)
    with examples_of_step(tf.constant(5), tf.constant(5.0)):
        layer(padded, training=True)
    np.testing.assert_allclose(layer.moving_mean, inputs.mean(axis=(0, 1)), atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, inputs.var(axis=(0, 1)), atol=1e-5)
    windows = rng.standard_normal((10, 7, 3)).astype(
        np.float32
    )  # two of each example, as of a network that cuts windows
    with examples_of_step(tf.constant(5), tf.constant(5.0)):
        layer(windows, training=True)
    np.testing.assert_allclose(layer.moving_mean, windows.mean(axis=(0, 1)), atol=1e-6)
