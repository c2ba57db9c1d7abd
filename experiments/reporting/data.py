"""What a report of a run shows: its scores, and each clip of its test split with what the model says of its windows."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.builders.data import load_catalog
from experiments.reporting.errors import named, worst_first
from experiments.reporting.shown_clips import MultiLabelClip, ReportClip
from experiments.reporting.windows import predict_windows
from experiments.runs.description import describe_run
from experiments.runs.run import Run
from experiments.settings import Settings
from pipeline.catalogs.catalog import LABEL_SEPARATOR

FINISH = "let the training finish, by the same command"
_ONE_LABEL_SCORES = ("accuracy", "ci95", "balanced_accuracy", "n", "per_class")
_SEVERAL_LABELS_SCORES = ("accuracy", "ci95", "roc_auc", "average_precision", "f1", "n", "per_class")
_Fields = Callable[[int], dict[str, Any]]  # what a clip's label or labels add to the fields of a shown clip
_TOLERANCE = 1e-3  # of a probability, between the run's evaluation and now: more than a GPU's rounding


@dataclasses.dataclass(frozen=True)
class ReportData:
    """All that a report shows.

    Attributes:
        labels: in class order.
        settings: of the run.
        description: what an export says of the run (`describe_run`): its data, network, front end, libraries.
        metrics: the contents of metrics.json.
        finished: when metrics.json was written.
        history: the contents of history.csv; None: of a baseline, which has no epochs.
        baseline: the contents of baseline.json; None: of a network that was trained.
        failures: the rows of failures.csv.
        truth: true class indices of the decodable test clips [n]; of several labels whether a clip has each [n, classes].
        probabilities: what the model says of them [n, classes].
        thresholds: of clips with several labels, from which probability on they are given each [classes]; otherwise None.
        clips: those of them that are shown: the misclassified ones, most confident first, then the others, least
            confident first.
        notes: what the reader should know about differences between the run and now.
    """

    labels: tuple[str, ...]
    settings: Settings
    description: dict[str, Any]
    metrics: dict[str, Any]
    finished: datetime.datetime
    history: pd.DataFrame | None
    baseline: dict[str, Any] | None
    failures: list[dict[str, str]]
    truth: np.ndarray
    probabilities: np.ndarray
    thresholds: np.ndarray | None
    clips: Sequence[ReportClip | MultiLabelClip]
    notes: list[str]

    @property
    def predicted(self) -> np.ndarray:
        """Predicted class indices of the decodable test clips [n]; of several labels whether each is given [n, classes]."""
        if self.thresholds is not None:
            return self.probabilities >= self.thresholds
        return self.probabilities.argmax(axis=1)

    @property
    def misclassified(self) -> int:
        """How many of the decodable test clips are misclassified, or have a label wrongly given or missed."""
        wrong = self.predicted != self.truth
        return int(wrong.any(axis=1).sum() if wrong.ndim == 2 else wrong.sum())


def gather(run_dir: Path, max_clips: int | None = None) -> ReportData:
    """Reads a finished run, and runs its model over its test clips again, for what it says of every window.

    Args:
        run_dir: of a finished run.
        max_clips: how many clips to show; None: all.

    Raises:
        ValueError: the run is not finished, or cannot be read.
    """
    if max_clips is not None and max_clips < 1:
        raise ValueError(f"expected to show at least 1 clip, received --max_clips={max_clips}")
    run = Run(run_dir)
    settings, labels = run.settings, run.labels
    baseline = run.baseline
    if baseline is not None and not run.path("model.keras").is_file():
        raise ValueError(
            f"expected the run of a network at {run_dir}, found one of {settings.model}, which has no "
            "network to show; its scores are in metrics.json"
        )
    metrics, history = run.metrics, run.history if baseline is None else None
    _check_scores(metrics, settings, run.path("metrics.json"))
    if history is not None and history.empty:
        raise ValueError(f"expected at least one epoch in {run.path('history.csv')}, found none; {FINISH}")
    table = run.predictions(("path", "split", "label", "predicted"))
    table = table[table["split"] == "test"].reset_index(drop=True)
    probabilities = _probabilities(table, labels, run_dir)
    thresholds = run.thresholds if settings.multi_label else None
    if thresholds is None:
        truth = _class_indices(table["label"], labels, run_dir)
        order, fields = _one_label(probabilities, truth)
    else:
        truth = _has_label(table["label"], labels, run_dir)
        order, fields = _several_labels(probabilities, truth, thresholds)
    model = run.model()
    names, notes = _titles(settings)
    chosen = order[:max_clips]
    predictions = predict_windows(model, table["path"].iloc[chosen].tolist(), settings)
    clips, changed = [], 0
    kind = ReportClip if thresholds is None else MultiLabelClip
    for i in chosen:
        path = table["path"].iloc[i]
        seen = predictions[path]
        title, artist = names.get(path, ("", ""))
        if (
            len(seen.windows)
            and np.abs(seen.windows.mean(axis=0, dtype=np.float64) - probabilities[i]).max() > _TOLERANCE
        ):
            changed += 1
        clips.append(
            kind(
                path=path,
                title=title,
                artist=artist,
                probabilities=probabilities[i],
                problem=seen.problem,
                edges=seen.edges,
                windows=seen.windows,
                images=seen.images,
                peak=seen.peak,
                **fields(i),
            )
        )
    return ReportData(
        labels=labels,
        settings=settings,
        description=describe_run(run, model),
        metrics=metrics,
        finished=datetime.datetime.fromtimestamp(run.path("metrics.json").stat().st_mtime),
        history=history,
        baseline=baseline,
        failures=run.failures,
        truth=truth,
        probabilities=probabilities,
        thresholds=thresholds,
        clips=clips,
        notes=notes + _notes(clips, len(table), changed),
    )


def _one_label(probabilities: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, _Fields]:
    """Orders clips with one label: the wrong ones, most confident first, then the others, least confident first."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = predicted != truth
    order = np.lexsort((np.where(wrong, -confidence, confidence), ~wrong))
    return order, lambda i: {"true": int(truth[i]), "predicted": int(predicted[i])}


