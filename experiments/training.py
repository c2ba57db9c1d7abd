"""The main job: train on streamed MP3s, keep the best epoch, evaluate it, and write it all down."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from experiments import evaluation
from experiments.atomic import written_whole
from experiments.augmentation import batch_augmentation
from experiments.building import build_model
from experiments.checkpoint import TrainingState, restore_checkpoint, save_checkpoint
from experiments.console import progress
from experiments.data import FAILURES_FILE, describe_failures, prepare, read_failures, write_failures
from experiments.multi_label import best_thresholds, write_thresholds
from experiments.objective import balance_weights, make_objective
from experiments.plots import plot_curves
from experiments.run_dir import MODEL_FILE, open_run
from experiments.settings import Settings
from experiments.streams import check_data_service, training_stream
from pipeline.catalog import Catalog
from pipeline.dataset import iterate
from pipeline.failures import FailureLedger

# (waveform [batch, samples], targets as `Catalog.targets` has them) -> (mean cross-entropy, sum of the accuracies)
TrainStep = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


class DivergedError(ValueError):
    """The loss is no longer a finite number."""


def train(settings: Settings, output_dir: str | Path) -> dict:
    """Trains, or continues training, and evaluates the best epoch on validation and test.

    Args:
        settings: of the run.
        output_dir: run directory; an interrupted run in it is continued, a finished one only evaluated again.

    Returns:
        The contents of metrics.json.

    Raises:
        ValueError: settings, data or an existing run do not fit; the message says how to mend it.
    """
    run_dir = Path(output_dir)
    catalog, ledger = prepare(settings)
    set_up_tensorflow(settings)
    model = build_model(settings, len(catalog.labels))
    batch_augmentation(settings)  # refuses settings out of range before anything is written
    check_data_service(settings)
    open_run(run_dir, settings, catalog)
    read_failures(run_dir / FAILURES_FILE, ledger, catalog.tracks["path"])
    try:
        state = _fit(model, catalog, settings, ledger, run_dir)
        model.set_weights(state.best_weights)
        # Once more: a run killed right after its last checkpoint has not written them.
        _write_model(run_dir, model)
        _write_history(run_dir, state)
        predict = evaluation.make_predict_function(model, settings.jit_compile)
        splits = {
            name: evaluation.predict_split(predict, catalog, name, settings, ledger) for name in ("validation", "test")
        }
        thresholds = None
        if catalog.multi_label:
            thresholds = best_thresholds(splits["validation"].truth, splits["validation"].probabilities)
            write_thresholds(run_dir, catalog.labels, thresholds)
        return evaluation.write_evaluation(run_dir, splits, catalog.labels, thresholds)
    finally:
        write_failures(run_dir / FAILURES_FILE, ledger, catalog)
        print(describe_failures(run_dir / FAILURES_FILE, ledger, catalog))


def set_up_tensorflow(settings: Settings) -> None:
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    half = "mixed_float16" if gpus else "mixed_bfloat16"
    keras.config.set_dtype_policy(half if settings.mixed_precision else "float32")
    print(f"training on {f'{len(gpus)} GPU' if gpus else 'the CPU'}, {keras.config.dtype_policy().name}")


def make_train_step(model: keras.Model, settings: Settings, weights: np.ndarray | None = None) -> TrainStep:
    """Compiles a step of training.

    Args:
        model: from `build_model`.
        settings: of the run.
        weights: from `balance_weights`.
    """
    objective = make_objective(settings, weights)
    augment = batch_augmentation(settings)
    num_classes = model.output_shape[-1]
    crop_samples = round(settings.crop_seconds * settings.sample_rate_hz) or None

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, crop_samples], tf.float32),
            tf.TensorSpec([None, num_classes] if settings.multi_label else [None], tf.int32),
        ],
        jit_compile=settings.jit_compile,
    )
    def step(waveform: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        truth = tf.cast(labels, tf.float32) if settings.multi_label else tf.one_hot(labels, num_classes)
        waveform, targets = augment(waveform, truth, model.optimizer.iterations.value)
        with tf.GradientTape() as tape:
            probabilities = model(waveform, training=True)  # [batch, classes]
            loss = tf.reduce_mean(objective.loss(targets, probabilities))
            scaled = model.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)
        cross_entropy, accuracy = (
            objective.cross_entropy(truth, probabilities),
            objective.accuracy(truth, probabilities),
        )
        return tf.reduce_mean(cross_entropy), tf.reduce_sum(accuracy)

    return step


def _fit(
    model: keras.Model, catalog: Catalog, settings: Settings, ledger: FailureLedger, run_dir: Path
) -> TrainingState:
    """Trains from the last checkpoint to the end; returns the state with the best weights."""
    checkpoints = run_dir / "checkpoints"
    state = restore_checkpoint(checkpoints, model)
    if state.history:
        print(f"continuing {run_dir} after epoch {len(state.history)}")
    schedule = _schedule(model, settings, state.history)
    train_step = make_train_step(model, settings, balance_weights(settings, catalog))
    predict = evaluation.make_predict_function(model, settings.jit_compile)
    summary = tf.summary.create_file_writer(str(run_dir / "tensorboard"))
    while len(state.history) < settings.epochs and not model.stop_training:
        epoch = len(state.history)
        row = {"epoch": epoch + 1, "learning_rate": float(model.optimizer.learning_rate)}
        row |= train_epoch(train_step, catalog, settings, ledger, epoch)
        validation = evaluation.predict_split(predict, catalog, "validation", settings, ledger)
        row |= {"val_loss": validation.crop_loss, "val_accuracy": validation.crop_accuracy}
        clip = validation.metrics(catalog.labels)["clip"]
        if catalog.multi_label:
            areas = {name: clip[name]["macro"] for name in ("roc_auc", "average_precision")}
            row |= {f"val_clip_{name}": math.nan if area is None else area for name, area in areas.items()}
        else:
            row["val_clip_accuracy"] = clip["accuracy"]
        if not math.isfinite(row["val_loss"]):
            raise DivergedError(_diverged("validation loss", epoch, settings))
        state.history.append(row)
        improved = state.best_epoch == len(state.history)
        if improved:
            state.best_weights = model.get_weights()
        schedule.on_epoch_end(epoch, row)
        save_checkpoint(checkpoints, model, state)
        if improved:
            _write_model(run_dir, model)
        _write_history(run_dir, state)
        write_failures(run_dir / FAILURES_FILE, ledger, catalog)
        with summary.as_default(step=epoch + 1):
            for name, value in row.items():
                tf.summary.scalar(name, value)
        summary.flush()
        print(_epoch_line(row, settings.epochs, improved), flush=True)
    if model.stop_training:
        print(f"stopped early: no better validation loss for {settings.early_stopping_patience} epochs")
    return state


def _schedule(model: keras.Model, settings: Settings, history: list[dict[str, float]]) -> keras.callbacks.CallbackList:
    """Keras's early stopping and plateau schedule, brought to where a continued run was by replaying its history."""
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
    learning_rate = float(model.optimizer.learning_rate)  # restored: the replay below must not lower it again
    model.optimizer.learning_rate = settings.learning_rate
    for row in history:
        schedule.on_epoch_end(int(row["epoch"]) - 1, dict(row))
    if history:
        model.optimizer.learning_rate = learning_rate
    return schedule


