"""Evaluates a model on the clips of a data set, and writes predictions, scores and a picture of them."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.builders.data import prepare
from experiments.evaluation.metrics import classification_metrics, shown_rows
from experiments.evaluation.multi_label import format_multi_label_metrics, multi_label_metrics
from experiments.evaluation.plots import plot_confusion_matrix, plot_label_scores
from experiments.evaluation.splits import SplitPredictions, make_predict_function, predict_split
from experiments.figures import picture
from experiments.runs.identity import data_identity, same_data
from experiments.runs.run import Run
from experiments.settings import Settings

_PICTURES = ("confusion_matrix.png", "label_scores.png")  # of clips with one label, and of clips with several


def score_split(
    predictions: SplitPredictions, labels: tuple[str, ...], thresholds: np.ndarray | None = None
) -> dict[str, Any]:
    """Computes the scores of a split, by clip and by crop.

    Args:
        predictions: of the split.
        labels: names of the classes.
        thresholds: of clips with several labels, from which probability on they have each [classes]; None: 0.5.

    Returns:
        {"clip": M, "crop": M, "failures": n}, where M is what `classification_metrics` returns; of clips with several
        labels what `multi_label_metrics` returns.
    """

    def score(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
        if predictions.multi_label:
            limits = np.full(len(labels), 0.5) if thresholds is None else thresholds
            return multi_label_metrics(truth, probabilities, limits, labels)
        return classification_metrics(truth, probabilities.argmax(axis=1), labels)

    return {
        "clip": score(predictions.truth, predictions.probabilities),
        "crop": score(predictions.window_truth, predictions.window_probabilities),
        "failures": predictions.failures,
    }


def evaluate_run(run_dir: Path, settings: Settings, split: str, output_dir: Path) -> dict[str, Any]:
    """Evaluates a run's best model on one split and writes the result.

    Args:
        run_dir: directory of the trained run.
        settings: the run's own, or with another data set.
        split: one of the catalog's splits, or "all".
        output_dir: where `write_evaluation` writes, and failures.csv.

    Returns:
        The split's scores, as `score_split` returns them.

    Raises:
        ValueError: the run, the data set or its labels do not fit.
    """
    run, results = Run(run_dir), Run(output_dir)
    labels, model = run.labels, run.model()
    catalog, ledger = prepare(settings, () if split == "all" else (split,), needs_splits=split != "all")
    unknown = sorted(set(catalog.labels) - set(labels))
    if unknown:
        raise ValueError(
            f"expected labels that the model knows ({', '.join(labels)}), found {', '.join(unknown)}; choose with --genres"
        )
    catalog = dataclasses.replace(catalog, labels=labels)
    if run.baseline is not None and split != "test" and same_data(run.data, data_identity(catalog)):
        print(
            f"note: {settings.model} is fitted on training and validation, so that its scores of {split} clips are too good; those "
            f"of validation in {run_dir / 'metrics.json'} are from before"
        )
    with results.locked():
        results.write_left_out(catalog)
        try:
            predictions = predict_split(make_predict_function(model), catalog, split, settings, ledger)
        finally:
            results.write_failures(ledger, catalog)
            print(results.describe_failures(ledger, catalog) + results.describe_left_out(catalog))
        thresholds = run.thresholds if settings.multi_label else None
        return write_evaluation(results, {split: predictions}, labels, thresholds)[split]


def write_evaluation(
    run: Run,
    splits: dict[str, SplitPredictions],
    labels: tuple[str, ...],
    thresholds: np.ndarray | None = None,
) -> dict[str, dict[str, Any]]:
    """Writes predictions.csv, metrics.json, and the last split's confusion_matrix.png, or of several labels label_scores.png.

    The picture comes last, and pictures of an earlier evaluation are removed before anything is written.

    Args:
        run: in whose directory they are written.
        splits: predictions of each split.
        labels: names of the classes.
        thresholds: of clips with several labels, from which probability on they have each [classes].

    Returns:
        The contents of metrics.json: {split: {"clip": M, "crop": M, "failures": n}}.
    """
    for name in _PICTURES:
        with contextlib.suppress(OSError):  # what stands in the way of a picture costs only the picture, below
            run.path(name).unlink(missing_ok=True)
    tables = []
    for predictions in splits.values():
        table = predictions.tracks[["track_id", "path", "split", "label"]].reset_index(drop=True)
        table["predicted"] = predictions.predicted(labels, thresholds)
        columns = [f"probability_{label}" for label in labels]
        tables.append(pd.concat([table, pd.DataFrame(predictions.probabilities, columns=columns)], axis=1))
    run.write_predictions(pd.concat(tables))
    metrics = {name: score_split(predictions, labels, thresholds) for name, predictions in splits.items()}
    run.write_metrics(metrics)
    shown, predictions = list(splits.items())[-1]
    path = run.path(_PICTURES[predictions.multi_label])
    with picture(path):
        if predictions.multi_label:
            title = f"{shown.capitalize()} clips (n = {len(predictions.truth)})"
            plot_label_scores(metrics[shown]["clip"], title, path)
        else:
            accuracy = metrics[shown]["clip"]["accuracy"]
            title = f"{shown.capitalize()} clips: accuracy {accuracy:.1%} (n = {len(predictions.truth)})"
            plot_confusion_matrix(predictions.truth, predictions.probabilities.argmax(axis=1), labels, title, path)
    return metrics


def format_metrics(split: str, metrics: dict[str, Any]) -> str:
    """Returns a table of one split's scores for the terminal; of many labels the best and the worst."""
    if "roc_auc" in metrics["clip"]:
        return format_multi_label_metrics(split, metrics)
    clip, crop = metrics["clip"], metrics["crop"]
    shown, left_out = shown_rows(clip["per_class"], "f1")
    width = max(9, *(len(label) for label in shown))
    low, high = clip["ci95"]
    lines = [
        f"{split}: accuracy {clip['accuracy']:.3f} by clip (95 % interval {low:.3f}-{high:.3f}, n = {clip['n']}), "
        f"{crop['accuracy']:.3f} by crop (n = {crop['n']}); balanced {clip['balanced_accuracy']:.3f}; "
        f"undecodable clips: {metrics['failures']}",
        f"  {'by clip':{width}} precision  recall      f1     n",
    ]
    for label, scores in shown.items():
        lines.append(
            f"  {label:{width}} {scores['precision']:9.3f} {scores['recall']:7.3f} {scores['f1']:7.3f} {scores['n']:5d}"
        )
    return "\n".join([*lines, *left_out])
