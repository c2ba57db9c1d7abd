"""A run's best model, exported: written under another name, checked as its users will load it, then renamed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.conversion import write_mp3_saved_model, write_onnx, write_saved_model, write_tflite
from experiments.evaluation import load_model
from experiments.export_metadata import describe_run
from experiments.run_dir import read_data
from experiments.serving import AudioClassifier
from experiments.settings import read_settings
from layers.log_mel import LogMelSpectrogram
from layers.models import get_network

TOLERANCE = 1e-5  # largest difference of a probability
MP3_AGREEMENT = 0.99  # share of clips whose label must not change with the other decoder
_MAX_CLIPS = 200


class ExportCheckError(ValueError):
    """What was written does not predict what the run predicted; it has been deleted."""


@dataclasses.dataclass(frozen=True)
class Format:
    """One kind of export.

    Attributes:
        suffix: of its name, after the export directory's.
        write: writes it.
    """

    suffix: str
    write: Callable[[AudioClassifier, dict[str, Any], Path], None]


FORMATS = {
    "saved_model": Format("", write_saved_model),
    "mp3": Format("-mp3", write_mp3_saved_model),
    "tflite": Format(".tflite", write_tflite),
    "onnx": Format(".onnx", write_onnx),
}


def export_run(
    run_dir: Path, export_dir: Path, formats: Sequence[str] = ("saved_model",), overwrite: bool = False
) -> dict[str, Path]:
    """Exports a run's best model and checks each export in a fresh process on real clips.

    Args:
        run_dir: of a finished run.
        export_dir: the SavedModel; other formats stand beside it.
        formats: names in `FORMATS`, "saved_model" among them.
        overwrite: whether earlier exports of the same names are replaced.

    Returns:
        The path of each format.

    Raises:
        ValueError: the run cannot be exported, or something else stands in the place.
        ExportCheckError: an export differs from the run; nothing is left of it.
    """
    targets = {name: export_dir.with_name(export_dir.name + FORMATS[name].suffix) for name in formats}
    for target in targets.values():
        _check_place(target, overwrite)
    classifier, clips = load_classifier(run_dir), _clips(run_dir)
    metadata = describe_run(run_dir, classifier.model)
    staging = export_dir.with_name(f".{export_dir.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "replaced").mkdir(parents=True)
    try:
        expected = clips
        for name, target in targets.items():
            written = staging / target.name
            FORMATS[name].write(classifier, metadata, written)
            if name == "mp3":
                note = _check_mp3(written, clips)
            else:
                predicted = _predict_in_fresh_process(written, clips["path"].tolist())
                note = _check(target, expected, predicted)
                if name == "saved_model":
                    expected = predicted  # for the formats converted from the same model
            print(f"{target}: {note}", flush=True)
        for target in targets.values():
            if target.exists():
                os.replace(target, staging / "replaced" / target.name)
            os.replace(staging / target.name, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return targets


def load_classifier(run_dir: Path) -> AudioClassifier:
    """Loads a run's best model with what it takes to use it on any audio.

    Raises:
        ValueError: it cannot be read.
    """
    settings, labels = read_settings(run_dir / "settings.json"), read_data(run_dir)["labels"]
    model = load_model(run_dir)
    front_end = next(layer for layer in model.layers if isinstance(layer, LogMelSpectrogram))
    min_samples = front_end.shortest_waveform(get_network(settings.model).min_size)
    return AudioClassifier(model, labels, settings.sample_rate_hz, settings.crop_seconds, min_samples)


def _check_place(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise ValueError(
            f"expected nothing at {target}, found an earlier export; add --overwrite, or choose another --export_dir"
        )
    if target.is_dir() and any(target.iterdir()) and not (target / "saved_model.pb").is_file():
        raise ValueError(
            f"expected an earlier export at {target} to overwrite, found other files; choose another --export_dir"
        )


def _clips(run_dir: Path) -> pd.DataFrame:
    """The run's own predictions of clips that still exist: at most `_MAX_CLIPS`, evenly spread over the table.

    Columns: path, predicted, and `probability_<label>` in class order.
    """
    path = run_dir / "predictions.csv"
    try:
        table = pd.read_csv(path, dtype={"path": str, "predicted": str})
    except (OSError, ValueError) as error:
        raise ValueError(
            f"expected the run's predictions in {path}, to check the export against, but they cannot be read: {error}; "
            "let the training finish, by the same command"
        ) from error
    table = table[["path", "predicted", *_probability_columns(table)]]
    there = table[[os.path.isfile(clip) for clip in table["path"]]]
    if there.empty:
        raise ValueError(
            f"expected the clips that {path} names, to check the export with, found none of {len(table)}, such as "
            f"{table['path'].iloc[0]}; run from the directory in which the run was trained, or put them back"
        )
    if len(there) < len(table):
        print(f"note: {len(table) - len(there)} clips of {path} are gone; checking with the others")
    return there.iloc[np.unique(np.linspace(0, len(there) - 1, min(len(there), _MAX_CLIPS)).astype(int))]


def _probability_columns(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table if str(name).startswith("probability_")]


def _predict_in_fresh_process(exported: Path, paths: Sequence[str]) -> pd.DataFrame:
    """Runs `experiments.predict` on clips; returns its table, in the columns of `_clips` and `error`."""
    output = exported.parent / "predictions.json"
    root = Path(__file__).resolve().parent.parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    command = [
        sys.executable,
        "-m",
        "experiments.predict",
        f"--saved_model={exported}",
        f"--output={output}",
        "--",
        *paths,
    ]
    result = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if not output.is_file():
        raise ExportCheckError(f"expected {exported.name} to predict in a fresh process, but: {result.stderr.strip()}")
    rows = json.loads(output.read_text(encoding="utf-8"))
    table = pd.DataFrame({"path": [row["path"] for row in rows], "predicted": [row["label"] for row in rows]})
    table["error"] = [row["error"] for row in rows]
    labels = next((list(row["probabilities"]) for row in rows if row["probabilities"]), [])
    for label in labels:
        table[f"probability_{label}"] = [(row["probabilities"] or {}).get(label, np.nan) for row in rows]
    return table


def _check(target: Path, expected: pd.DataFrame, predicted: pd.DataFrame) -> str:
    """Compares clip by clip; returns what to tell the user."""
    columns = [name for name in expected if name.startswith("probability_")]
    if list(predicted.columns[3:]) != columns:
        raise ExportCheckError(
            f"expected {target.name} to answer for {columns}, received {list(predicted.columns[3:])}"
        )
    difference = np.abs(expected[columns].to_numpy() - predicted[columns].to_numpy()).max(axis=1)
    same = expected["predicted"].to_numpy() == predicted["predicted"].to_numpy()
    wrong = ~same | ~(difference <= TOLERANCE)
    if wrong.any():
        worst = predicted[wrong].iloc[int(np.argmax(np.nan_to_num(difference[wrong], nan=np.inf)))]
        raise ExportCheckError(
            f"expected {target.name} to repeat the run's predictions within {TOLERANCE:g} and with the same labels, but "
            f"{wrong.sum()} of {len(wrong)} clips differ, by up to {np.nanmax(difference):.2g}, such as {worst['path']}"
            f"{': ' + worst['error'] if worst['error'] else ''}. Nothing was exported. Either these clips changed since "
            "the run, or the export is at fault: please report it"
        )
    return f"checked in a fresh process on {len(wrong)} clips: same labels, probabilities within {difference.max():.1e}"


def _check_mp3(written: Path, clips: pd.DataFrame) -> str:
    clips = clips[clips["path"].str.lower().str.endswith(".mp3")]
    if clips.empty:
        raise ExportCheckError(
            "expected MP3 clips among the run's predictions to check --mp3 with, found none; leave it out"
        )
    predicted = _predict_in_fresh_process(written, clips["path"].tolist())
    failed = predicted[predicted["error"].notna()]
    agreement = float(np.mean(clips["predicted"].to_numpy() == predicted["predicted"].to_numpy()))
    if agreement < MP3_AGREEMENT:
        first = f"; {len(failed)} cannot be decoded, such as {failed['path'].iloc[0]}" if len(failed) else ""
        raise ExportCheckError(
            f"expected the MP3 model to agree with the run on {MP3_AGREEMENT:.0%} of {len(clips)} clips, found {agreement:.1%}"
            f"{first}. Nothing was exported; leave --mp3 out"
        )
    return f"checked in a fresh process on {len(clips)} MP3s: {agreement:.1%} have the same label"
