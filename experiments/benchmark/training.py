"""What bounds a training step, and how long it takes from raw MP3s to the end of the first epoch."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import statistics
import time
from typing import Any

import tensorflow as tf

from experiments.benchmark.rivals.study import train_on_arrays
from experiments.builders.model import build_model
from experiments.settings import Settings
from experiments.training.epoch import train_epoch
from experiments.training.step import make_train_step
from layers.networks.registry import get_network
from pipeline.catalogs.catalog import Catalog
from pipeline.decoding.registry import DEFAULT_DECODER
from pipeline.failures import FailureLedger

_INPUT_BOUND = 0.1  # share of a step spent waiting from which on faster data would be felt
_CALLS = 8


def measure_train_step(catalog: Catalog, settings: Settings, epochs: int) -> dict[str, Any]:
    """Trains for some epochs and says what bounds a step.

    Args:
        catalog: every clip of every split is trained on.
        settings: of the run.
        epochs: that count; one more before them, in which the step is compiled, does not.

    Returns:
        step_ms with its data and compute_ms without, wait_fraction of the step spent waiting for data,
        clips_per_second, and the verdict in words.
    """
    catalog = _all_as_training(catalog)
    model = build_model(settings, len(catalog.labels))
    train_step = make_train_step(model, settings)
    ledger = FailureLedger(len(catalog.tracks), 1.0)
    rows = [train_epoch(train_step, catalog, settings, ledger, epoch) for epoch in range(epochs + 1)][1:]
    step_ms = statistics.median(row["seconds"] / row["steps"] for row in rows) * 1e3
    wait_fraction = statistics.median(row["wait_seconds"] / row["seconds"] for row in rows)
    crop_samples = round(settings.crop_seconds * settings.sample_rate_hz)
    waveform = tf.random.stateless_normal([settings.batch_size, crop_samples], [0, 0]) * 0.1
    class_index = tf.zeros(settings.batch_size, tf.int32)
    times = []
    for _ in range(_CALLS):
        begin = time.perf_counter()
        float(train_step(waveform, class_index)[0])
        times.append(time.perf_counter() - begin)
    compute_ms = statistics.median(times) * 1e3
    return {
        "step_ms": step_ms,
        "compute_ms": compute_ms,
        "wait_fraction": wait_fraction,
        "clips_per_second": settings.batch_size / step_ms * 1e3,
        "verdict": verdict(wait_fraction, settings, step_ms, compute_ms),
    }


def verdict(wait_fraction: float, settings: Settings, step_ms: float, compute_ms: float) -> str:
    """Says in words what bounds a step, and which flag would help.

    Args:
        wait_fraction: share of a step spent waiting for data.
        settings: of the run.
        step_ms: a step of training, with its data.
        compute_ms: the same step with decoding left out.
    """
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    share = f"{wait_fraction:.0%} of a step is spent waiting for data"
    if wait_fraction < _INPUT_BOUND:
        remedies = ["--jit_compile"] if on_gpu and not settings.jit_compile else []
        remedies += [] if settings.mixed_precision or not on_gpu else ["--mixed_precision"]
        remedies += ["a smaller --model or --n_mels", "a longer --hop_length"]
        shared_ms = max(0.0, step_ms - compute_ms)
        if shared_ms >= _INPUT_BOUND * step_ms:
            return (
                f"bound by cores that decoding and training share: {share}, but with decoding left out a step takes "
                f"{compute_ms:.0f} ms instead of {step_ms:.0f} ms. More cores, faster decoding, {', '.join(remedies)} would help."
            )
        return f"compute-bound: {share}. Faster decoding would change nothing; {', '.join(remedies)} would."
    remedies = [] if settings.decoder == DEFAULT_DECODER else [f"--decoder={DEFAULT_DECODER}"]
    if settings.decode_workers and settings.decode_workers < (os.cpu_count() or 1):
        remedies.append(f"--decode_workers=0 (all {os.cpu_count()} cores)")
    remedies += ["more cores", "a shorter --crop_seconds", "a --sample_rate_hz equal to the files'"]
    return f"input-bound: {share}. The device idles; {', '.join(remedies)} would help, a larger --model costs little."


def time_to_first_epoch(catalog: Catalog, settings: Settings, repeats: int, with_study: bool) -> dict[str, Any]:
    """Measures the time from raw MP3s to the end of the first epoch, each clip once: ours, and the study's way.

    The study converts every clip to a log-mel spectrogram by librosa, keeps the arrays, and trains on them. Here it
    trains the same network on crops of the same length with the same batches, all of it in memory.

    Args:
        catalog: every clip of every split is trained on, and each must be decodable.
        settings: of the run.
        repeats: how often each is measured, in turn.
        with_study: whether to measure the study's way too, if librosa is installed and the network takes images.

    Returns:
        Medians in seconds: `ours` and `study` to the end of the first epoch, their `ratio`; the parts `study_conversion`; and
        `ours_next_epoch` and `study_next_epoch`, where everything is compiled and the study's arrays are cached.
    """
    everything = _all_as_training(catalog)
    once = dataclasses.replace(settings, crops_per_clip=1)
    takes_waveform = get_network(settings.model).takes_waveform  # there is no array to cache for such a network
    with_study = with_study and not takes_waveform and importlib.util.find_spec("librosa") is not None
    runs = [
        _our_epochs(everything, once) | (train_on_arrays(everything, once) if with_study else {})
        for _ in range(repeats)
    ]
    result: dict[str, Any] = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    if with_study:
        result["ratio"] = result["study"] / result["ours"]
    return {"clips": len(catalog.tracks)} | result


def _all_as_training(catalog: Catalog) -> Catalog:
    return dataclasses.replace(catalog, tracks=catalog.tracks.assign(split="training"))


def _our_epochs(catalog: Catalog, settings: Settings) -> dict[str, float]:
    begin = time.perf_counter()
    model = build_model(settings, len(catalog.labels))
    train_step = make_train_step(model, settings)
    ledger = FailureLedger(len(catalog.tracks), 1.0)
    train_epoch(train_step, catalog, settings, ledger, 0)
    first = time.perf_counter() - begin
    return {"ours": first, "ours_next_epoch": train_epoch(train_step, catalog, settings, ledger, 1)["seconds"]}
