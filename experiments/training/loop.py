"""The training of a run: epochs on streamed MP3s until it stops; then the best epoch is evaluated and written."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import keras
import tensorflow as tf

from experiments.builders.augmentation import batch_augmentation
from experiments.builders.data import prepare
from experiments.builders.freezing import check_transfer
from experiments.builders.model import build_model
from experiments.builders.objective import balance_weights
from experiments.builders.training_data import check_data_service, check_decode_on_device
from experiments.evaluation.evaluation import score_split, write_evaluation
from experiments.evaluation.multi_label import best_thresholds
from experiments.evaluation.splits import SplitPredictions, make_predict_function, predict_split
from experiments.figures import picture
from experiments.runs.identity import data_identity
from experiments.runs.run import Run
from experiments.settings import FREE_FIELDS, Settings
from experiments.training.checkpoint import EpochSums, TrainingState, restore_checkpoint, save_checkpoint
from experiments.training.epoch import diverged, train_epoch
from experiments.training.hosts import Cluster, joined_hosts, share_failures
from experiments.training.plots import plot_curves
from experiments.training.step import make_train_step, set_up_tensorflow
from layers.networks.registry import get_network
from pipeline.catalogs.catalog import Catalog
from pipeline.failures import FailureLedger


def train(settings: Settings, output_dir: str | Path) -> dict:
    """Trains, or continues training, and evaluates the best epoch on validation and test.

    Under TF_CONFIG every host calls this with the same settings and the same, shared directory, which the chief alone
    writes; on one host with several GPUs each has a copy of the model. `batch_size` is that of all together.

    Args:
        settings: of the run.
        output_dir: run directory; an interrupted run in it is continued, a finished one only evaluated again, unless more
            epochs are asked for. No setting depends on their number, so it then is what it would have been with so many
            from the beginning.

    Returns:
        The contents of metrics.json.

    Raises:
        ValueError: settings, data or an existing run do not fit; the message says how to mend it.
    """
    set_up_tensorflow(settings)
    with joined_hosts(settings.replicas) as cluster:
        return _train(settings, Run(output_dir), cluster)


def _train(settings: Settings, run: Run, cluster: Cluster) -> dict:
    _check(settings, cluster)
    catalog, ledger = prepare(settings)
    with cluster.strategy.scope():
        model = build_model(settings, len(catalog.labels))
    cluster.synchronise_batch_norm(model)
    check_data_service(settings)
    shared = {name: value for name, value in dataclasses.asdict(settings).items() if name not in FREE_FIELDS}
    cluster.check_alike(
        "settings and data", json.dumps([shared, data_identity(catalog)]), "start the same command on every host"
    )
    with _begun(run, settings, catalog, cluster):
        return _train_locked(model, catalog, settings, ledger, run, cluster)


@contextmanager
def _begun(run: Run, settings: Settings, catalog: Catalog, cluster: Cluster) -> Iterator[None]:
    """Begins or continues a run, whose directory the first host alone locks and writes; what it finds there stops them all."""
    with ExitStack() as stack:
        problem = ""
        if cluster.is_chief:
            try:
                stack.enter_context(run.locked())
                run.begin(settings, catalog)
            except (ValueError, OSError) as error:
                if cluster.count == 1:
                    raise
                problem = str(error)
        if problem := cluster.from_chief(problem):
            raise ValueError(problem)
        yield


def _train_locked(
    model: keras.Model, catalog: Catalog, settings: Settings, ledger: FailureLedger, run: Run, cluster: Cluster
) -> dict:
    run.restore_failures(ledger, catalog.tracks["path"])
    try:
        state = _fit(model, catalog, settings, ledger, run, cluster)
        model.set_weights(state.best_weights)
        if cluster.is_chief:  # once more: a run killed right after its last checkpoint has not written them
            run.write_model(model)
            _write_history(run, state)
        predict = make_predict_function(model, settings.jit_compile)
        splits = {name: predict_split(predict, catalog, name, settings, ledger) for name in ("validation", "test")}
        thresholds = None
        if catalog.multi_label:
            thresholds = best_thresholds(splits["validation"].truth, splits["validation"].probabilities)
        if not cluster.is_chief:
            return {name: score_split(predictions, catalog.labels, thresholds) for name, predictions in splits.items()}
        if thresholds is not None:
            run.write_thresholds(catalog.labels, thresholds)
        return write_evaluation(run, splits, catalog.labels, thresholds)
    finally:
        if cluster.is_chief:
            run.write_failures(ledger, catalog)
        print(run.describe_failures(ledger, catalog) + run.describe_left_out(catalog))


def _check(settings: Settings, cluster: Cluster) -> None:
    """Refuses settings that do not fit together, or not the cluster, before anything is read or written."""
    get_network(settings.model)
    check_transfer(settings)
    batch_augmentation(settings)
    check_decode_on_device(settings)
    if settings.batch_size % cluster.replicas:
        raise ValueError(
            f"expected --batch_size as a multiple of the {cluster.replicas} copies of the model, received "
            f"{settings.batch_size}"
        )
    if settings.jit_compile and cluster.replicas > 1:
        raise ValueError("expected one GPU with --jit_compile, received several; leave it out")


def _fit(
    model: keras.Model, catalog: Catalog, settings: Settings, ledger: FailureLedger, run: Run, cluster: Cluster
) -> TrainingState:
    """Trains from the last checkpoint to the end; returns the state with the best weights."""
    state = restore_checkpoint(run.checkpoints, model)
    cluster.check_alike("the last checkpoint", state.place, "--output_dir must be a directory that all hosts share")
    cluster.spread_seeds(model)
    if state.history or state.epoch_sums.steps:
        print(f"continuing {run.directory} after {state.place}")
    schedule = _schedule(model, settings, state.history)
    train_step = make_train_step(model, settings, balance_weights(settings, catalog), cluster)
    predict = make_predict_function(model, settings.jit_compile)
    summary = tf.summary.create_file_writer(str(run.tensorboard)) if cluster.is_chief else None
    known = ledger.failures

    def save(sums: EpochSums) -> None:
        nonlocal known
        share_failures(cluster, ledger, known)
        known = ledger.failures
        state.epoch_sums = sums
        if cluster.is_chief:
            save_checkpoint(run.checkpoints, model, state, settings.keep_checkpoints)
            run.write_failures(ledger, catalog)

    while len(state.history) < settings.epochs and not model.stop_training:
        epoch = len(state.history)
        row = {"epoch": epoch + 1, "learning_rate": float(model.optimizer.learning_rate.numpy())}
        row |= train_epoch(train_step, catalog, settings, ledger, epoch, state.epoch_sums, cluster, save)
        share_failures(cluster, ledger, known)
        validation = predict_split(predict, catalog, "validation", settings, ledger)
        known = ledger.failures
        row |= {"val_loss": validation.window_loss, "val_accuracy": validation.window_accuracy}
        row |= _clip_scores(validation, catalog)
        row = cluster.from_chief(row)
        if not math.isfinite(row["val_loss"]):
            raise diverged("validation loss", epoch, settings)
        state.history.append(row)
        improved = state.best_epoch == len(state.history)
        if improved:
            state.best_weights = model.get_weights()
        schedule.on_epoch_end(epoch, row)
        save(EpochSums())
        if cluster.is_chief:
            if improved:
                run.write_model(model)
            _write_history(run, state)
        if summary:
            with summary.as_default(step=epoch + 1):
                for name, value in row.items():
                    tf.summary.scalar(name, value)
            summary.flush()
        print(_epoch_line(row, settings.epochs, improved), flush=True)
    if model.stop_training:
        print(
            f"stopped early: no better validation loss for {settings.early_stopping_patience} epochs; it goes on with more "
            "--early_stopping_patience, not with more --epochs"
        )
    return state


def _clip_scores(validation: SplitPredictions, catalog: Catalog) -> dict[str, float]:
    """Returns the columns of the history that are scores by clip."""
    clip = score_split(validation, catalog.labels)["clip"]
    if not catalog.multi_label:
        return {"val_clip_accuracy": clip["accuracy"]}
    areas = {name: clip[name]["macro"] for name in ("roc_auc", "average_precision")}
    return {f"val_clip_{name}": math.nan if area is None else area for name, area in areas.items()}


def _schedule(model: keras.Model, settings: Settings, history: list[dict[str, float]]) -> keras.callbacks.CallbackList:
    """Makes Keras's early stopping and plateau schedule; for a continued run it replays the history, and so goes on there."""
    schedule = keras.callbacks.CallbackList(
        [
            keras.callbacks.EarlyStopping(
                patience=settings.early_stopping_patience, min_delta=settings.early_stopping_min_delta
            ),
            keras.callbacks.ReduceLROnPlateau(factor=settings.plateau_factor, patience=settings.plateau_patience),
        ],
        model=model,
        epochs=settings.epochs,
    )
    model.stop_training = False
    schedule.on_train_begin()
    learning_rate = float(model.optimizer.learning_rate.numpy())  # restored: the replay below must not lower it again
    model.optimizer.learning_rate = settings.learning_rate
    for row in history:
        schedule.on_epoch_end(int(row["epoch"]) - 1, dict(row))
    if history:
        model.optimizer.learning_rate = learning_rate
    return schedule


def _write_history(run: Run, state: TrainingState) -> None:
    run.write_history(state.history)
    with picture(run.path("curves.png")):
        plot_curves(state.history, run.path("curves.png"))


def _epoch_line(row: dict[str, float], epochs: int, improved: bool) -> str:
    by_clip = ", ".join(
        f"{name.removeprefix('val_clip_').replace('_', ' ')} {value:.3f} by clip"
        for name, value in row.items()
        if name.startswith("val_clip_")
    )
    return (
        f"epoch {row['epoch']:3.0f}/{epochs}  loss {row['loss']:.3f}  accuracy {row['accuracy']:.3f}  "
        f"validation: loss {row['val_loss']:.3f}  accuracy {row['val_accuracy']:.3f} by crop, {by_clip}  "
        f"{row['seconds'] / row['steps']:.2f} s/step, "
        f"{row['wait_seconds'] / row['seconds']:.0%} waiting for data{'  (best)' if improved else ''}"
    )
