"""Scores of a model on clips: crops averaged by clip, predictions and metrics written as files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

import layers  # noqa: F401 - registers the classes that saved models consist of
from experiments.builders.data import FAILURES_FILE, describe_failures, prepare, write_failures
from experiments.console import progress
from experiments.evaluation.metrics import classification_metrics, mean_by_clip
from experiments.evaluation.multi_label import format_multi_label_metrics, multi_label_metrics, read_thresholds
from experiments.figures import plot_confusion_matrix, plot_label_scores
from experiments.runs.run import MODEL_FILE, read_data
from experiments.settings import Settings
from pipeline.catalogs.catalog import Catalog, join_labels
from pipeline.dataset import eval_dataset, iterate
from pipeline.failures import FailureLedger
from pipeline.storage.atomic import write_text, written_whole


@dataclasses.dataclass(frozen=True)
class SplitPredictions:
    """What a model says of the clips of one split.

    Attributes:
        tracks: the catalog rows of the decodable clips [clips].
        truth: their class indices [clips]; of clips with several labels 1 for each and 0 for the others [clips, classes].
        probabilities: the mean over each clip's crops [clips, classes].
        crop_truth: the same of each crop [crops] or [crops, classes].
        crop_probabilities: [crops, classes].
        failures: number of clips that were left out because they, or a part of them, could not be decoded.
    """

    tracks: pd.DataFrame
    truth: np.ndarray
    probabilities: np.ndarray
    crop_truth: np.ndarray
    crop_probabilities: np.ndarray
    failures: int

    @property
    def multi_label(self) -> bool:
        """Whether clips may have several labels."""
        return self.truth.ndim == 2

    @property
    def crop_loss(self) -> float:
        """Mean cross-entropy of the crops in nats; of several labels the mean over them."""
        if self.multi_label:
            chosen = np.where(self.crop_truth, self.crop_probabilities, 1 - self.crop_probabilities)
        else:
            chosen = self.crop_probabilities[np.arange(len(self.crop_truth)), self.crop_truth]
        return float(-np.log(np.maximum(chosen, keras.config.epsilon())).mean())

    @property
    def crop_accuracy(self) -> float:
        """Share of crops whose most probable class is the true one; of several labels the share beyond 0.5 as it should."""
        if self.multi_label:
            return float(((self.crop_probabilities > 0.5) == self.crop_truth).mean())
        return float((self.crop_probabilities.argmax(axis=1) == self.crop_truth).mean())

    def metrics(self, labels: tuple[str, ...], thresholds: np.ndarray | None = None) -> dict[str, Any]:
        """The scores {"clip": M, "crop": M, "failures": n}.

        M is as `classification_metrics` returns it; of several labels as `multi_label_metrics` does, which are given
        from these thresholds [classes] on, or from 0.5.
        """

        def score(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
            if self.multi_label:
                limits = np.full(len(labels), 0.5) if thresholds is None else thresholds
                return multi_label_metrics(truth, probabilities, limits, labels)
            return classification_metrics(truth, probabilities.argmax(axis=1), labels)

        return {
            "clip": score(self.truth, self.probabilities),
            "crop": score(self.crop_truth, self.crop_probabilities),
            "failures": self.failures,
        }

    def predicted(self, labels: tuple[str, ...], thresholds: np.ndarray | None) -> list[str]:
        """The label that each clip is given; of several all, in one text that may be empty."""
        if thresholds is None:
            return [labels[i] for i in self.probabilities.argmax(axis=1)]
        return [join_labels(labels[i] for i in np.flatnonzero(row >= thresholds)) for row in self.probabilities]


def make_predict_function(model: keras.Model, jit_compile: bool = False) -> tf.types.experimental.GenericFunction:
    """Compiles a model's inference once, for waveforms float32 [batch, samples] of any size."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)], jit_compile=jit_compile)
    def predict(waveform: tf.Tensor) -> tf.Tensor:
        return model(waveform, training=False)

    return predict


