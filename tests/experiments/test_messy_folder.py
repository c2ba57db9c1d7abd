"""A training and a prediction on a folder with everything that is known to go wrong: every file is used or named."""

import csv
import os
from pathlib import Path

import pandas as pd
import pytest
from support.messy_folder import IN_PART, LABELS, SILENT, UNDECODABLE, make_messy_folder
from support.scripts import as_flags, run_script
from support.small_run import SMALL_RUN

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def messy(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("messy")
    make_messy_folder(root / "music", root / "outside")
    return root / "music"


def files_on_disk(root: Path) -> set[str]:
    """Every file of the folder and of what its links lead to, by its path as the folder's links spell it."""
    found = {str(Path(folder, name)) for folder, _, names in os.walk(root) for name in names}
    linked = root / "genres_original" / "Jazz" / "linked"
    return found | set(map(str, linked.iterdir()))


def read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_training(messy: Path, tmp_path: Path):
    flags = SMALL_RUN | {
        "dataset": "folders",
        "data_dir": messy,
        "output_dir": tmp_path / "run",
        "max_failure_rate": 0.2,
    }
    result = run_script("train", *as_flags(**flags))
    assert "only one that holds music" in result.stdout and "2 .m4a files" in result.stdout
    base = messy / "genres_original"
    failures = {row["path"]: row for row in read_rows(tmp_path / "run" / "failures.csv")}
    for names, occurs in ((UNDECODABLE, True), (IN_PART, False)):
        for name, reason in names.items():
            assert reason in failures[str(base / name)]["reason"]
            assert (failures[str(base / name)]["occurrences"] != "0") == occurs
    assert len(failures) == len(UNDECODABLE) + len(IN_PART)
    # Each file is a clip that was used or failed, or is in the list of what was left out.
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert len(history) == 1
    left_out = {row["path"] for row in read_rows(tmp_path / "run" / "left_out.csv") if not row["path"].endswith("/")}
    clips = {path for path in files_on_disk(messy) if path not in left_out}
    assert left_out < files_on_disk(messy)
    counts = [
        int(number) for line in result.stdout.splitlines() if line.startswith(LABELS) for number in line.split()[1:]
    ]
    assert sum(counts) == len(clips)


def test_prediction(messy: Path, exported, tmp_path: Path):
    output, left_out = tmp_path / "predictions.csv", tmp_path / "left_out.csv"
    flags = as_flags(saved_model=exported["saved_model"], output=output, left_out=left_out)
    result = run_script("predict", *flags, str(messy), check=False)
    assert result.returncode == 1 and f"error: {len(UNDECODABLE) + 1} of" in result.stderr
    rows = {row["path"]: row for row in read_rows(output)}
    base = messy / "genres_original"
    for name, reason in UNDECODABLE.items():
        assert reason in rows[str(base / name)]["error"]
    for name, reason in IN_PART.items():
        assert reason in rows[str(base / name)]["remark"] and rows[str(base / name)]["label"]
    for name in SILENT:
        assert rows[str(base / name)]["remark"].startswith("no sound")
    assert sum(bool(row["error"]) for row in rows.values()) == len(UNDECODABLE) + 1  # the loose file is no music
    assert sum(bool(row["remark"]) for row in rows.values()) == len(IN_PART) + len(SILENT)
    listed = {row["path"] for row in read_rows(left_out) if not row["path"].endswith("/")}
    assert set(rows).isdisjoint(listed) and set(rows) | listed == files_on_disk(messy)
