"""left_out.csv: the files that a data set does not use, written and read in one place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.runs.csv_rows import read_rows, write_rows
from pipeline.storage.left_out import LeftOut

COLUMNS = ("path", "reason")


def write_left_out(path: Path, left_out: Sequence[LeftOut]) -> None:
    """Writes left_out.csv: path (of a folder with a slash at its end) and reason."""
    write_rows(path, COLUMNS, ((item.path, item.reason) for item in left_out))


def read_left_out(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a left_out.csv, each by the names of its columns; none if there is no such file."""
    what, who = "the files that the run does not use", "the next training or evaluation writes it again"
    return read_rows(path, COLUMNS, what, who)


def describe_left_out(path: Path, left_out: Sequence[LeftOut]) -> str:
    """Returns the end of a line that counts what is left out and names the file that lists it; "" if there is nothing."""
    if not left_out:
        return ""
    folders = sum(item.is_folder for item in left_out)
    files = len(left_out) - folders
    counts = [f"{count} {what}{'s' * (count > 1)}" for count, what in ((files, "file"), (folders, "folder")) if count]
    return f"; not used: {' and '.join(counts)}: see {path}"
