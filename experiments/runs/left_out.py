"""left_out.csv: the files that a data set does not use, written and read in one place."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from pipeline.storage.atomic import atomic_write
from pipeline.storage.left_out import LeftOut

COLUMNS = ("path", "reason")


def write_left_out(path: Path, left_out: Sequence[LeftOut]) -> None:
    """Writes left_out.csv: path (of a folder with a slash at its end) and reason."""
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((item.path, item.reason) for item in left_out)


def read_left_out(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a left_out.csv, each by the names of its columns; none if there is no such file."""
    if not path.is_file():
        return []
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = csv.DictReader(file)
            if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                raise ValueError(f"no column {', '.join(missing)}")
            return list(rows)
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(
            f"expected the files that the run does not use in {path}, but they cannot be read: {error}; remove it, and the "
            "next training or evaluation writes it again"
        ) from error


def describe_left_out(path: Path, left_out: Sequence[LeftOut]) -> str:
    """Returns the end of a line that counts what is left out and names the file that lists it; "" if there is nothing."""
    if not left_out:
        return ""
    folders = sum(item.is_folder for item in left_out)
    files = len(left_out) - folders
    counts = [f"{count} {what}{'s' * (count > 1)}" for count, what in ((files, "file"), (folders, "folder")) if count]
    return f"; not used: {' and '.join(counts)}: see {path}"
