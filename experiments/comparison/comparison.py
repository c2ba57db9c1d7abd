"""The comparison of trained models, made from nothing but the files of their runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.metrics import f1_score

from experiments.comparison.plots import plot_comparison
from experiments.comparison.trials import Trial
from experiments.evaluation.latency import median_latency_ms
from experiments.evaluation.metrics import bootstrap_balanced_mean, classification_metrics
from experiments.evaluation.splits import make_predict_function
from experiments.figures import picture
from experiments.runs.run import Run
from pipeline.storage.atomic import atomic_write

# The scores of a trial whose mean and sample standard deviation over seeds are columns of comparison.csv.
SCORES = (
    "test_balanced_accuracy",
    "test_macro_f1",
    "test_accuracy",
    "validation_loss",
    "validation_accuracy",
    "training_seconds",
)


def write_comparison(trials: Sequence[Trial], failed: dict[Trial, str], output_dir: Path) -> pd.DataFrame:
    """Reads the finished trials and writes cells.csv, comparison.csv and comparison.png.

    Every score is computed from predictions.csv, by clip. A clip that some trial could not decode does not count for
    any. Intervals resample the test clips of each class, the hits averaged over seeds; differences to the first model
    are paired. Parameters and latency are those of each model's first finished trial.

    Args:
        trials: of every model, in the order of the table.
        failed: why trials have no result; the others must be finished.
        output_dir: where to write.

    Returns:
        comparison.csv: one row a model.

    Raises:
        ValueError: no trial is finished, or a file cannot be read.
    """
    finished = [trial for trial in trials if trial not in failed]
    if not finished:
        raise ValueError("expected at least one finished run to compare, found none; see why they failed above")
    labels = Run(finished[0].run_dir).labels
    predictions = _on_common_clips({trial: _read_predictions(Run(trial.run_dir), labels) for trial in finished})
    rows = [
        {"model": trial.model, "seed": trial.settings.seed, "run_dir": str(trial.run_dir)}
        | (
            _scores(Run(trial.run_dir), predictions[trial], labels)
            if trial in predictions
            else {"error": failed[trial]}
        )
        for trial in trials
    ]
    trial_table = pd.DataFrame(rows).reindex(
        columns=["model", "seed", *SCORES, "test_clips", "epochs", "best_epoch", "run_dir", "error"]
    )
    _write_csv(
        trial_table.astype({"epochs": "Int64", "best_epoch": "Int64", "test_clips": "Int64"}), output_dir, "cells"
    )
    first_of = {trial.model: trial for trial in reversed(finished)}
    models = [model for model in dict.fromkeys(trial.model for trial in trials) if model in first_of]
    hits = {
        model: np.mean([_test_hits(predictions[trial]) for trial in finished if trial.model == model], axis=0)
        for model in models
    }
    truth = predictions[finished[0]].query("split == 'test'")["truth"].to_numpy()
    table = pd.DataFrame(
        [
            {"model": model}
            | _over_seeds(trial_table[(trial_table["model"] == model) & trial_table["error"].isna()])
            | _intervals(hits[model], hits.get(trials[0].model) if model != trials[0].model else None, truth)
            | _size_and_latency(first_of[model])
            for model in models
        ]
    )
    _write_csv(table, output_dir, "comparison")
    with picture(output_dir / "comparison.png"):
        plot_comparison(table, trial_table, len(truth), len(labels), output_dir / "comparison.png")
    return table


def format_comparison(table: pd.DataFrame) -> str:
    """Returns comparison.csv as a table for the terminal."""
    width = max(5, *(len(model) for model in table["model"]))
    lines = [
        f"{'model':{width}} seeds  balanced accuracy (95 % interval)   macro-F1  difference (95 % interval)  "
        "parameters  training  latency"
    ]
    for row in table.to_dict("records"):
        spread = "" if np.isnan(row["test_balanced_accuracy_std"]) else f"± {row['test_balanced_accuracy_std']:.3f}"
        interval = f"({row['test_balanced_accuracy_low']:.3f}–{row['test_balanced_accuracy_high']:.3f})"
        difference = (
            ""
            if np.isnan(row["difference"])
            else f"{row['difference']:+.3f} ({row['difference_low']:+.3f} … {row['difference_high']:+.3f})"
        )
        lines.append(
            f"{row['model']:{width}} {row['seeds']:5d}  {row['test_balanced_accuracy_mean']:.3f} {spread:7} "
            f"{interval:20} {row['test_macro_f1_mean']:9.3f}  {difference:26}  {row['parameters']:10,d} "
            f"{row['training_seconds_mean']:7.0f} s {row['latency_ms']:5.1f} ms"
        )
    return "\n".join(lines)


def _read_predictions(run: Run, labels: tuple[str, ...]) -> pd.DataFrame:
    """predictions.csv with truth and predicted as class indices, and the probability of the true label."""
    names = [f"probability_{label}" for label in labels]
    table = run.predictions(("track_id", "path", "split", "label", "predicted", *names))
    index = {label: i for i, label in enumerate(labels)}
    truth = table["label"].map(index).to_numpy()
    return table[["track_id", "path", "split"]].assign(
        truth=truth,
        predicted=table["predicted"].map(index).to_numpy(),
        probability=table[names].to_numpy(float)[np.arange(len(table)), truth],
    )


def _on_common_clips(predictions: dict[Trial, pd.DataFrame]) -> dict[Trial, pd.DataFrame]:
    """Keeps the clips that all trials have, in the same order for each."""
    keys = {
        trial: pd.MultiIndex.from_frame(table[["split", "track_id", "path"]]) for trial, table in predictions.items()
    }
    first, *others = keys.values()
    common = first[np.all([first.isin(other) for other in others], axis=0)] if others else first
    lost = max(len(key) for key in keys.values()) - len(common)
    if lost:
        print(f"note: {lost} clips that some run could not decode are left out of the comparison")
    return {trial: table[keys[trial].isin(common)].reset_index(drop=True) for trial, table in predictions.items()}


def _test_hits(table: pd.DataFrame) -> np.ndarray:
    test = table[table["split"] == "test"]
    return (test["truth"] == test["predicted"]).to_numpy(float)


def _scores(run: Run, table: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, Any]:
    """Computes the scores of one trial."""
    test, validation = (table[table["split"] == split] for split in ("test", "validation"))
    scores = classification_metrics(test["truth"].to_numpy(), test["predicted"].to_numpy(), labels)
    row = {
        "test_balanced_accuracy": scores["balanced_accuracy"],
        "test_macro_f1": f1_score(test["truth"], test["predicted"], average="macro", zero_division=0),
        "test_accuracy": scores["accuracy"],
        "validation_loss": float(-np.log(np.maximum(validation["probability"], 1e-7)).mean()),
        "validation_accuracy": float((validation["truth"] == validation["predicted"]).mean()),
        "test_clips": len(test),
    }
    if baseline := run.baseline:
        return row | {"training_seconds": baseline["training_seconds"]}
    history = run.history
    return row | {
        "training_seconds": history["seconds"].sum(),
        "epochs": len(history),
        "best_epoch": int(history["val_loss"].argmin()) + 1,
    }


def _over_seeds(rows: pd.DataFrame) -> dict[str, Any]:
    """Computes the mean and the sample standard deviation of each score; a single seed has no deviation."""
    result: dict[str, Any] = {"seeds": len(rows)}
    for name in SCORES:
        result |= {f"{name}_mean": rows[name].mean(), f"{name}_std": rows[name].std(ddof=1)}
    return result


def _intervals(hits: np.ndarray, reference: np.ndarray | None, truth: np.ndarray) -> dict[str, float]:
    """Computes the interval of the balanced accuracy, and the difference to the first model's with its interval."""
    low, high = bootstrap_balanced_mean(hits, truth)
    row = {"test_balanced_accuracy_low": low, "test_balanced_accuracy_high": high}
    difference = difference_low = difference_high = np.nan
    if reference is not None:
        difference = pd.Series(hits - reference).groupby(truth).mean().mean()
        difference_low, difference_high = bootstrap_balanced_mean(hits - reference, truth)
    return row | {"difference": difference, "difference_low": difference_low, "difference_high": difference_high}


def _size_and_latency(trial: Trial) -> dict[str, Any]:
    run = Run(trial.run_dir)
    if baseline := run.baseline:
        return {name: baseline[name] for name in ("parameters", "latency_ms")}
    with tf.device("CPU"):
        model = run.model()
        predict = make_predict_function(model)
        latency_ms = median_latency_ms(lambda waveform: predict(waveform).numpy(), trial.settings.sample_rate_hz)
    return {"parameters": model.count_params(), "latency_ms": latency_ms}


def _write_csv(table: pd.DataFrame, output_dir: Path, name: str) -> None:
    with atomic_write(output_dir / f"{name}.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g", errors="surrogateescape")
