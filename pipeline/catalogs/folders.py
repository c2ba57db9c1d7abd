"""Any folder of music as a catalog: `root/<label>/**/*.mp3`, or a CSV table of paths and labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.catalogs.catalog import SPLITS, Catalog, CatalogError, make_catalog, read_table
from pipeline.catalogs.splits import assign_splits
from pipeline.storage.audio_files import AUDIO_SUFFIXES, find_audio

METADATA_FILE = "metadata.csv"
_SPLIT_NAMES = {name: name for name in SPLITS} | {"train": "training", "val": "validation", "valid": "validation"}


def load_folders(root: str | Path, genres: Sequence[str] = (), seed: int = 0, multi_label: bool = False) -> Catalog:
    """Loads `root/<label>/**/<file>`: the first folder's name is the label.

    A table `root/metadata.csv` with the column `path` (relative to root) and any of artist, album, title, split and
    track_id adds to it; artists, or else albums, then stay in one split.

    Args:
        root: folder of label folders.
        genres: labels to keep, whatever their case; empty means all.
        seed: of the split, where no table gives one.
        multi_label: whether a folder's name may be several labels, as `Rock|Folk`.

    Raises:
        CatalogError: no such folder, no audio, or too few clips of a label.
    """
    root = Path(root)
    if not root.is_dir():
        raise CatalogError(f"expected a folder of label folders at {root}, found none; check --data_dir")
    files = find_audio(root, "*/**/*")
    if not files:
        raise CatalogError(
            f"expected audio files as {root}/<label>/…/<name>.mp3, found none; check --data_dir "
            f"(files read: {', '.join(sorted(AUDIO_SUFFIXES))})"
        )
    relative = [file.relative_to(root) for file in files]
    tracks = pd.DataFrame(
        {
            "track_id": [str(path) for path in relative],
            "path": [str(file) for file in files],
            "label": [path.parts[0] for path in relative],
        }
    )
    if (root / METADATA_FILE).is_file():
        metadata = read_table(root / METADATA_FILE, ("path",))
        known = [column for column in ("artist", "album", "title", "split") if column in metadata.columns]
        rows = metadata.drop_duplicates("path").set_index("path")[known]
        tracks = tracks.join(rows, on="track_id")
    return _finish(tracks, genres, seed, multi_label)


def load_csv(table_path: str | Path, genres: Sequence[str] = (), seed: int = 0, multi_label: bool = False) -> Catalog:
    """Loads a CSV with the columns `path` and `label`, and any of split, artist, album, title and track_id.

    Args:
        table_path: the table; its paths are absolute, or relative to its folder.
        genres: labels to keep, whatever their case; empty means all.
        seed: of the split, where the table has no column `split`.
        multi_label: whether a label may be several, as `Rock|Folk`.

    Raises:
        CatalogError: the table cannot be read, lacks a column or is empty.
    """
    table_path = Path(table_path)
    table = read_table(table_path, ("path", "label"))
    blank = table.index[(table["path"] == "") | (table["label"] == "")]
    if table.empty or len(blank):
        what = f"row {blank[0] + 2} without" if len(blank) else "no rows, so no"
        raise CatalogError(
            f"expected a path and a label in every row of {table_path}, found {what} one; mend the table"
        )
    tracks = table.assign(path=[str(table_path.parent / path) for path in table["path"]])
    if "track_id" not in tracks:
        tracks["track_id"] = table["path"]
    return _finish(tracks, genres, seed, multi_label)


def _finish(tracks: pd.DataFrame, genres: Sequence[str], seed: int, multi_label: bool) -> Catalog:
    catalog = make_catalog(tracks, genres, (), multi_label)
    tracks = catalog.tracks
    split = tracks["split"].fillna("").str.strip().str.lower()
    if (split == "").all():
        split, note = assign_splits(tracks, catalog.label_names(tracks), seed)
        return dataclasses.replace(catalog, tracks=tracks.assign(split=split), notes=(*catalog.notes, note))
    unknown = sorted(set(split) - set(_SPLIT_NAMES))
    if unknown:
        found = ", ".join(repr(name) for name in unknown)
        raise CatalogError(
            f"expected every split to be one of {', '.join(_SPLIT_NAMES)}, found {found}; mend the table"
        )
    return dataclasses.replace(catalog, tracks=tracks.assign(split=split.map(_SPLIT_NAMES)))
