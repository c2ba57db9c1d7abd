"""What a report of a run shows: its scores, and each clip of its test split with what the model heard in it."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from experiments.builders.data import FAILURES_FILE, failure_rows, load_catalog
from experiments.builders.model import build_front_end
from experiments.evaluation.evaluation import load_model, make_predict_function, predict_crops
from experiments.export.metadata import describe_run
from experiments.prediction.prediction import window_edges
from experiments.runs.run import SETTINGS_FILE, read_data, read_metrics, read_predictions
from experiments.settings import Settings, read_settings, require_one_label
from layers.front_ends.registry import find_front_end
from pipeline.failures import FailureLedger
from pipeline.storage.clips import clip_exists

IMAGE_COLUMNS = 108  # of a window, at most: enough for half a card's width each
_TOLERANCE = 1e-3  # of a probability, between the run's evaluation and now: more than a GPU's rounding


@dataclasses.dataclass(frozen=True)
class ReportClip:
    """A test clip. The last three are empty if it cannot be decoded any more, and `problem` says why.

    Attributes:
        path: as the catalog has it.
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
        """Whether the predicted class is another than the true one."""
        return self.true != self.predicted

    @property
    def surest(self) -> int:
        """The window in which the model was surest of the class that it predicted for the clip."""
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
        clips: those of them that are shown, misclassified ones first, surest error first; then from the least sure.
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
    settings, labels = read_settings(run_dir / SETTINGS_FILE), tuple(read_data(run_dir)["labels"])
    require_one_label(settings, "a report page")
    metrics, history = read_metrics(run_dir), _read_history(run_dir)
    table = read_predictions(run_dir, ("path", "split", "label", "predicted"))
    table = table[table["split"] == "test"].reset_index(drop=True)
    probabilities = _probabilities(table, labels, run_dir)
    truth = _class_indices(table["label"], labels, run_dir)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = predicted != truth
    order = np.lexsort((np.where(wrong, -confidence, confidence), ~wrong))[:max_clips]
    model = load_model(run_dir)
    catalog = load_catalog(settings).split("test").drop_duplicates("path").set_index("path")
    heard = _listen(model, table["path"].iloc[order].tolist(), settings)
    clips, changed = [], 0
    for i in order:
        path = table["path"].iloc[i]
        names = catalog.loc[path] if path in catalog.index else {"title": "", "artist": ""}
        problem, edges, windows, images = heard[path]
        if len(windows) and np.abs(windows.mean(axis=0, dtype=np.float64) - probabilities[i]).max() > _TOLERANCE:
            changed += 1
        clips.append(
            ReportClip(
                path=path,
                title=str(names["title"]),
                artist=str(names["artist"]),
                true=int(truth[i]),
                predicted=int(predicted[i]),
                probabilities=probabilities[i],
                problem=problem,
                edges=edges,
                windows=windows,
                images=images,
            )
        )
    return ReportData(
        labels=labels,
        settings=settings,
        description=describe_run(run_dir, model),
        metrics=metrics,
        finished=datetime.datetime.fromtimestamp((run_dir / "metrics.json").stat().st_mtime),
        history=history,
        failures=failure_rows(run_dir / FAILURES_FILE) if (run_dir / FAILURES_FILE).is_file() else [],
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


def _read_history(run_dir: Path) -> pd.DataFrame:
    path = run_dir / "history.csv"
    try:
        history = pd.read_csv(path)
        if not {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"} <= set(history.columns):
            raise ValueError(f"its columns are {', '.join(history.columns)}")
        return history
    except (OSError, ValueError) as error:
        raise ValueError(
            f"expected the history of the training in {path}, but it cannot be read: {error}; let the training finish, "
            "by the same command"
        ) from error


Heard = tuple[str, np.ndarray, np.ndarray, np.ndarray]  # a clip's problem, edges, windows and images


def _listen(model: keras.Model, paths: list[str], settings: Settings) -> dict[str, Heard]:
    """Runs the model, and its front end alone, over every window of each clip."""
    ledger = FailureLedger(len(paths), max_failure_rate=1.0)
    for path in paths:
        if not clip_exists(path):
            ledger.record(path, "file not found")
    there = [path for path in dict.fromkeys(paths) if path not in ledger.failures]
    rows, windows, images = np.zeros(0, int), np.zeros((0, 1)), np.zeros((0, 1, 1), np.uint8)
    if there:
        predict = make_predict_function(model, settings.jit_compile)
        try:
            rows, windows = predict_crops(predict, there, settings, ledger, "clips")
            _, images = predict_crops(make_image_function(model, settings), there, settings, ledger, "images")
        except ValueError:
            if len(ledger.failures) < len(set(paths)):
                raise
    failures = ledger.failures
    heard = {}
    for row, path in enumerate(there):
        own = rows == row
        if path not in failures:
            edges = window_edges(path, int(own.sum()), settings.crop_seconds)
            heard[path] = ("", edges, windows[own], images[own])
    nothing = np.zeros(0)
    return heard | {path: (failure.reason, nothing, nothing, nothing) for path, failure in failures.items()}


def make_image_function(model: keras.Model, settings: Settings) -> Callable[[tf.Tensor], tf.Tensor]:
    """Compiles the model's own front end, and the scaling of its images to bytes.

    Of a network that takes the waveform itself, the log-mel image is shown that others would see.

    Returns:
        A function of waveforms float32 [batch, samples] that gives uint8 [batch, columns, mels]: each image between
        its own lowest and highest value, averaged over time to at most `IMAGE_COLUMNS`.
    """
    front_end = find_front_end(model) or build_front_end(settings)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
    def image(waveform: tf.Tensor) -> tf.Tensor:
        features = front_end(waveform)  # [batch, frames, mels, 1]
        low = tf.reduce_min(features, axis=[1, 2, 3], keepdims=True)
        high = tf.reduce_max(features, axis=[1, 2, 3], keepdims=True)
        scaled = tf.math.divide_no_nan(features - low, high - low) * 255.0
        small = tf.image.resize(scaled, [IMAGE_COLUMNS, front_end.n_mels], method="area")
        return tf.cast(tf.round(small[..., 0]), tf.uint8)

    return image


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