def _several_labels(probabilities: np.ndarray, truth: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, _Fields]:
    """Orders clips with several labels by their worst error, and says for each what is right and wrong."""
    order, severity = worst_first(probabilities, truth, thresholds)

    def fields(i: int) -> dict[str, Any]:
        errors = np.argsort(-severity[i], kind="stable")[: np.count_nonzero(severity[i])]
        return {
            "has": tuple(np.flatnonzero(truth[i]).tolist()),
            "given": tuple(np.flatnonzero(probabilities[i] >= thresholds).tolist()),
            "errors": tuple(errors.tolist()),
            "severity": tuple(severity[i, errors].tolist()),
            "focus": int(errors[0] if len(errors) else probabilities[i].argmax()),
        }

    return order, fields


def _titles(settings: Settings) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Returns title and artist of each path of the data set, and a note if the data set cannot be read any more."""
    try:
        tracks = load_catalog(settings).split("test").drop_duplicates("path")
    except (ValueError, OSError) as error:
        return {}, [f"The data set cannot be read any more, so titles and artists are missing: {error}."]
    columns = (tracks[name].astype(str) for name in ("path", "title", "artist"))
    return {path: (title, artist) for path, title, artist in zip(*columns, strict=True)}, []


def _check_scores(metrics: dict[str, Any], settings: Settings, path: Path) -> None:
    needed = _SEVERAL_LABELS_SCORES if settings.multi_label else _ONE_LABEL_SCORES
    for split, scores in metrics.items():
        for unit in ("clip", "crop"):
            found = scores.get(unit, {}) if isinstance(scores, dict) else {}
            if missing := [name for name in needed if name not in found]:
                raise ValueError(
                    f"expected the scores {', '.join(needed)} of {split} by {unit} in {path}, found no "
                    f"{', '.join(missing)}; evaluate the run again, by the command that trained it"
                )


def _probabilities(table: pd.DataFrame, labels: tuple[str, ...], run_dir: Path) -> np.ndarray:
    columns = [f"probability_{label}" for label in labels]
    missing = [name for name in columns if name not in table]
    if table.empty or missing:
        found = f"no {named(missing, range(len(missing)))}" if missing else "no test clip"
        raise ValueError(
            f"expected test clips with the columns {named(columns, range(len(columns)))} in "
            f"{run_dir / 'predictions.csv'}, found {found}; {FINISH}"
        )
    numbers = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    if damaged := int((~np.isfinite(numbers)).any(axis=1).sum()):
        raise ValueError(
            f"expected probabilities in {run_dir / 'predictions.csv'}, found test clips without ({damaged}); {FINISH}"
        )
    return numbers


def _class_indices(names: pd.Series, labels: tuple[str, ...], run_dir: Path) -> np.ndarray:
    places = pd.Index(labels).get_indexer(pd.Index(names))
    if (places < 0).any():
        unknown = sorted(set(names[places < 0]))
        raise ValueError(
            f"expected the labels of {run_dir / 'data.json'} in predictions.csv ({named(labels, range(len(labels)))}), "
            f"found {named(unknown, range(len(unknown)))}; {FINISH}"
        )
    return places


def _has_label(names: pd.Series, labels: tuple[str, ...], run_dir: Path) -> np.ndarray:
    """Returns whether each clip has each label [clips, labels], of texts such as "Folk|Rock"."""
    each = names.str.split(LABEL_SEPARATOR, regex=False).explode()
    each = each[each != ""]
    has = np.zeros((len(names), len(labels)), bool)
    has[each.index, _class_indices(each, labels, run_dir)] = True
    return has


def _notes(clips: Sequence[ReportClip | MultiLabelClip], total: int, changed: int) -> list[str]:
    notes = []
    if len(clips) < total:
        notes.append(
            f"{len(clips)} of {total} test clips are shown, because --max_clips says so; the scores are of all."
        )
    if lost := sum(bool(clip.problem) for clip in clips):
        notes.append(f"{lost} of the clips shown cannot be decoded any more and are shown without sound and image.")
    if silent := sum(bool(clip.silence) for clip in clips):
        notes.append(
            f"{silent} of the clips shown {'has' if silent == 1 else 'have'} no sound and {'is' if silent == 1 else 'are'} "
            'marked "no sound": what the model says of such a clip means nothing.'
        )
    if changed:
        notes.append(
            f"{changed} of the clips shown give other probabilities now than when the run was evaluated: their files or "
            "the model have changed. Genre over time is of now, everything else of then."
        )
    return notes
