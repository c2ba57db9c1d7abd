"""The table beside a folder of music, which names artists, albums, titles and splits."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.catalogs.catalog import CatalogError
from pipeline.catalogs.read_table import read_table
from pipeline.catalogs.written_paths import path_key
from pipeline.storage.left_out import quote_names

METADATA_FILE = "metadata.csv"
_COLUMNS = ("artist", "album", "title", "split")
_LEAST_MATCHED = 0.9


@dataclasses.dataclass(frozen=True)
class Metadata:
    """A table, joined to files.

    Attributes:
        table: its path.
        columns: artist, album, title and split, as far as the table has them, by the files that have a row.
        notes: how rows and files fit, one sentence each.
        unmatched: the paths of rows that no file belongs to.
    """

    table: Path
    columns: pd.DataFrame
    notes: tuple[str, ...]
    unmatched: tuple[str, ...]

    def check_coverage(self, files: Sequence[str]) -> list[str]:
        """Refuses a table that says nothing of many files: their artists would stand in several splits.

        Args:
            files: those that are used.

        Returns:
            A note, if a few files have no row.

        Raises:
            CatalogError: fewer than nine in ten files have a row.
        """
        known = set(self.columns.index)
        without = [file for file in files if file not in known]
        if len(files) - len(without) < _LEAST_MATCHED * len(files):
            rows = f", and {len(self.unmatched)} rows without a file: {quote_names(self.unmatched, 3)}"
            raise CatalogError(
                f"expected a row in {self.table} for at least nine in ten of the {len(files)} files, found "
                f"{len(files) - len(without)}; there is none for {quote_names(without, 3)}{rows if self.unmatched else ''}; "
                "write the paths as they are below the folder, add rows, or take the table away"
            )
        if not without:
            return []
        return [f"{len(without)} files have no row in {self.table.name}: {quote_names(without)}"]


def join_metadata(table_path: Path, root: Path, base: str, files: Sequence[str]) -> Metadata:
    """Finds the row of each file, whatever slashes, spaces and composition of letters its path is written with.

    Args:
        table_path: the table; it has the column `path`.
        root: the folder of the files.
        base: the folder of the label folders below it, as "genres/", or "".
        files: relative to root.

    Raises:
        CatalogError: the table cannot be read, or two of its rows say different things of one file.
    """
    table = read_table(table_path, ("path",))
    table = table[[name for name in ("path", *_COLUMNS) if name in table.columns]]
    find = _Finder(root, base, files)
    found = [find(path) for path in table["path"]]
    table = table.assign(file=pd.Series(found, table.index, dtype=object))
    matched = table[table["file"].notna()].copy()
    columns = matched.columns.drop(["path", "file"])
    for column in columns:
        matched[column] = matched[column].str.strip()
    rows = matched.drop_duplicates(["file", *columns])
    if len(twice := rows.loc[rows["file"].duplicated(), "file"].unique()):
        raise CatalogError(
            f"expected one row for each file in {table_path}, found rows that say different things of {len(twice)} files: "
            f"{quote_names(twice)}; mend the table"
        )
    notes = []
    unmatched = tuple(table.loc[table["file"].isna(), "path"])
    if unmatched:
        notes.append(
            f"rows of {table_path.name} without a file that is read: {len(unmatched)}, {quote_names(unmatched)}"
        )
    if respelled := sum(path != file for path, file in zip(matched["path"], matched["file"], strict=True)):
        notes.append(f"{respelled} rows of {table_path.name} spell the path of their file otherwise than the disk does")
    if len(rows) < len(matched):
        notes.append(f"{len(matched) - len(rows)} rows of {table_path.name} repeat another one")
    return Metadata(table_path, rows.set_index("file")[list(columns)], tuple(notes), unmatched)


class _Finder:
    """Finds the file that a path in the table means: as it is written, or else in another spelling."""

    def __init__(self, root: Path, base: str, files: Sequence[str]) -> None:
        self._files = set(files)
        self._by_key: dict[str, list[str]] = {}
        for file in files:
            self._by_key.setdefault(path_key(file), []).append(file)
        self._base = path_key(base)
        absolute = path_key(str(root.absolute()))
        self._roots = {absolute, path_key(str(root.resolve())), path_key(str(root))} - {".", "/"}
        self._name = absolute.rpartition("/")[2]

    def __call__(self, path: str) -> str | None:
        if path in self._files:
            return path
        key = path_key(path)
        for candidate in self._candidates(key):
            if files := self._by_key.get(candidate):
                return files[0] if len(files) == 1 else None  # two files whose names differ by composition only
        return None

    def _candidates(self, key: str) -> list[str]:
        below = [key.removeprefix(root + "/") for root in self._roots if key.startswith(root + "/")]
        if key.startswith("/"):
            return below
        # Relative to the folder, to that of the labels, or to the one that holds the folder.
        return [key, posixpath.join(self._base, key), *below, key.removeprefix(self._name + "/")]
