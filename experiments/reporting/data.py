"""What a report of a run shows: its scores, and each clip of its test split with what the model says of its windows."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.builders.data import load_catalog
from experiments.reporting.windows import predict_windows
from experiments.runs.description import describe_run
from experiments.runs.run import Run
from experiments.settings import Settings, require_one_label

_TOLERANCE = 1e-3  # of a probability, between the run's evaluation and now: more than a GPU's rounding


@dataclasses.dataclass(frozen=True)
class ReportClip:
    """A test clip. The last three are empty if the clip cannot be decoded any more; `problem` says why.

    Attributes:
        path: of the file, as in the catalog.
        title: "" where unknown.
        artist: "" where unknown.
        true: its class index.
        predicted: the predicted class index.
        probabilities: from predictions.csv [classes].
        problem: why it cannot be decoded, or "".
        edges: where the windows begin, and the clip's end, in seconds [windows + 1].
        windows: probabilities of each window [windows, classes].
        images: the log-mel image of each window, 0 its lowest and 255 its highest value, uint8 [windows, columns, mels].
    """

    path: str
    title: str
    artist: str
    true: int
    predicted: int
    probabilities: np.ndarray
    problem: str
    edges: np.ndarray
    windows: np.ndarray
    images: np.ndarray

    @property
    def misclassified(self) -> bool:
        """Whether the predicted class differs from the true class."""
        return self.true != self.predicted

    @property
    def most_confident(self) -> int:
        """The window in which the model was most confident of the class that it predicted for the clip."""
        return int(self.windows[:, self.predicted].argmax())


@dataclasses.dataclass(frozen=True)
class ReportData:
    """All that a report shows.

    Attributes:
        labels: in class order.
        settings: of the run.
        description: what an export says of the run (`describe_run`): its data, network, front end, libraries.
        metrics: the contents of metrics.json.
        finished: when metrics.json was written.
        history: the contents of history.csv.
        failures: the rows of failures.csv.
        truth: true class indices of the decodable test clips [n].
        probabilities: what the model says of them [n, classes].
        clips: those of them that are shown: the misclassified ones, most confident first, then the others, least
            confident first.
        notes: what the reader should know about differences between the run and now.
    """

    labels: tuple[str, ...]
    settings: Settings
    description: dict[str, Any]
    metrics: dict[str, Any]
    finished: datetime.datetime
    history: pd.DataFrame
    failures: list[dict[str, str]]
    truth: np.ndarray
    probabilities: np.ndarray
    clips: list[ReportClip]
    notes: list[str]

    @property
    def predicted(self) -> np.ndarray:
        """Predicted class indices of the decodable test clips [n]."""
        return self.probabilities.argmax(axis=1)

    @property
    def misclassified(self) -> int:
        """How many of the decodable test clips are misclassified."""
        return int((self.predicted != self.truth).sum())


def gather(run_dir: Path, max_clips: int | None = None) -> ReportData:
    """Reads a finished run, and runs its model over its test clips again, for what it says of every window.

    Args:
        run_dir: of a finished run.
        max_clips: how many clips to show; None: all.

    Raises:
        ValueError: the run is not finished, cannot be read, or its data set is no longer what it was.
    """
    if max_clips is not None and max_clips < 1:
        raise ValueError(f"expected to show at least 1 clip, received --max_clips={max_clips}")
    run = Run(run_dir)
    settings, labels = run.settings, run.labels
    require_one_label(settings, "a report page")
    metrics, history = run.metrics, run.history
    table = run.predictions(("path", "split", "label", "predicted"))
    table = table[table["split"] == "test"].reset_index(drop=True)
    probabilities = _probabilities(table, labels, run_dir)
    truth = _class_indices(table["label"], labels, run_dir)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = predicted != truth
    order = np.lexsort((np.where(wrong, -confidence, confidence), ~wrong))[:max_clips]
    model = run.model()
    catalog = load_catalog(settings).split("test").drop_duplicates("path").set_index("path")
    predictions = predict_windows(model, table["path"].iloc[order].tolist(), settings)
    clips, changed = [], 0
    for i in order:
        path = table["path"].iloc[i]
        names = catalog.loc[path] if path in catalog.index else {"title": "", "artist": ""}
        seen = predictions[path]
        if (
            len(seen.windows)
            and np.abs(seen.windows.mean(axis=0, dtype=np.float64) - probabilities[i]).max() > _TOLERANCE
        ):
            changed += 1
        clips.append(
            ReportClip(
                path=path,
                title=str(names["title"]),
                artist=str(names["artist"]),
                true=int(truth[i]),
                predicted=int(predicted[i]),
                probabilities=probabilities[i],
                problem=seen.problem,
                edges=seen.edges,
                windows=seen.windows,
                images=seen.images,
            )
        )
    return ReportData(
        labels=labels,
        settings=settings,
        description=describe_run(run, model),
        metrics=metrics,
        finished=datetime.datetime.fromtimestamp(run.path("metrics.json").stat().st_mtime),
        history=history,
        failures=run.failures,
        truth=truth,
        probabilities=probabilities,
        clips=clips,
        notes=_notes(clips, len(table), changed),
    )


def _probabilities(table: pd.DataFrame, labels: tuple[str, ...], run_dir: Path) -> np.ndarray:
    columns = [f"probability_{label}" for label in labels]
    if table.empty or not set(columns) <= set(table.columns):
        raise ValueError(
            f"expected test clips with the columns {', '.join(columns)} in {run_dir / 'predictions.csv'}, found "
            f"{len(table)} test clips and {', '.join(table.columns)}; let the training finish, by the same command"
        )
    return table[columns].to_numpy(np.float64)


def _class_indices(names: pd.Series, labels: tuple[str, ...], run_dir: Path) -> np.ndarray:
    unknown = sorted(set(names) - set(labels))
    if unknown:
        raise ValueError(
            f"expected the labels of {run_dir / 'data.json'} in predictions.csv ({', '.join(labels)}), found "
            f"{', '.join(unknown)}; let the training finish, by the same command"
        )
    return np.array([labels.index(name) for name in names])


def _notes(clips: list[ReportClip], total: int, changed: int) -> list[str]:
    notes = []
    if len(clips) < total:
        notes.append(
            f"{len(clips)} of {total} test clips are shown, because --max_clips says so; the scores are of all."
        )
    if lost := sum(bool(clip.problem) for clip in clips):
        notes.append(f"{lost} of the clips shown cannot be decoded any more and are shown without sound and image.")
    if changed:
        notes.append(
            f"{changed} of the clips shown give other probabilities now than when the run was evaluated: their files or "
            "the model have changed. Genre over time is of now, everything else of then."
        )
    return notes