def predict_split(
    predict: tf.types.experimental.GenericFunction,
    catalog: Catalog,
    split: str,
    settings: Settings,
    ledger: FailureLedger,
) -> SplitPredictions:
    """Runs a model over every clip of a split.

    Args:
        predict: from `make_predict_function`.
        catalog: whose labels are in the model's class order.
        split: one of the catalog's splits, or "all".
        settings: of the model's training: rate, crop and batch size.
        ledger: where undecodable files are recorded.

    Raises:
        FailureBudgetError: too many files failed.
        ValueError: no clip could be decoded.
    """
    tracks = catalog.split(split)
    paths = tracks["path"].tolist()
    crop_rows, crop_probabilities = predict_crops(predict, paths, settings, ledger, f"{split} clips")
    truth = catalog.targets(tracks)
    clips, probabilities = mean_by_clip(crop_probabilities, crop_rows)
    return SplitPredictions(
        tracks=tracks.iloc[clips],
        truth=truth[clips],
        probabilities=probabilities,
        crop_truth=truth[crop_rows],
        crop_probabilities=crop_probabilities,
        failures=len(tracks) - len(clips),
    )


def predict_crops(
    predict: Callable[[tf.Tensor], tf.Tensor],
    paths: Sequence[str],
    settings: Settings,
    ledger: FailureLedger,
    description: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Runs a function of waveforms over the crops that evaluation takes of each file.

    Args:
        predict: from waveforms float32 [batch, samples] to anything of a fixed shape [batch, ...].
        paths: audio files.
        settings: of the model's training: rate, crop and batch size.
        ledger: where undecodable files are recorded.
        description: what the files are, for the progress bar and the message.

    Returns:
        The place in `paths` of each crop's file, ascending [crops], and what the function says of it [crops, ...].
        A file of which any crop could not be decoded has none.

    Raises:
        FailureBudgetError: too many files failed.
        ValueError: no file could be decoded.
    """
    dataset = eval_dataset(
        paths,
        ledger,
        sample_rate_hz=settings.sample_rate_hz,
        crop_seconds=settings.crop_seconds,
        batch_size=settings.batch_size,
        decoder=settings.decoder,
        decode_workers=settings.decode_workers or None,
    )
    batches, rows = [], []
    with progress(None, len(paths), description, leave=False) as bar:
        for waveform, row in iterate(dataset, ledger):
            batches.append(predict(waveform).numpy())
            rows.append(row.numpy())
            bar.update(int(rows[-1][-1]) + 1 - bar.n)
    failed = set(ledger.failures)
    readable = np.array([path not in failed for path in paths])
    if not readable.any():
        raise ValueError(f"expected decodable {description}, found none of {len(paths)}; see the failures")
    crop_rows, crops = np.concatenate(rows), np.concatenate(batches)
    whole = readable[crop_rows]
    return crop_rows[whole], crops[whole]


def evaluate_run(run_dir: Path, settings: Settings, split: str, output_dir: Path) -> dict[str, Any]:
    """Evaluates a run's best model on one split and writes the result.

    Args:
        run_dir: of the trained model.
        settings: the run's own, or with another data set.
        split: one of the catalog's splits, or "all".
        output_dir: where `write_evaluation` writes, and failures.csv.

    Returns:
        The split's scores, as `SplitPredictions.metrics` returns them.

    Raises:
        ValueError: the run, the data set or its labels do not fit.
    """
    labels = tuple(read_data(run_dir)["labels"])
    model = load_model(run_dir)
    catalog, ledger = prepare(settings, () if split == "all" else (split,))
    unknown = sorted(set(catalog.labels) - set(labels))
    if unknown:
        raise ValueError(
            f"expected labels that the model knows ({', '.join(labels)}), found {', '.join(unknown)}; choose with --genres"
        )
    catalog = dataclasses.replace(catalog, labels=labels)
    output_dir.mkdir(parents=True, exist_ok=True)
    try:
        predictions = predict_split(make_predict_function(model), catalog, split, settings, ledger)
    finally:
        write_failures(output_dir / FAILURES_FILE, ledger, catalog)
        print(describe_failures(output_dir / FAILURES_FILE, ledger, catalog))
    thresholds = read_thresholds(run_dir, labels) if settings.multi_label else None
    return write_evaluation(output_dir, {split: predictions}, labels, thresholds)[split]


def write_evaluation(
    output_dir: Path,
    splits: dict[str, SplitPredictions],
    labels: tuple[str, ...],
    thresholds: np.ndarray | None = None,
) -> dict[str, dict[str, Any]]:
    """Writes predictions.csv, metrics.json, and the last split's confusion_matrix.png, or of several labels label_scores.png.

    predictions.csv has the columns track_id, path, split, label, predicted, and `probability_<label>` for each class.
    Texts stand in it as they are in the data: one that begins with = is a formula to a spreadsheet, unless imported as text.

    Args:
        output_dir: where to.
        splits: predictions of each split.
        labels: names of the classes.
        thresholds: of clips with several labels, from which probability on they have each [classes].

    Returns:
        The contents of metrics.json: {split: {"clip": M, "crop": M, "failures": n}}.
    """
    tables = []
    for predictions in splits.values():
        table = predictions.tracks[["track_id", "path", "split", "label"]].reset_index(drop=True)
        table["predicted"] = predictions.predicted(labels, thresholds)
        for i, label in enumerate(labels):
            table[f"probability_{label}"] = predictions.probabilities[:, i]
        tables.append(table)
    with written_whole(output_dir / "predictions.csv") as temporary:
        # File names need not be text.
        pd.concat(tables).to_csv(temporary, index=False, float_format="%.9g", errors="surrogateescape")
    metrics = {name: predictions.metrics(labels, thresholds) for name, predictions in splits.items()}
    shown, predictions = list(splits.items())[-1]
    if predictions.multi_label:
        title = f"{shown.capitalize()} clips (n = {len(predictions.truth)})"
        plot_label_scores(metrics[shown]["clip"], title, output_dir / "label_scores.png")
    else:
        accuracy = metrics[shown]["clip"]["accuracy"]
        plot_confusion_matrix(
            predictions.truth,
            predictions.probabilities.argmax(axis=1),
            labels,
            f"{shown.capitalize()} clips: accuracy {accuracy:.1%} (n = {len(predictions.truth)})",
            output_dir / "confusion_matrix.png",
        )
    write_text(output_dir / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return metrics


def format_metrics(split: str, metrics: dict[str, Any]) -> str:
    """A table of one split's scores for the terminal."""
    if "roc_auc" in metrics["clip"]:
        return format_multi_label_metrics(split, metrics)
    clip, crop = metrics["clip"], metrics["crop"]
    width = max(9, *(len(label) for label in clip["per_class"]))
    low, high = clip["ci95"]
    lines = [
        f"{split}: accuracy {clip['accuracy']:.3f} by clip (95 % interval {low:.3f}-{high:.3f}, n = {clip['n']}), "
        f"{crop['accuracy']:.3f} by crop (n = {crop['n']}); balanced {clip['balanced_accuracy']:.3f}; "
        f"undecodable clips: {metrics['failures']}",
        f"  {'by clip':{width}} precision  recall      f1     n",
    ]
    for label, scores in clip["per_class"].items():
        lines.append(
            f"  {label:{width}} {scores['precision']:9.3f} {scores['recall']:7.3f} {scores['f1']:7.3f} {scores['n']:5d}"
        )
    return "\n".join(lines)


def load_model(run_dir: Path) -> keras.Model:
    """Loads a run's best model.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    path = run_dir / MODEL_FILE
    if not path.is_file():
        raise ValueError(f"expected a trained model at {path}, found none; let the training finish an epoch first")
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"expected a Keras model at {path}, but it cannot be read: {error}") from error
