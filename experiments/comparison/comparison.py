"""The comparison of trained models, made from nothing but the files of their runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.metrics import f1_score

from experiments.comparison.plots import plot_comparison
from experiments.comparison.trials import Cell
from experiments.evaluation.evaluation import load_model, make_predict_function
from experiments.evaluation.latency import median_latency_ms
from experiments.evaluation.metrics import bootstrap_balanced_mean, classification_metrics
from experiments.runs.run import read_data
from experiments.training.baselines import BASELINE_FILE
from pipeline.catalogs.catalog import read_table
from pipeline.storage.atomic import written_whole

# Of a cell: the mean and the sample standard deviation over seeds of these stand in comparison.csv.
SCORES = (
    "test_balanced_accuracy",
    "test_macro_f1",
    "test_accuracy",
    "validation_loss",
    "validation_accuracy",
    "training_seconds",
)


def write_comparison(cells: Sequence[Cell], failed: dict[Cell, str], output_dir: Path) -> pd.DataFrame:
    """Reads the finished cells and writes cells.csv, comparison.csv and comparison.png.

    Every score is computed from predictions.csv, by clip. A clip that some cell could not decode does not count for
    any. Intervals resample the test clips of each class, the hits averaged over seeds; differences to the first model
    are paired. Parameters and latency are those of each model's first finished cell.

    Args:
        cells: of every model, in the order of the table.
        failed: why cells have no result; the others must be finished.
        output_dir: where to write.

    Returns:
        comparison.csv: one row a model.

    Raises:
        ValueError: no cell is finished, or a file cannot be read.
    """
    finished = [cell for cell in cells if cell not in failed]
    if not finished:
        raise ValueError("expected at least one finished run to compare, found none; see why they failed above")
    labels = tuple(read_data(finished[0].run_dir)["labels"])
    predictions = _on_common_clips({cell: _read_predictions(cell.run_dir, labels) for cell in finished})
    rows = [
        {"model": cell.model, "seed": cell.settings.seed, "run_dir": str(cell.run_dir)}
        | (_scores(cell.run_dir, predictions[cell], labels) if cell in predictions else {"error": failed[cell]})
        for cell in cells
    ]
    cell_table = pd.DataFrame(rows).reindex(
        columns=["model", "seed", *SCORES, "test_clips", "epochs", "best_epoch", "run_dir", "error"]
    )
    _write_csv(
        cell_table.astype({"epochs": "Int64", "best_epoch": "Int64", "test_clips": "Int64"}), output_dir, "cells"
    )
    first_of = {cell.model: cell for cell in reversed(finished)}
    models = [model for model in dict.fromkeys(cell.model for cell in cells) if model in first_of]
    hits = {
        model: np.mean([_test_hits(predictions[cell]) for cell in finished if cell.model == model], axis=0)
        for model in models
    }
    truth = predictions[finished[0]].query("split == 'test'")["truth"].to_numpy()
    table = pd.DataFrame(
        [
            {"model": model}
            | _over_seeds(cell_table[(cell_table["model"] == model) & cell_table["error"].isna()])
            | _intervals(hits[model], hits.get(cells[0].model) if model != cells[0].model else None, truth)
            | _size_and_latency(first_of[model])
            for model in models
        ]
    )
    _write_csv(table, output_dir, "comparison")
    plot_comparison(table, cell_table, len(truth), len(labels), output_dir / "comparison.png")
    return table


def format_comparison(table: pd.DataFrame) -> str:
    """comparison.csv as a table for the terminal."""
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


def _read_predictions(run_dir: Path, labels: tuple[str, ...]) -> pd.DataFrame:
    """predictions.csv with truth and predicted as class indices, and the probability of the true label."""
    names = [f"probability_{label}" for label in labels]
    table = read_table(run_dir / "predictions.csv", ("track_id", "path", "split", "label", "predicted", *names))
    index = {label: i for i, label in enumerate(labels)}
    truth = table["label"].map(index).to_numpy()
    return table[["track_id", "path", "split"]].assign(
        truth=truth,
        predicted=table["predicted"].map(index).to_numpy(),
        probability=table[names].to_numpy(float)[np.arange(len(table)), truth],
    )


def _on_common_clips(predictions: dict[Cell, pd.DataFrame]) -> dict[Cell, pd.DataFrame]:
    """The same clips in the same order for all cells."""
    keys = {cell: pd.MultiIndex.from_frame(table[["split", "track_id", "path"]]) for cell, table in predictions.items()}
    first, *others = keys.values()
    common = first[np.logical_and.reduce([first.isin(other) for other in others])] if others else first
    lost = max(len(key) for key in keys.values()) - len(common)
    if lost:
        print(f"note: {lost} clips that some run could not decode are left out of the comparison")
    return {cell: table[keys[cell].isin(common)].reset_index(drop=True) for cell, table in predictions.items()}


def _test_hits(table: pd.DataFrame) -> np.ndarray:
    test = table[table["split"] == "test"]
    return (test["truth"] == test["predicted"]).to_numpy(float)


def _scores(run_dir: Path, table: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, Any]:
    """A cell's row of scores."""
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
    baseline = _read_baseline(run_dir)
    if baseline:
        return row | {"training_seconds": baseline["training_seconds"]}
    history = read_table(run_dir / "history.csv", ("val_loss", "seconds")).astype(float)
    return row | {
        "training_seconds": history["seconds"].sum(),
        "epochs": len(history),
        "best_epoch": int(history["val_loss"].argmin()) + 1,
    }


def _over_seeds(rows: pd.DataFrame) -> dict[str, Any]:
    """Mean and sample standard deviation of each score; of one seed there is no deviation."""
    result: dict[str, Any] = {"seeds": len(rows)}
    for name in SCORES:
        result |= {f"{name}_mean": rows[name].mean(), f"{name}_std": rows[name].std(ddof=1)}
    return result


def _intervals(hits: np.ndarray, reference: np.ndarray | None, truth: np.ndarray) -> dict[str, float]:
    """Interval of the balanced accuracy, and the difference to the first model's with its interval."""
    low, high = bootstrap_balanced_mean(hits, truth)
    row = {"test_balanced_accuracy_low": low, "test_balanced_accuracy_high": high}
    difference = difference_low = difference_high = np.nan
    if reference is not None:
        difference = pd.Series(hits - reference).groupby(truth).mean().mean()
        difference_low, difference_high = bootstrap_balanced_mean(hits - reference, truth)
    return row | {"difference": difference, "difference_low": difference_low, "difference_high": difference_high}


def _size_and_latency(cell: Cell) -> dict[str, Any]:
    baseline = _read_baseline(cell.run_dir)
    if baseline:
        return {name: baseline[name] for name in ("parameters", "latency_ms")}
    with tf.device("CPU"):
        model = load_model(cell.run_dir)
        predict = make_predict_function(model)
        latency_ms = median_latency_ms(lambda waveform: predict(waveform).numpy(), cell.settings.sample_rate_hz)
    return {"parameters": model.count_params(), "latency_ms": latency_ms}


def _read_baseline(run_dir: Path) -> dict[str, Any] | None:
    path = run_dir / BASELINE_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _write_csv(table: pd.DataFrame, output_dir: Path, name: str) -> None:
    with written_whole(output_dir / f"{name}.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")
