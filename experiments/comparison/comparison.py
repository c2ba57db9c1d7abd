"""The comparison of trained models, made from nothing but the files of their runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.metrics import f1_score

from experiments.comparison.out_of_fold import artists_of, pool_predictions
from experiments.comparison.plots import draw_comparison
from experiments.comparison.trials import Trial
from experiments.evaluation.artist_bootstrap import bootstrap_balanced_mean_over_artists
from experiments.evaluation.latency import median_latency_ms
from experiments.evaluation.metrics import bootstrap_balanced_mean, classification_metrics
from experiments.evaluation.splits import make_predict_function
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

    Of trials on folds, the test clips of all folds of a seed are scored together, and intervals resample artists instead
    of clips; out_of_fold.csv and confusion_<model>.png (of the first seed) are written too. A seed of which a fold failed
    has no score; the column `error` says so.

    Args:
        trials: of every model, in the order of the table.
        failed: why trials have no result; the others must be finished.
        output_dir: where to write.

    Returns:
        comparison.csv: one row a model.

    Raises:
        ValueError: no trial is finished (with folds: no seed of a model in all of them), or a file cannot be read.
    """
    finished = [trial for trial in trials if trial not in failed]
    series = _complete_series(trials, failed)
    if not series:
        in_all = "" if trials[0].fold is None else ", with all of its folds,"
        raise ValueError(
            f"expected at least one finished run{in_all} to compare, found none; see why they failed above"
        )
    labels = Run(finished[0].run_dir).labels
    predictions = _on_common_clips({trial: _read_predictions(trial, labels) for trial in finished}, series)
    rows = [
        {"model": trial.model, "seed": trial.settings.seed, "fold": trial.fold, "run_dir": str(trial.run_dir)}
        | (
            _scores(predictions[trial], labels) | _training(Run(trial.run_dir))
            if trial in predictions
            else {"error": failed[trial]}
        )
        for trial in trials
    ]
    trial_table = pd.DataFrame(rows).reindex(
        columns=["model", "seed", "fold", *SCORES, "test_clips", "epochs", "best_epoch", "run_dir", "error"]
    )
    whole = dict.fromkeys(("fold", "epochs", "best_epoch", "test_clips"), "Int64")
    by_fold = trials[0].fold is not None
    _write_csv(trial_table.astype(whole).drop(columns=[] if by_fold else "fold"), output_dir, "cells")

    pooled = {key: pd.concat([predictions[trial] for trial in own]) for key, own in series.items()}
    seed_table = pd.DataFrame(
        [
            {"model": model, "seed": seed}
            | _scores(pooled[model, seed], labels)
            | {"training_seconds": sum(_training(Run(trial.run_dir))["training_seconds"] for trial in own)}
            for (model, seed), own in series.items()
        ]
    )
    tests = {key: table[table["split"] == "test"] for key, table in pooled.items()}
    first_test = next(iter(tests.values()))
    truth = first_test["truth"].to_numpy()
    artists = artists_of(first_test, trials[0]) if by_fold else None
    models = [model for model in dict.fromkeys(trial.model for trial in trials) if model in set(seed_table["model"])]
    hits = {model: np.mean([_hits(tests[key]) for key in tests if key[0] == model], axis=0) for model in models}
    table = pd.DataFrame(
        [
            {"model": model}
            | _over_seeds(seed_table[seed_table["model"] == model])
            | _intervals(hits[model], hits.get(trials[0].model) if model != trials[0].model else None, truth, artists)
            | _size_and_latency(next(own[0] for key, own in series.items() if key[0] == model))
            for model in models
        ]
    )
    if artists is not None:
        table = _with_folds(table, trials, failed, len(np.unique(artists)))
        complete = [trial for own in series.values() for trial in own]
        _write_csv(pool_predictions(complete), output_dir, "out_of_fold")
    _write_csv(table, output_dir, "comparison")
    draw_comparison(table, seed_table, tests, labels, artists, output_dir)
    return table


def format_comparison(table: pd.DataFrame) -> str:
    """Returns comparison.csv as a table for the terminal."""
    width = max(5, *(len(model) for model in table["model"]))
    lines = [
        f"{'model':{width}} seeds  balanced accuracy (95 % interval)   macro-F1  difference (95 % interval)  "
        "parameters  training  latency"
    ]
    for row in table.to_dict("records"):
        if not row["seeds"]:
            lines.append(f"{row['model']:{width}} {row['seeds']:5d}  {row['error']}")
            continue
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


def _complete_series(trials: Sequence[Trial], failed: dict[Trial, str]) -> dict[tuple[str, int], list[Trial]]:
    """The trials that make one score together, by model and seed: one, or one a fold, none of which has failed."""
    series: dict[tuple[str, int], list[Trial]] = {}
    for trial in trials:
        series.setdefault((trial.model, trial.settings.seed), []).append(trial)
    return {key: own for key, own in series.items() if not any(trial in failed for trial in own)}


