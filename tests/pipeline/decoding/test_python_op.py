"""The op that calls a process's own function, whichever process built the graph: it relies on a private table of TensorFlow's."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.places import ROOT
from tensorflow.python.ops import script_ops

from pipeline.dataset import train_dataset
from pipeline.decoding import code_version, python_op
from pipeline.decoding.python_op import PythonOpError
from pipeline.failures import FailureLedger

# A process that has never seen the graph, and counts differently.
OTHER_PROCESS = """
import sys
import tensorflow as tf
from pipeline.decoding import python_op

python_op.register("count", lambda texts, step: [(texts == b"a").sum() * step + 1000, texts[::-1]])
dataset = tf.raw_ops.DatasetFromGraph(graph_def=open(sys.argv[1], "rb").read())
spec = (tf.TensorSpec([], tf.int64), tf.TensorSpec([None], tf.string))
print([(int(count), texts.numpy().tolist()) for count, texts in tf.data.experimental.from_variant(dataset, spec)])
"""


def counted() -> tf.data.Dataset:
    def count(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        number, texts = python_op.call("count", [["a", "b", "a"], step], [tf.int64, tf.string])
        return tf.ensure_shape(number, []), tf.ensure_shape(texts, [None])

    return tf.data.Dataset.range(3).map(count, num_parallel_calls=2)


def test_a_graph_calls_the_function_of_the_process_that_runs_it(tmp_path: Path):
    python_op.register("count", lambda texts, step: [np.int64((texts == b"a").sum() * step), texts])
    gc.collect()  # TensorFlow's table alone would not keep the function
    assert [(int(number), texts.numpy().tolist()) for number, texts in counted()] == [
        (0, [b"a", b"b", b"a"]),
        (2, [b"a", b"b", b"a"]),
        (4, [b"a", b"b", b"a"]),
    ]
    graph = tf.raw_ops.DatasetToGraphV2(input_dataset=counted()._variant_tensor).numpy()
    (tmp_path / "graph").write_bytes(graph)
    result = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "graph")],
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == str([(number, [b"a", b"b", b"a"]) for number in (1000, 1002, 1004)]), result.stderr


def test_the_newest_function_counts():
    for factor in (2, 3):
        python_op.register("times", lambda number, factor=factor: number * np.int32(factor))
        assert int(python_op.call("times", [tf.constant(5)], [tf.int32])[0]) == 5 * factor


def test_what_is_not_registered_fails():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Could not find callback with key=melstream\.nothing"):
        python_op.call("nothing", [1], [tf.int32])


class Moved:
    """TensorFlow's table, in a version that keeps the functions elsewhere."""

    insert = script_ops._py_funcs.insert


@pytest.mark.parametrize("change", ["gone", "moved"])
def test_a_tensorflow_that_has_changed_is_named(monkeypatch: pytest.MonkeyPatch, change: str, clips: list[Path]):
    if change == "gone":
        monkeypatch.delattr(script_ops, "_py_funcs")
    else:
        monkeypatch.setattr(script_ops, "_py_funcs", Moved())
    python_op.check.cache_clear()
    paths, ledger = [str(clips[0])], FailureLedger(1)
    expected = rf"{tf.__version__} does not: let a data service decode by --decoder=tfio, or train without one$"
    with pytest.raises(PythonOpError, match=expected):
        train_dataset(paths, [0], ledger, epoch=0, delivery=lambda numbered, decode_step: numbered)
    if change == "moved":
        assert len(list(train_dataset(paths, [0], ledger, epoch=0))) == 1  # training here needs nothing private


def test_this_tensorflow_has_not():
    python_op.check.cache_clear()
    python_op.check()


def test_the_version_follows_code_and_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    versions = []

    def note() -> None:
        code_version.code_version.cache_clear()
        versions.append(code_version.code_version(is_compiled=False))

    note()
    for name in ("decoding", "mp3", "storage"):
        (tmp_path / name).mkdir()
    (tmp_path / "windows.py").write_text("")
    monkeypatch.setattr(code_version, "_PIPELINE", tmp_path)
    note()
    (tmp_path / "mp3" / "table.csv").write_text("1,2")
    note()
    (tmp_path / "mp3" / "table.csv").write_text("1,3")
    note()
    monkeypatch.setattr(code_version, "libsndfile_version", lambda: "0.0")
    note()
    assert len(set(versions)) == 5
    (tmp_path / "mp3" / "__pycache__").mkdir()
    (tmp_path / "mp3" / "__pycache__" / "table.nbc").write_text("machine code")
    (tmp_path / "mp3" / ".table.csv.swp").write_text("")
    note()
    assert versions[-1] == versions[-2]
    monkeypatch.undo()
    note()
    assert versions[-1] == versions[0] != code_version.code_version(is_compiled=True)
