"""Measures the pipeline against its limit and its alternatives, and writes down what came out."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.benchmark.plots import plot_stages, plot_throughput
from experiments.benchmark.rows import ROWS
from experiments.benchmark.throughput import Pass, Throughput, measure
from experiments.benchmark.workload import Workload
from experiments.builders.model import build_model
from experiments.console import progress
from experiments.figures import picture
from experiments.settings import Settings, require_one_label
from pipeline.catalogs.catalog import Catalog
from pipeline.catalogs.probe import probe_file
from pipeline.catalogs.registry import SOURCES
from pipeline.storage.atomic import write_text

if TYPE_CHECKING:
    from experiments.benchmark.stages import Stage

_FIRST_EPOCHS = 3  # times that the first epoch is measured at most
_LIBRARIES = (
    "tensorflow",
    "tensorflow-io",
    "soundfile",
    "soxr",
    "numba",
    "numpy",
    "librosa",
    "torch",
    "torchcodec",
    "av",
)
# name in benchmark.json: (row, row that it is divided by)
_RATIOS = {
    "native_to_limit": ("ours_native", "limit"),
    "lines_to_limit": ("ours_native_lines", "limit"),
    "native_to_soundfile": ("ours_native", "ours_soundfile"),
    "to_limit": ("ours_soundfile", "limit"),
    "tfio_to_limit": ("ours_tfio", "limit"),
    **{row.ratio: ("ours_native", name) for name, row in ROWS.items() if row.is_rival},
    "whole_to_study": ("ours_native_whole", "study_librosa"),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        clips: clips at most, spread over the data set.
        rounds: how often each occurs in a pass of a fast row.
        repeats: passes that count.
        rivals: whether to measure the alternatives too.
        stages: whether to measure each stage from file to training step.
        train_step: whether to train, to see what bounds a step and how long the first epoch takes.
    """

    clips: int = 200
    rounds: int = 4
    repeats: int = 5
    rivals: bool = False
    stages: bool = False
    train_step: bool = False


def run_benchmark(catalog: Catalog, settings: Settings, output_dir: Path, plan: Plan) -> dict[str, Any]:
    """Measures what the plan says, prints tables, and writes benchmark.json and benchmark.png (stages.png).

    Args:
        catalog: the clips; those that cannot be decoded are left out beforehand.
        settings: rate and length of the crops, batch size; and the model, for stages and training step.
        output_dir: where the files go.
        plan: what to measure.

    Returns:
        The contents of benchmark.json: environment, rows, ratios, skipped, decoders (files by what decodes them and why), and as planned stages, train_step and
        time_to_first_epoch.

    Raises:
        ValueError: too few clips, or whole clips or records were asked for.
    """
    if SOURCES[settings.dataset].is_packed:
        raise ValueError(
            f"expected files, which the other decoders read too, received --dataset={settings.dataset}; name the files"
        )
    if settings.crop_seconds <= 0:
        raise ValueError(f"expected crops of some length, received crop_seconds={settings.crop_seconds:g}; use 5")
    require_one_label(settings, "the benchmark")
    if plan.stages or plan.train_step:
        build_model(settings, len(catalog.labels))  # refuses settings that do not fit before minutes of measuring
    catalog, clip_seconds, decoders = _decodable(catalog, plan.clips)
    work = Workload(
        catalog.tracks["path"].tolist(),
        settings.sample_rate_hz,
        settings.crop_seconds,
        settings.batch_size,
        plan.rounds,
    )
    if len(work.paths) < 2 * work.batch_size:
        raise ValueError(
            f"expected at least {2 * work.batch_size} decodable clips (two batches), found {len(work.paths)}; "
            "use more clips or a smaller --batch_size"
        )
    chosen = {name: row for name, row in ROWS.items() if plan.rivals or not row.is_rival}
    missing = {name: f"{row.missing} is not installed" for name, row in chosen.items() if row.missing}
    unfit = {name: row.unfit(work) for name, row in chosen.items()}
    skipped = {name: reason for name, reason in {**unfit, **missing}.items() if reason}
    for name, reason in skipped.items():
        print(f"skipped: {name}, because {reason}")
    passes: dict[str, Pass] = {name: partial(row.start, work) for name, row in chosen.items() if name not in skipped}
    seconds = {name: clip_seconds if ROWS[name].whole_clips else settings.crop_seconds for name in passes}
    rows = _with_limit(_measure(passes, plan, seconds))
    rates = {row.name: row.clips_per_second for row in rows}
    result: dict[str, Any] = {
        "environment": _environment(len(work.paths), plan.repeats),
        "rows": [dataclasses.asdict(row) for row in rows],
        "ratios": {
            name: rates[above] / rates[below]
            for name, (above, below) in _RATIOS.items()
            if above in rates and below in rates
        },
        "skipped": skipped,
        "decoders": decoders,
    }
    print(format_table(rows))
    print("  ".join(f"{name} {ratio:.2f}" for name, ratio in result["ratios"].items()))
    output_dir.mkdir(parents=True, exist_ok=True)
    for name in ("benchmark.png", "stages.png"):
        with contextlib.suppress(OSError):
            (output_dir / name).unlink(missing_ok=True)
    _write_result(result, output_dir)
    title = f"{os.cpu_count()} cores, crops of {settings.crop_seconds:g} s, median of {plan.repeats} passes"
    with picture(output_dir / "benchmark.png"):
        plot_throughput(
            [row.name for row in rows], [row.clips_per_second for row in rows], title, output_dir / "benchmark.png"
        )
    if plan.stages:
        stages = _run_stages(work, settings, len(catalog.labels), plan)
        result["stages"] = [dataclasses.asdict(stage) for stage in stages]
        _write_result(result, output_dir)
        with picture(output_dir / "stages.png"):
            plot_stages(
                [stage.name for stage in stages],
                [stage.cpu_ms_per_clip for stage in stages],
                [stage.cumulative_clips_per_second for stage in stages],
                f"a crop of {settings.crop_seconds:g} s, {os.cpu_count()} cores",
                output_dir / "stages.png",
            )
    if plan.train_step:
        result |= _run_training(catalog, settings, plan)
        _write_result(result, output_dir)
    return result


