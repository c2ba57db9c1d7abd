"""The main job: train on streamed MP3s, keep the best epoch, evaluate it, and write it all down."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from experiments.builders.augmentation import batch_augmentation
from experiments.builders.data import FAILURES_FILE, describe_failures, prepare, read_failures, write_failures
from experiments.builders.model import build_model
from experiments.builders.objective import balance_weights, make_objective
from experiments.builders.training_data import check_data_service
from experiments.evaluation import evaluation
from experiments.evaluation.multi_label import best_thresholds, write_thresholds
from experiments.figures import plot_curves
from experiments.runs.run import CHECKPOINTS, MODEL_FILE, data_identity, open_run
from experiments.settings import FREE_FIELDS, Settings
from experiments.training.checkpoint import EpochSums, TrainingState, restore_checkpoint, save_checkpoint
from experiments.training.epoch import TrainStep, diverged, train_epoch
from experiments.training.examples import examples_of_step, with_stand_in
from experiments.training.hosts import Hosts, joined_hosts, share_failures
from layers.networks.registry import get_network
from pipeline.catalogs.catalog import Catalog
from pipeline.failures import FailureLedger
from pipeline.order import Order
from pipeline.storage.atomic import written_whole


def train(settings: Settings, output_dir: str | Path) -> dict:
    """Trains, or continues training, and evaluates the best epoch on validation and test.

    Under TF_CONFIG every host calls this with the same settings and the same, shared directory, which the chief alone
    writes; on one host with several GPUs each has a copy of the model. `batch_size` is that of all together.

    Args:
        settings: of the run.
        output_dir: run directory; an interrupted run in it is continued, a finished one only evaluated again.

    Returns:
        The contents of metrics.json.

    Raises:
        ValueError: settings, data or an existing run do not fit; the message says how to mend it.
    """
    set_up_tensorflow(settings)
    with joined_hosts(settings.replicas) as hosts:
        return _train(settings, Path(output_dir), hosts)


def _train(settings: Settings, run_dir: Path, hosts: Hosts) -> dict:
    _check(settings, hosts)
    catalog, ledger = prepare(settings)
    with hosts.strategy.scope():
        model = build_model(settings, len(catalog.labels))
    hosts.synchronise_batch_norm(model)
    check_data_service(settings)
    shared = {name: value for name, value in dataclasses.asdict(settings).items() if name not in FREE_FIELDS}
    hosts.check_alike(
        "settings and data", json.dumps([shared, data_identity(catalog)]), "start the same command on every host"
    )
    if hosts.is_chief:
        open_run(run_dir, settings, catalog)
    hosts.wait()
    read_failures(run_dir / FAILURES_FILE, ledger, catalog.tracks["path"])
    try:
        state = _fit(model, catalog, settings, ledger, run_dir, hosts)
        model.set_weights(state.best_weights)
        if hosts.is_chief:  # once more: a run killed right after its last checkpoint has not written them
            _write_model(run_dir, model)
            _write_history(run_dir, state)
        predict = evaluation.make_predict_function(model, settings.jit_compile)
        splits = {
            name: evaluation.predict_split(predict, catalog, name, settings, ledger) for name in ("validation", "test")
        }
        thresholds = None
        if catalog.multi_label:
            thresholds = best_thresholds(splits["validation"].truth, splits["validation"].probabilities)
        if not hosts.is_chief:
            return {name: predictions.metrics(catalog.labels, thresholds) for name, predictions in splits.items()}
        if thresholds is not None:
            write_thresholds(run_dir, catalog.labels, thresholds)
        return evaluation.write_evaluation(run_dir, splits, catalog.labels, thresholds)
    finally:
        if hosts.is_chief:
            write_failures(run_dir / FAILURES_FILE, ledger, catalog)
        print(describe_failures(run_dir / FAILURES_FILE, ledger, catalog))


def _check(settings: Settings, hosts: Hosts) -> None:
    """Refuses settings out of range before anything is read or written."""
    get_network(settings.model)
    Order(1, settings.crops_per_clip, shuffle_clips=settings.shuffle_clips)
    batch_augmentation(settings)
    if settings.batch_size < 1:
        raise ValueError(f"expected batch_size of at least 1, received {settings.batch_size}")
    if settings.keep_checkpoints < 1:
        raise ValueError(f"expected keep_checkpoints of at least 1, received {settings.keep_checkpoints}")
    if settings.checkpoint_steps < 0:
        raise ValueError(f"expected checkpoint_steps of at least 0 (off), received {settings.checkpoint_steps}")
    if settings.batch_size % hosts.replicas:
        raise ValueError(
            f"expected --batch_size as a multiple of the {hosts.replicas} copies of the model, received "
            f"{settings.batch_size}"
        )
    if settings.jit_compile and hosts.replicas > 1:
        raise ValueError("expected one GPU with --jit_compile, received several; leave it out")


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


def make_train_step(
    model: keras.Model, settings: Settings, weights: np.ndarray | None = None, hosts: Hosts | None = None
) -> TrainStep:
    """Compiles a step of training.

    With several copies of the model, each takes an equal part of its host's batch, and gradients are summed: what is
    minimised is the mean over the examples of all. A copy without any example takes part with a stand-in (`examples.py`).

    Args:
        model: from `build_model`.
        settings: of the run.
        weights: from `balance_weights`.
        hosts: that train together, in whose scope the model was built; None: this one alone.
    """
    objective = make_objective(settings, weights)
    augment = batch_augmentation(settings)
    num_classes = model.output_shape[-1]
    crop_samples = round(settings.crop_seconds * settings.sample_rate_hz) or None
    several = hosts or Hosts()

    def replica_step(waveform: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        replica = tf.distribute.get_replica_context()
        number = replica.replica_id_in_sync_group
        waveform, labels = _part((waveform, labels), number % several.local_replicas, several.local_replicas)
        own = tf.shape(labels)[0]
        examples = replica.all_reduce("SUM", tf.cast(own, tf.float32))
        if several.replicas > 1:
            waveform, labels = with_stand_in(waveform), with_stand_in(labels)
        truth = tf.cast(labels, tf.float32) if settings.multi_label else tf.one_hot(labels, num_classes)
        # Every copy has draws of its own.
        draw = model.optimizer.iterations.value * several.replicas + tf.cast(number, tf.int64)
        waveform, targets = augment(waveform, truth, draw)
        with examples_of_step(own, examples), tf.GradientTape() as tape:
            probabilities = model(waveform, training=True)  # [batch, classes]
            loss = tf.math.divide_no_nan(tf.reduce_sum(objective.loss(targets, probabilities)[:own]), examples)
            scaled = model.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)  # sums over the copies
        scores = (objective.cross_entropy(truth, probabilities), objective.accuracy(truth, probabilities))
        sums = tf.stack([tf.reduce_sum(score[:own]) for score in scores])
        total_loss, correct = tf.unstack(replica.all_reduce("SUM", sums))
        return tf.math.divide_no_nan(total_loss, examples), correct, examples

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, crop_samples], tf.float32),
            tf.TensorSpec([None, num_classes] if settings.multi_label else [None], tf.int32),
        ],
        jit_compile=settings.jit_compile,
    )
    def step(waveform: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        results = several.strategy.run(replica_step, [waveform, labels])
        return tuple(several.any_replica(result) for result in results)

    return step


def _part(tensors: tuple[tf.Tensor, ...], index: tf.Tensor | int, parts: int) -> tuple[tf.Tensor, ...]:
    """The index-th of so many nearly equal parts of each tensor's rows."""
    if parts == 1:
        return tensors
    rows = tf.shape(tensors[0])[0]
    return tuple(tensor[rows * index // parts : rows * (index + 1) // parts] for tensor in tensors)


def _fit(
    model: keras.Model, catalog: Catalog, settings: Settings, ledger: FailureLedger, run_dir: Path, hosts: Hosts
) -> TrainingState:
    """Trains from the last checkpoint to the end; returns the state with the best weights."""
    checkpoints = run_dir / CHECKPOINTS
    state = restore_checkpoint(checkpoints, model)
    hosts.check_alike("the last checkpoint", state.place, "--output_dir must be a directory that all hosts share")
    hosts.spread_seeds(model)
    if state.history or state.epoch_sums.steps:
        print(f"continuing {run_dir} after {state.place}")
    schedule = _schedule(model, settings, state.history)
    train_step = make_train_step(model, settings, balance_weights(settings, catalog), hosts)
    predict = evaluation.make_predict_function(model, settings.jit_compile)
    summary = tf.summary.create_file_writer(str(run_dir / "tensorboard")) if hosts.is_chief else None
    known = ledger.failures

    def save(sums: EpochSums) -> None:
        nonlocal known
        share_failures(hosts, ledger, known)
        known = ledger.failures
        state.epoch_sums = sums
        if hosts.is_chief:
            save_checkpoint(checkpoints, model, state, settings.keep_checkpoints)
            write_failures(run_dir / FAILURES_FILE, ledger, catalog)

    while len(state.history) < settings.epochs and not model.stop_training:
        epoch = len(state.history)
        row = {"epoch": epoch + 1, "learning_rate": float(model.optimizer.learning_rate.numpy())}
        row |= train_epoch(train_step, catalog, settings, ledger, epoch, state.epoch_sums, hosts, save)
        share_failures(hosts, ledger, known)
        validation = evaluation.predict_split(predict, catalog, "validation", settings, ledger)
        known = ledger.failures
        row |= {"val_loss": validation.crop_loss, "val_accuracy": validation.crop_accuracy}
        row |= _clip_scores(validation, catalog)
        row = hosts.from_chief(row)
        if not math.isfinite(row["val_loss"]):
            raise diverged("validation loss", epoch, settings)
        state.history.append(row)
        improved = state.best_epoch == len(state.history)
        if improved:
            state.best_weights = model.get_weights()
        schedule.on_epoch_end(epoch, row)
        save(EpochSums())
        if hosts.is_chief:
            if improved:
                _write_model(run_dir, model)
            _write_history(run_dir, state)
        if summary:
            with summary.as_default(step=epoch + 1):
                for name, value in row.items():
                    tf.summary.scalar(name, value)
            summary.flush()
        print(_epoch_line(row, settings.epochs, improved), flush=True)
    if model.stop_training:
        print(f"stopped early: no better validation loss for {settings.early_stopping_patience} epochs")
    return state


def _clip_scores(validation: evaluation.SplitPredictions, catalog: Catalog) -> dict[str, float]:
    """Columns of the history."""
    clip = validation.metrics(catalog.labels)["clip"]
    if not catalog.multi_label:
        return {"val_clip_accuracy": clip["accuracy"]}
    areas = {name: clip[name]["macro"] for name in ("roc_auc", "average_precision")}
    return {f"val_clip_{name}": math.nan if area is None else area for name, area in areas.items()}


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
    learning_rate = float(model.optimizer.learning_rate.numpy())  # restored: the replay below must not lower it again
    model.optimizer.learning_rate = settings.learning_rate
    for row in history:
        schedule.on_epoch_end(int(row["epoch"]) - 1, dict(row))
    if history:
        model.optimizer.learning_rate = learning_rate
    return schedule


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
        f"validation: loss {row['val_loss']:.3f}  accuracy {row['val_accuracy']:.3f} by crop, {by_clip}  "
        f"{row['seconds'] / row['steps']:.2f} s/step, "
        f"{row['wait_seconds'] / row['seconds']:.0%} waiting for data{'  (best)' if improved else ''}"
    )
