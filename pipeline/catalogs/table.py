"""A CSV table of paths and labels as a catalog."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from pipeline.catalogs.catalog import Catalog, CatalogError, make_catalog
from pipeline.catalogs.read_table import read_table
from pipeline.catalogs.splits import complete_splits
from pipeline.catalogs.written_paths import WrittenPaths


def load_csv(
    table_path: str | Path,
    genres: Sequence[str] = (),
    seed: int = 0,
    multi_label: bool = False,
    needs_splits: bool = True,
) -> Catalog:
    """Loads a CSV with the columns `path` and `label`, and any of split, artist, album, title and track_id.

    A path that leads to no file as it is written leads to the one that it means in another spelling: with slashes for
    backslashes, without spaces at its end, with letters composed otherwise.

    Args:
        table_path: the table; its paths are absolute, or relative to its folder.
        genres: labels to keep, whatever their case; empty means all.
        seed: of the split, where the table has no column `split`.
        multi_label: whether a label may be several, as `Rock|Folk`.
        needs_splits: whether every clip needs a split; if not, a label may have a single clip.

    Returns:
        The catalog; its notes say how clips were split, unless the table says so.

    Raises:
        CatalogError: the table cannot be read, lacks a column or is empty.

    Example:
        >>> from pipeline.catalogs.table import load_csv
        >>> catalog = load_csv(csv_path, genres=["jazz", "rock"])
        >>> catalog.labels
        ('Jazz', 'Rock')
        >>> catalog.tracks["split"].nunique()
        3
    """
    table_path = Path(table_path)
    table = read_table(table_path, ("path", "label"))
    blank = table.index[(table["path"] == "") | (table["label"] == "")]
    if table.empty or len(blank):
        what = f"row {blank[0] + 2} without" if len(blank) else "no rows, so no"
        raise CatalogError(
            f"expected a path and a label in every row of {table_path}, found {what} one; mend the table"
        )
    written = [str(table_path.parent / path) for path in table["path"]]
    find = WrittenPaths(str(table_path.parent)).find
    paths = [find(path) or as_written for path, as_written in zip(table["path"], written, strict=True)]
    notes = []
    if respelled := sum(path != as_written for path, as_written in zip(paths, written, strict=True)):
        notes.append(f"{respelled} rows of {table_path.name} spell the path of their file otherwise than the disk does")
    tracks = table.assign(path=paths)
    if "track_id" not in tracks:
        tracks["track_id"] = table["path"]
    for column in tracks.columns.intersection(["artist", "album"]):  # so that an artist is one, however it is written
        tracks[column] = [unicodedata.normalize("NFC", name).strip() for name in tracks[column]]
    return complete_splits(make_catalog(tracks, genres, notes, multi_label), seed, needs_splits)