def _read_predictions(trial: Trial, labels: tuple[str, ...]) -> pd.DataFrame:
    """predictions.csv with truth and predicted as class indices, the probability of the true label, and the trial's fold."""
    names = [f"probability_{label}" for label in labels]
    table = Run(trial.run_dir).predictions(("track_id", "path", "split", "label", "predicted", *names))
    index = {label: i for i, label in enumerate(labels)}
    truth = table["label"].map(index).to_numpy()
    return table[["track_id", "path", "split", "label"]].assign(
        fold=-1 if trial.fold is None else trial.fold,
        truth=truth,
        predicted=table["predicted"].map(index).to_numpy(),
        probability=table[names].to_numpy(float)[np.arange(len(table)), truth],
    )


def _on_common_clips(
    predictions: dict[Trial, pd.DataFrame], series: dict[tuple[str, int], list[Trial]]
) -> dict[Trial, pd.DataFrame]:
    """Keeps the clips that all series have (in the same fold), in the same order for each."""
    columns = ["split", "fold", "track_id", "path"]
    keys = [
        pd.MultiIndex.from_frame(pd.concat([predictions[trial] for trial in own])[columns]) for own in series.values()
    ]
    first, *others = keys
    common = first[np.all([first.isin(other) for other in others], axis=0)] if others else first
    lost = max(len(key) for key in keys) - len(common)
    if lost:
        print(f"note: {lost} clips that some run could not decode are left out of the comparison")
    return {
        trial: table[pd.MultiIndex.from_frame(table[columns]).isin(common)].sort_values(columns, ignore_index=True)
        for trial, table in predictions.items()
    }


def _hits(test: pd.DataFrame) -> np.ndarray:
    return (test["truth"] == test["predicted"]).to_numpy(float)


def _scores(table: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, Any]:
    """Computes the scores of the predictions of a trial, or of a series."""
    test, validation = (table[table["split"] == split] for split in ("test", "validation"))
    scores = classification_metrics(test["truth"].to_numpy(), test["predicted"].to_numpy(), labels)
    return {
        "test_balanced_accuracy": scores["balanced_accuracy"],
        "test_macro_f1": f1_score(test["truth"], test["predicted"], average="macro", zero_division=0),
        "test_accuracy": scores["accuracy"],
        "validation_loss": float(-np.log(np.maximum(validation["probability"], 1e-7)).mean()),
        "validation_accuracy": float((validation["truth"] == validation["predicted"]).mean()),
        "test_clips": len(test),
    }


def _training(run: Run) -> dict[str, Any]:
    """How long a run has trained, and of a network which epoch was the best."""
    if baseline := run.baseline:
        return {"training_seconds": baseline["training_seconds"]}
    history = run.history
    return {
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


def _intervals(
    hits: np.ndarray, reference: np.ndarray | None, truth: np.ndarray, artists: np.ndarray | None
) -> dict[str, float]:
    """Computes the interval of the balanced accuracy, and the difference to the first model's with its interval."""

    def bootstrap(values: np.ndarray) -> tuple[float, float]:
        if artists is None:
            return bootstrap_balanced_mean(values, truth)
        return bootstrap_balanced_mean_over_artists(values, truth, artists)

    low, high = bootstrap(hits)
    row = {"test_balanced_accuracy_low": low, "test_balanced_accuracy_high": high}
    difference = difference_low = difference_high = np.nan
    if reference is not None:
        difference = pd.Series(hits - reference).groupby(truth).mean().mean()
        difference_low, difference_high = bootstrap(hits - reference)
    return row | {"difference": difference, "difference_low": difference_low, "difference_high": difference_high}


def _with_folds(table: pd.DataFrame, trials: Sequence[Trial], failed: dict[Trial, str], artists: int) -> pd.DataFrame:
    """Adds the columns folds, artists and error, and a row for each model that has no score."""
    errors: dict[str, list[str]] = {}
    for trial in trials:
        if trial in failed:
            errors.setdefault(trial.model, []).append(f"seed {trial.settings.seed} fold {trial.fold}")
    order = list(dict.fromkeys(trial.model for trial in trials))
    table = table.set_index("model").reindex(order).rename_axis("model").reset_index()
    folds = len({trial.fold for trial in trials})
    error = [
        f"no pooled score, because runs failed (see cells.csv): {', '.join(errors[model])}" if model in errors else None
        for model in order
    ]
    table = table.assign(seeds=table["seeds"].fillna(0).astype(int), parameters=table["parameters"].astype("Int64"))
    return table.assign(folds=folds, artists=artists, error=pd.Series(error, dtype=object))


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
