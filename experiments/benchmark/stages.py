"""Where a crop's time goes, stage by stage: each alone, and the rate that is left once it is added."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial

import tensorflow as tf

from experiments.benchmark.decode_stages import STAGED_DECODERS, cpu_ms_by_stage, decode_on_all_cores
from experiments.benchmark.ours import decode_batches, our_dataset
from experiments.benchmark.throughput import Pass
from experiments.benchmark.workload import Workload
from experiments.builders.model import build_model
from experiments.settings import Settings
from experiments.training.step import make_train_step
from layers.front_ends.registry import find_front_end
from pipeline.decoding.registry import DEFAULT_DECODER

_CALLS = 12  # of a stage alone on one batch


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a crop's way from the file to the training step.

    Attributes:
        name: of the stage.
        cpu_ms_per_clip: CPU time of it alone; on an accelerator, time.
        cumulative_clips_per_second: rate of everything up to and including it, on all cores.
    """

    name: str
    cpu_ms_per_clip: float
    cumulative_clips_per_second: float


def stage_passes(work: Workload, settings: Settings, num_classes: int) -> dict[str, Pass]:
    """Passes for `experiments.benchmark.throughput.measure`: "to <stage>" is everything up to it, "only <stage>" it alone.

    Args:
        work: the crops.
        settings: of the model and its training step.
        num_classes: number of labels.
    """
    name = _staged(settings)
    decoder = STAGED_DECODERS[name]
    passes: dict[str, Pass] = {
        f"to {stage}": partial(decode_on_all_cores, work, decoder, stage) for stage in decoder.stages
    }
    passes["to batch"] = partial(decode_batches, work, name, work.rounds, work.crop_seconds)
    model = build_model(settings, num_classes)
    calls: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {}
    if tf.config.list_physical_devices("GPU"):
        calls["copy"] = lambda waveform, _: _to_gpu(waveform)
    front_end = find_front_end(model)
    if front_end is not None:  # some networks take the waveform itself
        features = tf.function(front_end.call)
        calls["features"] = lambda waveform, _: features(waveform)
    train_step = make_train_step(model, settings)
    calls["training step"] = lambda waveform, class_index: train_step(waveform, class_index)[0]
    batch = next(iter(our_dataset(work, name, 1, work.crop_seconds)))
    for stage, call in calls.items():
        passes[f"to {stage}"] = partial(_call_on_batches, work, name, call)
        passes[f"only {stage}"] = partial(_call_on_one_batch, call, *batch)
    return passes


def summarise_stages(
    work: Workload, settings: Settings, rates: dict[str, float], cpu_ms: dict[str, float], repeats: int
) -> list[Stage]:
    """One row a stage, from the measured passes and from clocks around the decoder.

    Args:
        work: the crops.
        settings: of the decoder.
        rates: clips a second by name of the pass.
        cpu_ms: CPU time a clip by name of the pass.
        repeats: passes with those clocks, of which the median counts.
    """
    decoder = STAGED_DECODERS[_staged(settings)]
    alone = cpu_ms_by_stage(work, decoder, repeats)
    # There is no batching without decoding: what it adds.
    alone["batch"] = max(0.0, cpu_ms["to batch"] - cpu_ms[f"to {decoder.stages[-1]}"])
    alone |= {name.removeprefix("only "): ms for name, ms in cpu_ms.items() if name.startswith("only ")}
    return [Stage(name, ms, rates[f"to {name}"]) for name, ms in alone.items()]


def format_stages(stages: list[Stage]) -> str:
    """The stages as text, with a bar for the time of each."""
    longest = max(stage.cpu_ms_per_clip for stage in stages)
    lines = [f"{'stage':14}  CPU ms alone  clips/s so far"]
    for stage in stages:
        bar = "█" * round(24 * stage.cpu_ms_per_clip / longest)
        lines.append(
            f"{stage.name:14}  {stage.cpu_ms_per_clip:12.2f}  {stage.cumulative_clips_per_second:14.1f}  {bar}".rstrip()
        )
    if "copy" not in [stage.name for stage in stages]:
        lines.append("no copy to a device: there is no accelerator")
    return "\n".join(lines)


def _staged(settings: Settings) -> str:
    """Returns the decoder to measure: that of the settings, if it has stages."""
    return settings.decoder if settings.decoder in STAGED_DECODERS else DEFAULT_DECODER


def _call_on_batches(work: Workload, decoder: str, call: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Iterator[int]:
    for waveform, class_index in our_dataset(work, decoder, 1, work.crop_seconds):
        _wait_for(call(waveform, class_index))
        yield len(waveform)


def _call_on_one_batch(
    call: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], waveform: tf.Tensor, class_index: tf.Tensor
) -> Iterator[int]:
    for _ in range(_CALLS):
        _wait_for(call(waveform, class_index))
        yield len(waveform)


def _wait_for(tensor: tf.Tensor) -> None:
    """Fetches one number: an accelerator computes behind the caller's back."""
    tf.reshape(tensor, [-1])[0].numpy()


def _to_gpu(waveform: tf.Tensor) -> tf.Tensor:
    with tf.device("/GPU:0"):
        return tf.identity(waveform)
