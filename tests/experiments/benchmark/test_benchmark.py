"""The benchmark's arithmetic, and that every row pulls real clips. How fast they are is not a test's business."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.tensorflow_io import HAS_TENSORFLOW_IO

from experiments.benchmark.benchmark import Plan, format_table, run_benchmark
from experiments.benchmark.decode_stages import STAGED_DECODERS
from experiments.benchmark.rows import ROWS
from experiments.benchmark.stages import format_stages, stage_passes, summarise_stages
from experiments.benchmark.throughput import measure
from experiments.benchmark.training import measure_train_step, time_to_first_epoch, verdict
from experiments.benchmark.workload import Workload
from experiments.settings import Settings
from pipeline.catalogs.catalog import Catalog, make_catalog
from pipeline.decoding.soundfile_decoder import read_info

pytestmark = pytest.mark.slow


def paced(first_seconds: float, seconds: float, batches: int) -> Iterator[int]:
    time.sleep(first_seconds)
    for i in range(batches):
        time.sleep(seconds * (i > 0))
        yield 4


def test_rates_leave_the_first_batch_out():
    starts, done = [], []

    def start() -> Iterator[int]:
        starts.append(None)
        return paced(1.0, 0.02, 11)

    (result,) = measure({"a": start}, {"a": 5.0}, repeats=2, done=lambda: done.append(None))
    assert len(starts) == len(done) == 3
    # 200 but for a late sleeper; with the first batch counted it would be below 40.
    assert 50 < result.clips_per_second <= 200
    assert result.realtime_factor == pytest.approx(5 * result.clips_per_second)
    assert result.first_batch_seconds >= 1.0
    assert result.cpu_ms_per_clip < 20 and result.spread >= 0 and result.peak_rss_mb > 50


def test_cpu_time_and_memory_are_seen():
    def busy() -> Iterator[int]:
        for _ in range(3):
            held = bytearray(200_000_000)
            held[::4096] = b"x" * len(held[::4096])
            end = time.process_time() + 0.1
            while time.process_time() < end:
                pass
            yield 1

    def idle() -> Iterator[int]:
        yield from paced(0, 0.1, 3)

    by_name = {row.name: row for row in measure({"idle": idle, "busy": busy}, {"idle": 1.0, "busy": 1.0}, 1)}
    assert by_name["busy"].cpu_ms_per_clip > 90 and by_name["idle"].cpu_ms_per_clip < 20
    assert by_name["busy"].peak_rss_mb > by_name["idle"].peak_rss_mb + 100


@pytest.mark.parametrize(("batches", "message"), [(0, "expected clips from a"), (1, "at least two batches from a")])
def test_too_little_to_measure(batches: int, message: str):
    with pytest.raises(ValueError, match=message):
        measure({"a": lambda: iter([4] * batches)}, {"a": 1.0}, 1)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if not row.missing])
def test_every_row_pulls_every_clip(name: str, clips):
    rounds = (
        2
        if name
        in (
            "limit_threads",
            "limit_processes",
            "ours_native",
            "ours_native_lines",
            "ours_soundfile",
            "torch_dataloader",
        )
        else 1
    )
    work = Workload([str(path) for path in clips], 16000, 1.0, batch_size=5, rounds=2)
    assert sum(ROWS[name].start(work)) == rounds * len(clips)


@pytest.fixture
def catalog(clips, tmp_path: Path) -> Catalog:
    (tmp_path / "bad.mp3").write_bytes(b"bad")
    paths = [str(tmp_path / "bad.mp3"), *map(str, clips)]
    columns = {"track_id": range(13), "path": paths, "label": ["a", "b", *"abcabcabcab"], "split": "training"}
    return make_catalog(pd.DataFrame(columns), ())


SETTINGS = Settings(sample_rate_hz=16000, crop_seconds=1.0, batch_size=4, n_fft=512, hop_length=256, n_mels=32)


def test_a_run_of_the_benchmark(catalog: Catalog, tmp_path: Path, capsys):
    plan = Plan(rounds=1, repeats=1)
    result = run_benchmark(catalog, SETTINGS, tmp_path / "out", plan)
    assert json.loads((tmp_path / "out" / "benchmark.json").read_text()) == result
    names = [
        "limit",
        "limit_threads",
        "limit_processes",
        "ours_native",
        "ours_native_whole",
        "ours_native_lines",
        "ours_soundfile",
        "ours_tfio",
    ]
    names += ["ours_soundfile_whole", "ours_tfio_whole"]
    if not HAS_TENSORFLOW_IO:
        names = [name for name in names if "tfio" not in name]
    assert [row["name"] for row in result["rows"]] == names
    rates = {row["name"]: row["clips_per_second"] for row in result["rows"]}
    assert [row["name"] for row in result["rows"] if row["cpu_ms_per_clip"] is None][-1] == "limit_processes"
    assert rates["limit"] == max(rates["limit_threads"], rates["limit_processes"])
    # Seconds of audio: crops of one, and whole clips of three or more.
    factors = {row["name"]: row["realtime_factor"] / row["clips_per_second"] for row in result["rows"]}
    assert factors["ours_soundfile"] == pytest.approx(1)
    lengths = [read_info(path).duration_seconds for path in catalog.tracks["path"][1:]]
    assert factors["ours_soundfile_whole"] == pytest.approx(np.mean(lengths), abs=0.1)
    assert result["decoders"] == {"native": 4} or sum(result["decoders"].values()) == 12
    assert result["ratios"]["native_to_limit"] == pytest.approx(rates["ours_native"] / rates["limit"])
    assert result["ratios"]["to_limit"] == pytest.approx(rates["ours_soundfile"] / rates["limit"])
    assert result["environment"]["clips"] == 12 and "tensorflow" in result["environment"]["versions"]
    shown = capsys.readouterr().out
    assert "1 files cannot be decoded" in shown and "ours_soundfile" in shown and "to_limit" in shown
    with Image.open(tmp_path / "out" / "benchmark.png") as image:
        assert min(image.size) > 300
    with pytest.raises(ValueError, match=r"at least 200 decodable clips \(two batches\), found 12"):
        run_benchmark(catalog, replace(SETTINGS, batch_size=100), tmp_path / "out", plan)
    with pytest.raises(ValueError, match="expected a model name, received 'no'"):
        run_benchmark(catalog, replace(SETTINGS, model="no"), tmp_path / "out", replace(plan, stages=True))
    with pytest.raises(ValueError, match="crop_seconds=0; use 5"):
        run_benchmark(catalog, replace(SETTINGS, crop_seconds=0.0), tmp_path / "out", plan)


@pytest.mark.parametrize("decoder", STAGED_DECODERS)
def test_stages(decoder: str, clips):
    work = Workload([str(path) for path in clips], 16000, 1.0, batch_size=4, rounds=2)
    settings = replace(SETTINGS, decoder=decoder)
    passes = stage_passes(work, settings, 3)
    measured = measure(passes, dict.fromkeys(passes, 1.0), 1)
    stages = summarise_stages(
        work,
        settings,
        {row.name: row.clips_per_second for row in measured},
        {row.name: row.cpu_ms_per_clip for row in measured},
        1,
    )
    names = [*STAGED_DECODERS[decoder].stages, "batch", "features", "training step"]
    assert [stage.name for stage in stages if stage.name != "copy"] == names
    assert all(stage.cumulative_clips_per_second > 0 and stage.cpu_ms_per_clip >= 0 for stage in stages)
    lines = format_stages(stages).splitlines()
    assert len(lines) >= len(stages) + 1 and max(lines, key=lambda line: line.count("█")).count("█") == 24


def work_of(catalog: Catalog) -> Workload:
    return Workload(catalog.tracks["path"].tolist(), 16000, 1.0, batch_size=4, rounds=1)


def test_training_step_and_first_epoch(catalog: Catalog):
    catalog = catalog.keep(catalog.tracks["path"].str.contains("bad") == 0, "")
    step = measure_train_step(catalog, replace(SETTINGS, crops_per_clip=2), epochs=1)
    assert 0 < step["wait_fraction"] < 1 and step["compute_ms"] > 0
    assert step["clips_per_second"] == pytest.approx(SETTINGS.batch_size / step["step_ms"] * 1e3)
    first = time_to_first_epoch(catalog, SETTINGS, 1, with_study=True)
    assert first["clips"] == 12
    assert first["ours"] > first["ours_next_epoch"] > 0
    assert first["study"] > first["study_conversion"] > 0 and first["study_next_epoch"] > 0
    assert first["ratio"] == pytest.approx(first["study"] / first["ours"])
    assert "study" not in time_to_first_epoch(catalog, SETTINGS, 1, with_study=False)
    on_waveforms = replace(SETTINGS, model="sample_cnn")
    assert "study" not in time_to_first_epoch(catalog, on_waveforms, 1, with_study=True)
    assert "to features" not in stage_passes(work_of(catalog), on_waveforms, 3)
    assert "to features" in stage_passes(work_of(catalog), replace(SETTINGS, frontend="pcen"), 3)


def test_verdict_names_what_would_help():
    slow = verdict(0.5, replace(SETTINGS, decoder="tfio", decode_workers=1), 90.0, 40.0)
    assert slow.startswith("input-bound: 50%") and "--decoder=auto" in slow
    assert "--decode_workers=0" in slow or os.cpu_count() == 1
    assert "--decode" not in verdict(0.5, SETTINGS, 90.0, 40.0)
    computing = verdict(0.02, SETTINGS, 90.0, 88.0)
    assert computing.startswith("compute-bound: 2%") and "--model" in computing
    shared = verdict(0.02, SETTINGS, 92.0, 58.0)
    assert "share" in shared and "58 ms instead of 92 ms" in shared and "change nothing" not in shared


def test_table_lines_up():
    lines = format_table(
        measure(
            {"a": lambda: paced(0, 0.01, 3), "long_name": lambda: paced(0, 0.02, 3)}, {"a": 5.0, "long_name": 5.0}, 1
        )
    )
    head, first, second = lines.splitlines()
    assert first.index("█") == second.index("█") >= len(head) and len(first) > len(second)
