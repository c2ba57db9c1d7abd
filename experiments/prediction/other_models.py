"""What is given as an exported model and is none: what it is instead, and what to do."""

from __future__ import annotations

import shlex
from pathlib import Path

from experiments import console
from pipeline.storage.audio_files import AUDIO_SUFFIXES

METADATA_FILE = "metadata.json"  # in a SavedModel's assets.extra, in the zip at a .tflite's end, a property of .onnx
_AUDIO = AUDIO_SUFFIXES | {".m4a", ".aac", ".wma"}
_KERAS = (".keras", ".h5", ".hdf5")
_EXPECTED = "expected a model that export_saved_model wrote (a SavedModel's folder, a .tflite or an .onnx file)"


def refusal(path: Path) -> str:
    """Says in one sentence why something cannot be an exported model, by its name and what lies beside it.

    Args:
        path: what was given.

    Returns:
        The sentence, with what was expected, what was found and what to do; "" if it may be an exported model.
    """
    if not path.exists():
        return f"expected an exported model at {path}, found nothing; run export_saved_model first"
    found = _folder(path) if path.is_dir() else _file(path)
    return f"{_EXPECTED}, received {path}: {found}" if found else ""


def _folder(path: Path) -> str:
    if _is_run(path):
        return f"a run directory; {_export_command(path)}"
    if (path / "saved_model.pb").is_file():
        if (path / "assets.extra" / METADATA_FILE).is_file():
            return ""
        return f"a SavedModel without assets.extra/{METADATA_FILE}, so not one of ours, or copied in part; export the run again"
    if part := _part_of_saved_model(path):
        return part
    inside = _listed(path)
    if exports := [entry for entry in inside if (entry / "saved_model.pb").is_file()]:
        return f"a folder of exports; give one of them, such as --saved_model={shlex.quote(str(exports[0]))}"
    if runs := [entry for entry in inside if _is_run(entry)]:
        return f"a folder of runs; choose one of them, such as {runs[0]}: {_export_command(runs[0])}"
    if _is_run(path.parent):
        return f"a folder of a run; {_export_command(path.parent)}"
    if not inside:
        return "an empty folder; give the folder that was named as --export_dir"
    return "a folder without saved_model.pb; give the folder that was named as --export_dir"


def _file(path: Path) -> str:
    ending = path.suffix.lower()
    if ending in (".tflite", ".onnx"):
        return ""
    if part := _part_of_saved_model(path):
        return part
    for folder in (path.parent, path.parent.parent):
        if _is_run(folder):
            return f"a file of a run; {_export_command(folder)}"
    if path.name.endswith(".weights.h5"):
        return "Keras weights without a network; give what export_saved_model makes of the run that they are of"
    if ending in _KERAS:
        return (
            "a Keras model outside of its run, of which an export needs settings and labels; give the run directory that "
            "train wrote to export_saved_model (--run_dir), and its --export_dir here"
        )
    if ending in _AUDIO:
        return "an audio file; give the model as --saved_model, and audio files without a flag"
    return "a file of another kind; give the folder that was named as --export_dir"


def _is_run(folder: Path) -> bool:
    return (folder / "settings.json").is_file() and any(
        (folder / name).is_file() for name in ("data.json", "model.keras")
    )


def _part_of_saved_model(path: Path) -> str:
    for folder in (path.parent, path.parent.parent):
        if (folder / "saved_model.pb").is_file():
            return f"a part of a SavedModel; give its whole folder, --saved_model={shlex.quote(str(folder))}"
    return ""


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _export_command(run_dir: Path) -> str:
    if (run_dir / "baseline.json").is_file() and not (run_dir / "model.keras").is_file():
        return "it is of a baseline without a network, which cannot be exported; train a network"
    if not (run_dir / "metrics.json").is_file():
        return "its training is not finished; run the command again that trained it, then export it"
    name = run_dir.resolve().name or "model"
    command = f"--run_dir={shlex.quote(str(run_dir))} --export_dir={shlex.quote(f'exports/{name}')}"
    return f"export it first: {console.command_prefix}export_saved_model {command}"
