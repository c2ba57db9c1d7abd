"""Without tensorflow-io, everything that requires it says so in one line, before anything else happens."""

import importlib.util
import sys
from pathlib import Path

import pytest
from absl import flags
from absl.testing import flagsaver
from support.scripts import run_script
from support.tensorflow_io import HAS_TENSORFLOW_IO, needs_tensorflow_io

from experiments import settings_flags
from experiments.export.export import export_run
from experiments.prediction.exported import METADATA_FILE, load_exported
from pipeline.dataset import eval_dataset, train_dataset
from pipeline.decoding.registry import DEFAULT_DECODER
from pipeline.decoding.tfio_decoder import load_ops
from pipeline.decoding.tfio_package import MissingOpsError, require_tensorflow_io
from pipeline.failures import FailureLedger

REASON = r"^expected tensorflow-io for {}, but it has no release for Python 3\.13: run this with Python 3\.11 or 3\.12, or {}$"


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Python 3.13."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow_io" else find_spec(name))
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))


def refused(use: str, instead: str) -> "pytest.RaisesExc[MissingOpsError]":
    return pytest.raises(MissingOpsError, match=REASON.format(use, instead))


def test_the_library_names_reason_and_remedy(without):
    with refused("the decoder tfio", "take the decoder auto"):
        train_dataset(["a.mp3"], [0], FailureLedger(1), decoder="tfio")
    with refused("the decoder tfio", "take the decoder auto"):
        eval_dataset(["a.mp3"], FailureLedger(1), decoder="tfio")
    with refused("the decoder tfio", "take the decoder auto"):
        load_ops()
    assert eval_dataset(["a.mp3"], FailureLedger(1)).element_spec[0].shape.rank == 2


def test_exports_and_their_loading_do(without, tmp_path: Path):
    with refused("--mp3", "leave --mp3 out.*"):
        export_run(tmp_path / "no_run", tmp_path / "export", ("saved_model", "mp3"))
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"")
    (tmp_path / "assets.extra" / METADATA_FILE).write_text('{"input": "mp3"}')
    with refused(f"{tmp_path}, a SavedModel of MP3s", "load the one of waveforms, .*"):
        load_exported(tmp_path)


def test_flags_do_with_a_data_service_too(without):
    before = set(flags.FLAGS)
    settings_flags.define_flags("data", "training")
    with flagsaver.flagsaver():
        flags.FLAGS(["train", "--decoder=tfio", "--data_service=grpc://there:5050"])
        with refused("--decoder=tfio", f"leave the default, --decoder={DEFAULT_DECODER}"):
            settings_flags.settings_from_flags(flags.FLAGS)
    with flagsaver.flagsaver():
        flags.FLAGS(["train", "--data_service=grpc://there:5050"])
        assert settings_flags.settings_from_flags(flags.FLAGS).decoder == DEFAULT_DECODER
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)


def test_on_an_earlier_python_it_can_be_installed(without, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 12, 1, "final", 0))
    with pytest.raises(MissingOpsError, match=r"is not installed: install it \(pip install tensorflow-io==0\.37\.1\)"):
        require_tensorflow_io()


@needs_tensorflow_io
def test_where_it_is_installed_nothing_is_said():
    require_tensorflow_io()
    assert load_ops()


@pytest.mark.slow
@pytest.mark.skipif(HAS_TENSORFLOW_IO, reason="this Python has tensorflow-io")
@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("train", ["--decoder=tfio"]),
        ("evaluate", ["--decoder=tfio", "--run_dir=/nowhere"]),
        ("predict", ["--decoder=tfio", "--saved_model=/nowhere", "song.mp3"]),
        ("export_saved_model", ["--run_dir=/nowhere", "--export_dir=/nowhere/a", "--mp3"]),
    ],
)
def test_commands_say_it_in_one_line(script: str, flags: list[str]):
    result = run_script(script, *flags, check=False)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: expected tensorflow-io for ")
