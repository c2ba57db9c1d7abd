"""Whether an export predicts, as its users will load it, what the run predicted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.runs.run import Run
from pipeline.decoding.registry import DEFAULT_DECODER
from pipeline.storage.clips import clip_exists

TOLERANCE = 1e-5  # largest difference of a probability
HALF_TOLERANCE = 1e-3  # the same in half precision, whose results depend on the batch that they are computed in
MP3_DISAGREEMENT = 0.01  # share of clips whose label may change with the other decoder; one clip always may
_MAX_CLIPS = 200


class ExportCheckError(ValueError):
    """What was written does not predict what the run predicted; it has been deleted."""


def clips_to_check(run: Run) -> pd.DataFrame:
    """Reads the run's own predictions of clips that still exist: at most 200, evenly spread over the table.

    Of a baseline only those of the test split: its last classifier has been fitted on the validation clips too.

    Returns:
        Columns path, predicted, and `probability_<label>` in class order.

    Raises:
        ValueError: there are none.
    """
    baseline = run.baseline
    needed = ("path", "predicted") if baseline is None else ("path", "predicted", "split")
    table, source = run.predictions(needed), run.path("predictions.csv")
    if baseline is not None:
        table = table[table["split"] == "test"]
    table = table[["path", "predicted", *_probability_columns(table)]].drop_duplicates("path")
    there = table[[clip_exists(clip) for clip in table["path"]]]
    if there.empty:
        raise ValueError(
            f"expected the clips that {source} names, to check the export with, found none of {len(table)}, such as "
            f"{table['path'].iloc[0]}; run from the directory in which the run was trained, or put them back"
        )
    if len(there) < len(table):
        print(f"note: {len(table) - len(there)} clips of {source} are gone; checking with the others")
    return there.iloc[np.unique(np.linspace(0, len(there) - 1, min(len(there), _MAX_CLIPS)).astype(int))]


def predict_in_fresh_process(exported: Path, paths: Sequence[str], decoder: str = DEFAULT_DECODER) -> pd.DataFrame:
    """Runs `experiments.predict` on clips.

    Returns:
        Its predictions: columns path, predicted, error, and `probability_<label>` for each class.

    Raises:
        ExportCheckError: it fails altogether.
    """
    output = exported.with_name(f"{exported.name}.json")
    root = Path(__file__).resolve().parent.parent.parent
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
        "CUDA_VISIBLE_DEVICES": "-1",  # two of these run at a time, and would fight for a GPU's memory
    }
    command = [sys.executable, "-m", "experiments.predict", f"--saved_model={exported}", f"--output={output}"]
    command.append(f"--decoder={decoder}")
    result = subprocess.run([*command, "--", *paths], env=environment, capture_output=True, text=True)
    if not output.is_file():
        raise ExportCheckError(f"expected {exported.name} to predict in a fresh process, but: {result.stderr.strip()}")
    rows = json.loads(output.read_text(encoding="utf-8"))
    table = pd.DataFrame(
        {"path": [row["path"] for row in rows], "predicted": [row.get("labels", row["label"]) for row in rows]}
    )
    table["error"] = [row["error"] for row in rows]
    labels = next((list(row["probabilities"]) for row in rows if row["probabilities"]), [])
    for label in labels:
        table[f"probability_{label}"] = [(row["probabilities"] or {}).get(label, np.nan) for row in rows]
    return table


def check(target: Path, expected: pd.DataFrame, predicted: pd.DataFrame, tolerance: float = TOLERANCE) -> str:
    """Compares clip by clip; returns what to tell the user.

    Args:
        target: the export's name.
        expected: columns path, predicted, and `probability_<label>` for each class.
        predicted: the same clips, as `predict_in_fresh_process` returns them.
        tolerance: largest difference of a probability.

    Raises:
        ExportCheckError: a label differs, or a probability by more than the tolerance.
    """
    columns = _probability_columns(expected)
    if (received := _probability_columns(predicted)) != columns:
        raise ExportCheckError(f"expected {target.name} to answer for {columns}, received {received}")
    difference = np.abs(expected[columns].to_numpy() - predicted[columns].to_numpy()).max(axis=1)
    same = expected["predicted"].to_numpy() == predicted["predicted"].to_numpy()
    wrong = ~same | ~(difference <= tolerance)
    if wrong.any():
        worst = predicted[wrong].iloc[int(np.argmax(np.nan_to_num(difference[wrong], nan=np.inf)))]
        raise ExportCheckError(
            f"expected {target.name} to repeat the run's predictions within {tolerance:g} and with the same labels, but "
            f"{wrong.sum()} of {len(wrong)} clips differ, by up to {np.nanmax(difference):.2g}, such as {worst['path']}"
            f"{': ' + worst['error'] if worst['error'] else ''}. Nothing was exported. Either these clips changed since "
            "the run, or it was evaluated on a GPU, which rounds otherwise, or the export is at fault: please report it"
        )
    return f"checked in a fresh process on {len(wrong)} clips: same labels, probabilities within {difference.max():.1e}"


def find_mp3s(clips: pd.DataFrame) -> np.ndarray:
    """Which of the clips are MP3s, by their names, bool [clips].

    Raises:
        ValueError: none is.
    """
    is_mp3 = clips["path"].str.lower().str.endswith(".mp3").to_numpy()
    if not is_mp3.any():
        raise ValueError("expected MP3 clips among the run's predictions to check --mp3 with, found none; leave it out")
    return is_mp3


def check_mp3(target: Path, expected: pd.DataFrame, predicted: pd.DataFrame) -> str:
    """Compares the labels that a SavedModel of MP3s gives for the MP3s among the clips; otherwise as `check`.

    Raises:
        ExportCheckError: too many differ.
    """
    is_mp3 = find_mp3s(expected)
    expected, predicted = expected[is_mp3], predicted[is_mp3]
    failed = predicted[predicted["error"].notna()]
    differing = int(np.sum(expected["predicted"].to_numpy() != predicted["predicted"].to_numpy()))
    if differing > max(1, int(MP3_DISAGREEMENT * len(expected))):
        first = f"; {len(failed)} cannot be decoded, such as {failed['path'].iloc[0]}" if len(failed) else ""
        raise ExportCheckError(
            f"expected {target.name} to name the run's labels for {1 - MP3_DISAGREEMENT:.0%} of {len(expected)} clips, found "
            f"{differing} others{first}. Nothing was exported; leave --mp3 out"
        )
    return f"checked in a fresh process on {len(expected)} MP3s: same label for {len(expected) - differing}"


def _probability_columns(table: pd.DataFrame) -> list[str]:
    return [name for name in map(str, table.columns) if name.startswith("probability_")]