def _write_result(result: dict[str, Any], output_dir: Path) -> None:
    """Writes what is measured so far: neither a picture nor a later measurement that fails costs it."""
    write_text(output_dir / "benchmark.json", json.dumps(result, indent=2) + "\n")


def _decodable(catalog: Catalog, clips: int) -> tuple[Catalog, float, dict[str, int]]:
    """At most so many clips, spread over the data set and decodable, their mean length in seconds, and how many go which way."""
    step = max(1, len(catalog.tracks) // clips)
    tracks = catalog.tracks.iloc[::step].head(clips)
    probes = [probe_file(path) for path in progress(tracks["path"], len(tracks), "looking at the files")]
    good = [bool(probe.decodable) for probe in probes]
    if not all(good):
        print(f"note: {len(good) - sum(good)} files cannot be decoded and are left out")
    seconds = sum(probe.duration_seconds for probe in probes if probe.decodable) / max(1, sum(good))
    decoders = dict(collections.Counter(probe.decoder for probe in probes if probe.decodable).most_common())
    for decoder, files in decoders.items():
        print(f"decoded by --decoder=auto: {files} files, {decoder}")
    return dataclasses.replace(catalog, tracks=tracks[good].reset_index(drop=True)), seconds, decoders


def _measure(passes: dict[str, Pass], plan: Plan, clip_seconds: dict[str, float]) -> list[Throughput]:
    with progress(None, len(passes) * (plan.repeats + 1), "passes") as bar:
        return measure(passes, clip_seconds, plan.repeats, bar.update)


def _run_stages(work: Workload, settings: Settings, num_classes: int, plan: Plan) -> list[Stage]:
    from experiments.benchmark.stages import format_stages, stage_passes, summarise_stages

    passes = stage_passes(work, settings, num_classes)
    measured = _measure(passes, plan, dict.fromkeys(passes, settings.crop_seconds))
    rates = {row.name: row.clips_per_second for row in measured}
    cpu_ms = {row.name: row.cpu_ms_per_clip or 0.0 for row in measured}
    stages = summarise_stages(work, settings, rates, cpu_ms, plan.repeats)
    print(format_stages(stages))
    return stages


def _run_training(catalog: Catalog, settings: Settings, plan: Plan) -> dict[str, Any]:
    from experiments.benchmark.training import measure_train_step, time_to_first_epoch

    step = measure_train_step(catalog, settings, plan.repeats)
    print(
        f"training step of {settings.batch_size} crops: {step['step_ms']:.0f} ms, {step['compute_ms']:.0f} ms of them "
        f"computing\n{step['verdict']}"
    )
    first = time_to_first_epoch(catalog, settings, min(plan.repeats, _FIRST_EPOCHS), plan.rivals)
    line = f"first epoch over {first['clips']} clips, from raw MP3s: ours {first['ours']:.1f} s"
    if "study" in first:
        line += (
            f", the study's way {first['study']:.1f} s ({first['study_conversion']:.1f} s of conversion): "
            f"{first['ratio']:.1f} times as long\nnext epoch: ours {first['ours_next_epoch']:.1f} s, the study's, from "
            f"its arrays, {first['study_next_epoch']:.1f} s"
        )
    print(line)
    return {"train_step": step, "time_to_first_epoch": first}


def format_table(rows: Sequence[Throughput]) -> str:
    """The rows as text, with a bar for each."""
    width = max(len(row.name) for row in rows)
    highest = max(row.clips_per_second for row in rows)
    lines = [f"{'':{width}}  clips/s  x real time  CPU ms  spread  RSS MB  first s"]
    for row in rows:
        cpu = "-" if row.cpu_ms_per_clip is None else f"{row.cpu_ms_per_clip:.1f}"
        bar = "█" * max(1, round(24 * row.clips_per_second / highest))
        lines.append(
            f"{row.name:{width}}  {row.clips_per_second:7.1f}  {row.realtime_factor:11.0f}  {cpu:>6}  "
            f"{row.spread:6.0%}  {row.peak_rss_mb:6.0f}  {row.first_batch_seconds:7.2f}  {bar}"
        )
    return "\n".join(lines)


def _with_limit(rows: list[Throughput]) -> list[Throughput]:
    """Puts the faster of the two limits first, as `limit`; leaves out the CPU time that was not seen."""
    rows = [dataclasses.replace(row, cpu_ms_per_clip=None) if ROWS[row.name].has_workers else row for row in rows]
    limits = [row for row in rows if row.name.startswith("limit_")]
    fastest = max(limits, key=lambda row: row.clips_per_second)
    return [dataclasses.replace(fastest, name="limit"), *rows]


def _environment(clips: int, repeats: int) -> dict[str, Any]:
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "clips": clips,
        "repeats": repeats,
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
