"""left_out.csv comes back as it was written, whatever the names are."""

from pathlib import Path

import pytest

from experiments.runs.left_out import describe_left_out, read_left_out, write_left_out
from pipeline.storage.left_out import LeftOut


def test_what_is_written_is_read(tmp_path: Path):
    items = [
        LeftOut(f"/music/{name}", f"because of {name}") for name in ("a, b.mp3", 'q"\n.mp3', "caf\udce9.mp3", "Jazz/")
    ]
    path = tmp_path / "left_out.csv"
    write_left_out(path, items)
    assert read_left_out(path) == [{"path": item.path, "reason": item.reason} for item in items]
    assert describe_left_out(path, items) == f"; not used: 3 files and 1 folder: see {path}"
    write_left_out(path, [])
    assert read_left_out(path) == [] and describe_left_out(path, []) == ""


def test_a_run_from_before_has_none_and_a_damaged_one_is_named(tmp_path: Path):
    assert read_left_out(tmp_path / "left_out.csv") == []
    (tmp_path / "left_out.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match=r"left_out\.csv, but they cannot be read: no column path, reason; remove it"):
        read_left_out(tmp_path / "left_out.csv")
