"""One step of training, compiled: from a batch to gradients, summed over the copies of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from experiments.builders.augmentation import batch_augmentation
from experiments.builders.objective import make_objective
from experiments.builders.training_data import make_synthesis
from experiments.settings import Settings
from experiments.training.examples import examples_of_step, with_stand_in
from experiments.training.hosts import Cluster
from pipeline.decoding.line_batches import line_specs

# What a batch holds of its crops: waveforms [batch, samples], or what `Mp3Synthesis` makes them of.
Crops: TypeAlias = "tf.Tensor | Mapping[str, tf.Tensor]"
# (crops, targets as `Catalog.targets` has them), of which a host passes its part
#   -> (mean cross-entropy, sum of the accuracies, number of examples) of the whole batch
TrainStep = Callable[[Crops, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


def set_up_tensorflow(settings: Settings) -> None:
    """Sets what holds for the whole process: memory of GPUs, seeds, determinism and precision; prints what trains."""
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
    model: keras.Model, settings: Settings, weights: np.ndarray | None = None, cluster: Cluster | None = None
) -> TrainStep:
    """Compiles a step of training.

    With several copies of the model, each takes an equal part of its host's batch, and gradients are summed: what is
    minimised is the mean over the examples of all. A copy without any example takes part with a stand-in (`examples.py`).

    With `decode_on_device` the step takes lines, and waveforms too.

    Args:
        model: from `build_model`.
        settings: of the run.
        weights: from `balance_weights`.
        cluster: the hosts that train together, in whose scope the model was built; None: this one alone.
    """
    objective = make_objective(settings, weights)
    augment = batch_augmentation(settings)
    num_classes = model.output_shape[-1]
    crop_samples = round(settings.crop_seconds * settings.sample_rate_hz) or None
    cluster = cluster or Cluster()
    synthesis = make_synthesis(settings)

    def replica_step(crops: Crops, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        replica = tf.distribute.get_replica_context()
        number = replica.replica_id_in_sync_group
        crops, labels = _part((crops, labels), number % cluster.local_replicas, cluster.local_replicas)
        own = tf.shape(labels)[0]
        examples = replica.all_reduce("SUM", tf.cast(own, tf.float32))
        if cluster.replicas > 1:
            crops, labels = tf.nest.map_structure(with_stand_in, (crops, labels))
        waveform = synthesis.call(crops) if synthesis and isinstance(crops, Mapping) else crops
        truth = tf.cast(labels, tf.float32) if settings.multi_label else tf.one_hot(labels, num_classes)
        # Every copy has draws of its own.
        draw = model.optimizer.iterations.value * cluster.replicas + tf.cast(number, tf.int64)
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

    def step(crops: Crops, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        results = cluster.strategy.run(replica_step, [crops, labels])
        return tuple(cluster.first_replica(result) for result in results)

    def compile_for(crops: Any) -> TrainStep:
        labels = tf.TensorSpec([None, num_classes] if settings.multi_label else [None], tf.int32)
        return tf.function(step, input_signature=[crops, labels], jit_compile=settings.jit_compile)

    on_waveforms = compile_for(tf.TensorSpec([None, crop_samples], tf.float32))
    if synthesis is None:
        return on_waveforms
    on_lines = compile_for(line_specs(synthesis.crop_samples))
    return lambda crops, labels: (on_lines if isinstance(crops, Mapping) else on_waveforms)(crops, labels)


def _part(tensors: Any, index: tf.Tensor | int, parts: int) -> Any:
    """The index-th of so many nearly equal parts of the rows of each of several tensors, in any structure."""
    if parts == 1:
        return tensors
    rows = tf.shape(tf.nest.flatten(tensors)[0])[0]
    begin, end = rows * index // parts, rows * (index + 1) // parts
    return tf.nest.map_structure(lambda tensor: tensor[begin:end], tensors)
