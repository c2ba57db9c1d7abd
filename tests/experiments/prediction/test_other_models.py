"""What is no export: named, with what to do, in one sentence."""

import shutil
from pathlib import Path

import pytest
from support.places import ROOT

from experiments import command_help, console
from experiments.prediction.exported import load_exported
from experiments.prediction.other_models import refusal

GOLDENS = ROOT / "tests" / "goldens"


@pytest.mark.parametrize("name", ["", "model.keras", "settings.json", "evaluation_test"])
def test_of_a_run_the_command_that_exports_it(name: str, tmp_path: Path):
    run = tmp_path / "my run"
    shutil.copytree(GOLDENS / "run", run)
    (run / "evaluation_test").mkdir()
    with pytest.raises(ValueError, match=r"^expected a model that export_saved_model wrote .*, received ") as raised:
        load_exported(run / name)
    command = f"python -m experiments.export_saved_model --run_dir='{run}' --export_dir='exports/my run'"
    assert str(raised.value).endswith(f"export it first: {command}") and "\n" not in str(raised.value)
    code = (ROOT / "experiments" / "export_saved_model.py").read_text()
    assert '"run_dir"' in code and '"export_dir"' in code


def test_the_command_is_written_as_this_one_was(monkeypatch):
    monkeypatch.setattr(console, "command_prefix", command_help.MELSTREAM_PREFIX)
    assert "; export it first: melstream export_saved_model --run_dir=" in refusal(GOLDENS / "run")


def test_a_run_that_cannot_be_exported(tmp_path: Path):
    assert "its training is not finished" in refusal(GOLDENS / "run_interrupted")
    shutil.copytree(GOLDENS / "run", tmp_path / "run")
    (tmp_path / "run" / "baseline.json").write_text("{}")
    assert "; export it first: " in refusal(tmp_path / "run"), "a baseline on a network's embedding has a model"
    (tmp_path / "run" / "model.keras").unlink()
    assert "a baseline without a network, which cannot be exported" in refusal(tmp_path / "run")
    assert "a folder of runs; choose one of them" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("export/saved_model.pb", "a part of a SavedModel; give its whole folder, --saved_model="),
        ("export/variables", "a part of a SavedModel; give its whole folder, --saved_model="),
        ("export/assets.extra/metadata.json", "a part of a SavedModel; give its whole folder, --saved_model="),
        ("", "a folder of exports; give one of them, such as --saved_model="),
        ("model.keras", "a Keras model outside of its run"),
        ("model.h5", "a Keras model outside of its run"),
        ("a.weights.h5", "Keras weights without a network"),
        ("song.mp3", "an audio file; give the model as --saved_model"),
        ("notes.txt", "a file of another kind; give the folder that was named as --export_dir"),
        ("empty", "an empty folder; give the folder that was named as --export_dir"),
        ("folder.tflite", "a folder without saved_model.pb"),
        ("gone", "found nothing; run export_saved_model first"),
    ],
)
def test_other_things(name: str, message: str, tmp_path: Path):
    shutil.copytree(GOLDENS / "export", tmp_path / "export")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.tflite" / "x").mkdir(parents=True)
    for file in ("model.keras", "model.h5", "a.weights.h5", "song.mp3", "notes.txt"):
        (tmp_path / file).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"^expected an? [^\n]*$") as raised:
        load_exported(tmp_path / name)
    assert message in str(raised.value)


def test_a_model_of_others_is_refused(tmp_path: Path):
    shutil.copytree(GOLDENS / "export", tmp_path / "foreign")
    shutil.rmtree(tmp_path / "foreign" / "assets.extra")
    assert "a SavedModel without assets.extra/metadata.json" in refusal(tmp_path / "foreign")
    shutil.copytree(GOLDENS / "export", tmp_path / "damaged")
    (tmp_path / "damaged" / "assets.extra" / "metadata.json").write_text('{"input": "waveform"}')
    with pytest.raises(ValueError, match="its metadata has no labels, sample_rate_hz, crop_seconds"):
        load_exported(tmp_path / "damaged")
    (tmp_path / "other.tflite").write_bytes(b"TFL3 of others")
    with pytest.raises(ValueError, match="made by other means, or is cut off; export the run again with --tflite"):
        load_exported(tmp_path / "other.tflite")
    assert refusal(GOLDENS / "export") == ""