def train_epoch(
    train_step: TrainStep, catalog: Catalog, settings: Settings, ledger: FailureLedger, epoch: int
) -> dict[str, float]:
    """One pass over the training clips; returns its columns of the history.

    `seconds` is the pass without validation, of which `wait_seconds` were spent waiting for a batch.
    """
    dataset, steps = training_stream(catalog, settings, ledger, epoch)
    losses, hits, sizes, wait_seconds = [], [], [], 0.0
    begin = asked = time.perf_counter()
    with progress(None, steps, f"epoch {epoch + 1}/{settings.epochs}", leave=False, unit="step") as bar:
        for waveform, labels in iterate(dataset, ledger):
            wait_seconds += time.perf_counter() - asked
            loss, correct = train_step(waveform, labels)
            losses.append(loss)
            hits.append(correct)
            sizes.append(len(waveform))
            # A GPU computes behind the caller's back: looking one step back lets it go on.
            latest = float(losses[max(0, len(losses) - 2)])
            if not math.isfinite(latest):
                raise DivergedError(_diverged("training loss", epoch, settings))
            bar.update()
            bar.set_postfix(loss=f"{latest:.3f}", waiting=f"{wait_seconds / (time.perf_counter() - begin):.0%}")
            asked = time.perf_counter()
    ledger.check()
    if not losses:
        raise ValueError("expected decodable training clips, found none; see failures.csv")
    if not np.isfinite(float(losses[-1])):
        raise DivergedError(_diverged("training loss", epoch, settings))
    seen = sum(sizes)
    return {
        "loss": float(np.dot([float(loss) for loss in losses], sizes) / seen),
        "accuracy": sum(float(correct) for correct in hits) / seen,
        "steps": len(losses),
        "seconds": time.perf_counter() - begin,
        "wait_seconds": wait_seconds,
    }


def _diverged(what: str, epoch: int, settings: Settings) -> str:
    return (
        f"expected a finite {what}, received one that is not in epoch {epoch + 1}; lower --learning_rate (now "
        f"{settings.learning_rate:g}), or switch --mixed_precision off. The run directory keeps the epochs before."
    )


def _write_model(run_dir: Path, model: keras.Model) -> None:
    with written_whole(run_dir / MODEL_FILE) as temporary:
        model.save(temporary, include_optimizer=False)


def _write_history(run_dir: Path, state: TrainingState) -> None:
    with written_whole(run_dir / "history.csv") as temporary:
        pd.DataFrame(state.history).to_csv(temporary, index=False)
    plot_curves(state.history, state.best_epoch, run_dir / "curves.png")


def _epoch_line(row: dict[str, float], epochs: int, improved: bool) -> str:
    by_clip = ", ".join(
        f"{name.removeprefix('val_clip_').replace('_', ' ')} {value:.3f} by clip"
        for name, value in row.items()
        if name.startswith("val_clip_")
    )
    return (
        f"epoch {row['epoch']:3.0f}/{epochs}  loss {row['loss']:.3f}  accuracy {row['accuracy']:.3f}  "
        f"validation: loss {row['val_loss']:.3f}  accuracy {row['val_accuracy']:.3f} by crop, {by_clip}  {row['seconds'] / row['steps']:.2f} s/step, "
        f"{row['wait_seconds'] / row['seconds']:.0%} waiting for data{'  (best)' if improved else ''}"
    )
