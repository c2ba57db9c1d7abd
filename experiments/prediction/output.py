"""Predictions for people and for programs: a table, CSV or JSON, and timelines."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from experiments import console
from experiments.figures import picture
from experiments.prediction.exported import ExportedModel
from experiments.prediction.plots import plot_timeline
from experiments.prediction.prediction import FilePrediction, window_edges
from pipeline.catalogs.catalog import join_labels
from pipeline.storage.atomic import atomic_write

_SUMMARY = ("path", "label", "probability", "runner_up", "runner_up_probability", "error")


def write_predictions(
    predictions: Iterable[FilePrediction],
    model: ExportedModel,
    style: str,
    output: Path | None = None,
    timeline_dir: Path | None = None,
    path_width: int = 0,
) -> int:
    """Writes each prediction as soon as it is there.

    Args:
        predictions: of the files, in the order in which they are written.
        model: the one that predicts.
        style: "table"; "csv" (path, label, probability, runner_up, runner_up_probability, error, for a model of clips with
            several labels all `labels` above their thresholds, `probability_<label>` for each class, and remark); or "json" (a
            list of objects with the same keys, but `probabilities` by label, and `windows` if there are timelines).
        output: a file; None is standard output.
        timeline_dir: where a plot of each file goes; None: no plots.
        path_width: characters of the table's first column.

    Returns:
        The number of files without a prediction.

    Raises:
        ValueError: timelines are asked of a model that returns the mean of a file only.
    """
    if timeline_dir is not None:
        if model.classify is None:
            raise ValueError(
                "expected a model of waveforms for --timeline, received one of MP3s; use the one beside it"
            )
        timeline_dir.mkdir(parents=True, exist_ok=True)
    failed = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal failed
        for prediction in predictions:
            failed += bool(prediction.error)
            yield _row(prediction, model, timeline_dir)

    columns = (*_SUMMARY, *["labels"] * (model.thresholds is not None))
    chunks = {"table": _table, "csv": _csv, "json": _json}[style](rows(), columns, model.labels, path_width)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        file = sys.stdout
        if output is not None:
            temporary = stack.enter_context(atomic_write(output))
            file = stack.enter_context(open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline=""))
        for chunk in chunks:
            console.write(chunk, file)
    for what, place in (("written to", output), ("timelines in", timeline_dir)):
        if place is not None:
            print(f"{what} {place}", file=sys.stderr)
    return failed


def _row(prediction: FilePrediction, model: ExportedModel, timeline_dir: Path | None) -> dict[str, Any]:
    if prediction.error:
        return dict.fromkeys(_SUMMARY) | {
            "path": prediction.path,
            "error": prediction.error,
            "probabilities": None,
            "remark": None,
        }
    probabilities = prediction.probabilities
    first, second = np.argsort(-probabilities, kind="stable")[:2]
    row = {
        "path": prediction.path,
        "label": model.labels[first],
        "probability": float(probabilities[first]),
        "runner_up": model.labels[second],
        "runner_up_probability": float(probabilities[second]),
        "error": None,
        "remark": prediction.remark or None,
        "probabilities": dict(zip(model.labels, probabilities.tolist(), strict=True)),
    }
    if model.thresholds is not None:
        row["labels"] = join_labels(model.labels[i] for i in np.flatnonzero(probabilities >= model.thresholds))
    if timeline_dir is not None:
        edges = window_edges(prediction.path, len(prediction.windows), model.metadata["crop_seconds"])
        title = f"{Path(prediction.path).name}: {row['label']} ({row['probability']:.0%})"
        place = _timeline_path(timeline_dir, prediction.path)
        with picture(place):
            plot_timeline(edges, prediction.windows, model.labels, title, place, stacked=model.thresholds is None)
        row["windows"] = [
            {"start_seconds": start, "probabilities": dict(zip(model.labels, window, strict=True))}
            for start, window in zip(edges.tolist(), prediction.windows.tolist(), strict=False)
        ]
    return row


def _timeline_path(folder: Path, path: str) -> Path:
    """Returns a short name that differs between files of the same name in different folders."""
    digest = hashlib.sha1(os.fsencode(Path(path).resolve()), usedforsecurity=False).hexdigest()
    stem = Path(path).stem.encode(errors="replace").decode()
    return folder / f"{stem[:60]}-{digest[:8]}.png"


def _table(rows: Iterable[dict[str, Any]], columns: Sequence[str], labels: list[str], path_width: int) -> Iterator[str]:
    path_width, width = max(path_width, 4), max(9, *map(len, labels))
    more = "  labels" * ("labels" in columns)
    yield f"{'file':{path_width}}  {'label':{width}}  probability  {'runner-up':{width}}  probability{more}\n"
    for row in rows:
        if row["error"]:
            yield f"{row['path']:{path_width}}  error: {row['error']}\n"
        else:
            remark = f"  ({row['remark']})" if row["remark"] else ""
            yield (
                f"{row['path']:{path_width}}  {row['label']:{width}}  {row['probability']:11.3f}  "
                f"{row['runner_up']:{width}}  {row['runner_up_probability']:11.3f}"
                f"{'  ' + row['labels'] if more else ''}{remark}\n"
            )


def _csv(rows: Iterable[dict[str, Any]], columns: Sequence[str], labels: list[str], path_width: int) -> Iterator[str]:
    def line(values: Iterable[Any]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(
            [f"{value:.9g}" if isinstance(value, float) else value for value in values]
        )
        return text.getvalue()

    yield line([*columns, *(f"probability_{label}" for label in labels), "remark"])
    for row in rows:
        probabilities = (row["probabilities"] or dict.fromkeys(labels)).values()
        yield line([*(row.get(name) for name in columns), *probabilities, row["remark"]])


def _json(rows: Iterable[dict[str, Any]], columns: Sequence[str], labels: list[str], path_width: int) -> Iterator[str]:
    separator = "[\n"
    for row in rows:
        yield separator + json.dumps(row)
        separator = ",\n"
    yield "\n]\n"
