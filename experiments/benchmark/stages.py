"""Where a crop's time goes, stage by stage: each alone, and the rate that is left once it is added."""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import tensorflow as tf

from experiments.benchmark.ours import decode_batches, our_dataset
from experiments.benchmark.throughput import Pass
from experiments.benchmark.workload import Workload
from experiments.builders.model import build_model
from experiments.settings import Settings
from experiments.training.step import make_train_step
from layers.front_ends.registry import find_front_end
from pipeline.decoding.soundfile_decoder import STAGES as DECODE_STAGES
from pipeline.decoding.soundfile_decoder import decode_crop

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


class _ReachedError(Exception):
    """Ends a decode after a stage."""


def stage_passes(work: Workload, settings: Settings, num_classes: int) -> dict[str, Pass]:
    """Passes for `experiments.benchmark.throughput.measure`: "to <stage>" is everything up to it, "only <stage>" it alone.

    Args:
        work: the crops.
        settings: of the model and its training step.
        num_classes: number of labels.
    """
    passes: dict[str, Pass] = {f"to {stage}": partial(_decode_until, work, stage) for stage in DECODE_STAGES}
    passes["to batch"] = partial(decode_batches, work, "soundfile", work.rounds, work.crop_seconds)
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
    batch = next(iter(our_dataset(work, "soundfile", 1, work.crop_seconds)))
    for stage, call in calls.items():
        passes[f"to {stage}"] = partial(_call_on_batches, work, call)
        passes[f"only {stage}"] = partial(_call_on_one_batch, call, *batch)
    return passes


def summarise_stages(work: Workload, rates: dict[str, float], cpu_ms: dict[str, float], repeats: int) -> list[Stage]:
    """One row a stage, from the measured passes and from clocks inside the decoder.

    Args:
        work: the crops.
        rates: clips a second by name of the pass.
        cpu_ms: CPU time a clip by name of the pass.
        repeats: passes with the decoder's clocks, of which the median counts.
    """
    times = [_decode_by_stage(work) for _ in range(repeats)]
    alone = {stage: statistics.median(repeat[stage] for repeat in times) for stage in DECODE_STAGES}
    # There is no batching without decoding: what it adds.
    alone["batch"] = max(0.0, cpu_ms["to batch"] - cpu_ms[f"to {DECODE_STAGES[-1]}"])
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


def _decode_until(work: Workload, last: str) -> Iterator[int]:
    """Decodes on all cores, each crop up to the end of a stage."""

    def on_stage(stage: str) -> None:
        if stage == last:
            raise _ReachedError

    def decode(crop: tuple[str, float]) -> None:
        path, position = crop
        with suppress(_ReachedError):
            decode_crop(path, work.sample_rate_hz, work.crop_samples, position, on_stage)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(decode, work.crops(work.rounds)):
            yield 1


def _decode_by_stage(work: Workload) -> dict[str, float]:
    """CPU milliseconds a crop of each decoding stage, in this thread."""
    seconds = dict.fromkeys(DECODE_STAGES, 0.0)
    last = 0.0

    def on_stage(stage: str) -> None:
        nonlocal last
        now = time.thread_time()
        seconds[stage] += now - last
        last = now

    crops = work.crops(1)
    for path, position in crops:
        last = time.thread_time()
        decode_crop(path, work.sample_rate_hz, work.crop_samples, position, on_stage)
    return {stage: total / len(crops) * 1e3 for stage, total in seconds.items()}


def _call_on_batches(work: Workload, call: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Iterator[int]:
    for waveform, class_index in our_dataset(work, "soundfile", 1, work.crop_seconds):
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
