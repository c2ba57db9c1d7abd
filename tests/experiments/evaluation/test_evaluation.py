"""An evaluation of other music: it needs no splits, and accounts for every file."""

import os
import shutil
from pathlib import Path

import pandas as pd
from support.scripts import run_script
from support.small_run import SMALL_RUN

from experiments.evaluation.evaluation import evaluate_run
from experiments.runs.run import Run
from experiments.settings import Settings


def test_a_label_of_one_clip_is_evaluated_and_probed(small_run: Path, clips: list[Path], tmp_path: Path, capsys):
    music = tmp_path / "music"
    for place, label in enumerate(("Rock", "Rock", "Rock", "Hip-Hop")):
        (music / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(clips[place], music / label)
    (music / "Rock" / "other.m4a").touch()
    (music / "Rock" / ".hidden.mp3").touch()
    settings = Settings(dataset="folders", data_dir=str(music), **SMALL_RUN)
    output = tmp_path / "evaluation"
    metrics = evaluate_run(small_run, settings, "all", output)
    assert metrics["clip"]["n"] == 4 and metrics["clip"]["per_class"]["Hip-Hop"]["n"] == 1
    shown = capsys.readouterr().out
    assert "no split" in shown and f"not used: 2 files: see {output}/left_out.csv" in shown
    used = pd.read_csv(output / "predictions.csv")["path"].tolist()
    on_disk = [f"{folder}/{name}" for folder, _, names in os.walk(music) for name in names]
    assert sorted([*used, *(row["path"] for row in Run(output).left_out)]) == sorted(on_disk)

    probe = tmp_path / "probe.csv"
    result = run_script("probe_audio", "--dataset=folders", f"--data_dir={music}", f"--output={probe}")
    assert "1 .m4a file" in result.stdout and sorted(pd.read_csv(probe)["path"]) == sorted(used)
