"""Small tables of a run, whose paths need not be text: written whole, and read with one message for whatever is wrong."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.storage.atomic import atomic_write


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file with these columns."""
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def read_rows(path: Path, columns: Sequence[str], what: str, who: str) -> list[dict[str, str]]:
    """Reads a CSV file.

    Args:
        path: of the file.
        columns: that it must have.
        what: it holds, for the message.
        who: writes it again, for the message.

    Returns:
        Its rows, each by the names of the columns; none if there is no such file.

    Raises:
        ValueError: it cannot be read, or lacks a column.
    """
    if not path.is_file():
        return []
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = csv.DictReader(file)
            if missing := [name for name in columns if name not in (rows.fieldnames or ())]:
                raise ValueError(f"no column {', '.join(missing)}")
            return list(rows)
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(
            f"expected {what} in {path}, but they cannot be read: {error}; remove it, and {who}"
        ) from error
