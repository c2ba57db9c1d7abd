"""Reads tables as people and spreadsheets write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.catalogs.catalog import COLUMNS, MAX_TEXT, CatalogError

_NAMES_OF_FILES = ("path", "track_id", "clip", "partner")  # columns whose fields need not be text


def read_table(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """Reads a CSV as text ("" where empty) and checks that it has the `needed` columns.

    It is in UTF-8, but for names of files, which need not be text: their other bytes are lone surrogates, as in `os.fsdecode`.
    A table may also be separated by semicolons or tabs, as spreadsheets write it; the case of its columns' names and spaces
    around them do not matter.

    Args:
        path: the table.
        needed: columns that must be there.

    Raises:
        CatalogError: it cannot be read, or lacks a column.
    """
    known = {name.lower(): name for name in (*COLUMNS, *needed)}
    try:
        if _holds_nul(path):  # at which the parser would end a field: another path than the table's
            raise CatalogError(f"expected a CSV table in UTF-8 at {path}, found NUL bytes in it; save it as UTF-8 text")
        table = pd.read_csv(
            path,
            sep=_separator(path, needed),
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            encoding_errors="surrogateescape",
        )
        for column in (name for name in map(str, table) if name.strip().lower() not in _NAMES_OF_FILES):
            "\n".join((column, *table[column])).encode()  # text: raises UnicodeEncodeError otherwise
    except FileNotFoundError:
        raise CatalogError(f"expected a table at {path}, found nothing there; check the path") from None
    except (OSError, UnicodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise CatalogError(f"expected a CSV table in UTF-8 at {path}, but it cannot be read: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):  # the first fields of each row have become its name
        raise CatalogError(
            f"expected as many fields in every row as in the header of {path}, found more in each; quote those with commas"
        )
    table.columns = [known.get(column.strip().lower(), column) for column in table.columns]
    if len(repeated := table.columns[table.columns.duplicated()]):
        raise CatalogError(
            f"expected each column once in {path}, found several of the name {repeated[0]!r}; rename or remove all but one"
        )
    absent = [column for column in needed if column not in table.columns]
    if absent:
        raise CatalogError(
            f"expected the columns {', '.join(needed)} in {path}, found no {' and no '.join(absent)} "
            f"(its columns: {', '.join(table.columns)}); add or rename them"
        )
    return table


def _holds_nul(path: Path) -> bool:
    with open(path, "rb") as file:
        return any(b"\0" in block for block in iter(lambda: file.read(1 << 20), b""))


def _separator(path: Path, needed: Sequence[str]) -> str:
    """What separates the fields of a table: a comma, unless its header has the needed columns between something else."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        header = file.readline(MAX_TEXT).lower()
    for separator in ",;\t":
        names = {name.strip().strip('"').strip() for name in header.split(separator)}
        if {name.lower() for name in needed} <= names and (separator == "," or "," not in header):
            return separator
    return ","
