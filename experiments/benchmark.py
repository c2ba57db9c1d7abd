"""Measures the pipeline against its limit and its alternatives, and writes down what came out."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from experiments.atomic import write_text
from experiments.benchmark_rows import ROWS, Workload
from experiments.console import progress
from experiments.plots import plot_throughput
from pipeline.probe import probe_file
from pipeline.throughput import Throughput, measure

_LIBRARIES = ("tensorflow", "tensorflow-io", "soundfile", "soxr", "numpy", "librosa", "torch")
# name in benchmark.json: (row, row that it is divided by)
_RATIOS = {
    "to_limit": ("ours_soundfile", "limit"),
    "tfio_to_limit": ("ours_tfio", "limit"),
    "to_torch_dataloader": ("ours_soundfile", "torch_dataloader"),
    "to_librosa_offset": ("ours_soundfile", "librosa_offset"),
    "to_study": ("ours_soundfile", "study_librosa"),
    "to_tfio_tutorial": ("ours_soundfile", "tfio_tutorial"),
}


def run_benchmark(
    paths: Sequence[str],
    output_dir: Path,
    *,
    sample_rate_hz: int,
    crop_seconds: float,
    batch_size: int,
    rounds: int,
    repeats: int,
    with_peers: bool,
) -> dict[str, Any]:
    """Measures every row, prints a table, and writes benchmark.json and benchmark.png.

    Args:
        paths: audio files; those that cannot be decoded are left out beforehand.
        output_dir: where the files go.
        sample_rate_hz: rate of the waveforms.
        crop_seconds: length of a crop.
        batch_size: crops a batch.
        rounds: how often each file occurs in a pass of a fast row.
        repeats: passes that count.
        with_peers: whether to measure the alternatives too.

    Returns:
        The contents of benchmark.json: environment, rows, ratios, skipped.

    Raises:
        ValueError: too few clips, or whole clips were asked for.
    """
    if crop_seconds <= 0:
        raise ValueError(f"expected crops of some length to compare, received crop_seconds={crop_seconds:g}; use 5")
    good = [path for path in progress(paths, len(paths), "looking at the files") if probe_file(path).decodable]
    if len(good) < 2 * batch_size:
        raise ValueError(f"expected at least {2 * batch_size} decodable clips (two batches), found {len(good)}")
    if len(good) < len(paths):
        print(f"note: {len(paths) - len(good)} files cannot be decoded and are left out")
    work = Workload(good, sample_rate_hz, crop_seconds, batch_size, rounds)
    chosen = {name: row for name, row in ROWS.items() if with_peers or not row.is_peer}
    skipped = {name: row.package for name, row in chosen.items() if not row.is_installed}
    for name, package in skipped.items():
        print(f"skipped: {name}, because {package} is not installed")
    passes = {name: partial(row.start, work) for name, row in chosen.items() if name not in skipped}
    with progress(None, len(passes) * (repeats + 1), "passes") as bar:
        rows = _with_limit(measure(passes, crop_seconds, repeats, bar.update))
    rates = {row.name: row.clips_per_second for row in rows}
    result: dict[str, Any] = {
        "environment": _environment(len(good), repeats),
        "rows": [dataclasses.asdict(row) for row in rows],
        "ratios": {
            name: rates[above] / rates[below]
            for name, (above, below) in _RATIOS.items()
            if above in rates and below in rates
        },
        "skipped": skipped,
    }
    print(format_table(rows))
    print("  ".join(f"{name} {ratio:.2f}" for name, ratio in result["ratios"].items()))
    output_dir.mkdir(parents=True, exist_ok=True)
    write_text(output_dir / "benchmark.json", json.dumps(result, indent=2) + "\n")
    title = f"{os.cpu_count()} cores, crops of {crop_seconds:g} s, median of {repeats} passes"
    plot_throughput(
        [row.name for row in rows], [row.clips_per_second for row in rows], title, output_dir / "benchmark.png"
    )
    return result


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
