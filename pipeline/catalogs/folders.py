"""A folder of music as a catalog: `root/<label>/**/*.mp3`."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.catalogs.catalog import Catalog, CatalogError, make_catalog
from pipeline.catalogs.label_folders import find_label_folders, labels_without_audio
from pipeline.catalogs.metadata import METADATA_FILE, Metadata, join_metadata
from pipeline.catalogs.splits import complete_splits, find_split_name, split_off_training
from pipeline.storage.audio_files import FoundAudio, find_audio, join_root, list_endings
from pipeline.storage.left_out import Kind, LeftOut, describe_left_out, quote_names


def load_folders(
    root: str | Path, genres: Sequence[str] = (), seed: int = 0, multi_label: bool = False, needs_splits: bool = True
) -> Catalog:
    """Loads `root/<label>/**/<file>`: the first folder's name is the label.

    A single folder that holds all others is gone through, and folders named as splits (`train/`, `test/`) are splits of the
    labels in them. A table `root/metadata.csv` with the column `path` (relative to root) and any of artist, album, title
    and split adds to it; artists, or else albums, then stay in one split.

    Args:
        root: folder of label folders.
        genres: labels to keep, whatever their case; empty means all.
        seed: of the split, where no table and no folder gives one.
        multi_label: whether a folder's name may be several labels, as `Rock|Folk`.
        needs_splits: whether every clip needs a split; if not, a label may have a single clip.

    Returns:
        The catalog; its notes say how clips were split and count what was left out, and `left_out` names every other file.

    Raises:
        CatalogError: no such folder, no audio, too few clips of a label, or a table that does not fit.

    Example:
        >>> from pipeline.catalogs.folders import load_folders
        >>> catalog = load_folders(folders_dir, seed=1)
        >>> catalog.labels
        ('Jazz', 'Rock')
        >>> len(catalog.split("all"))
        6
    """
    root = Path(root)
    if not root.is_dir():
        raise CatalogError(f"expected a folder of label folders at {root}, found none; check --data_dir")
    try:
        found = find_audio(root)
    except OSError as error:
        raise CatalogError(
            f"expected a folder that can be read at {root}: {error.strerror}; check --data_dir"
        ) from error
    folders = find_label_folders(str(root), found, genres)
    labels = {file: label for file in found.files if (label := folders.find_label(file)) is not None}
    left_out = _left_out(root, found, labels, labels_without_audio(str(root), found, folders))
    if not labels:
        raise CatalogError(
            f"expected audio files as {root}/<label>/…/<name>.mp3, found none; check --data_dir "
            f"({describe_left_out(left_out) or 'the folder is empty'}; files read: {list_endings()})"
        )
    tracks = pd.DataFrame(
        {
            "track_id": list(labels),
            "path": [join_root(root, file) for file in labels],
            "label": list(labels.values()),
            "split": [folders.find_split(file) for file in labels],
        }
    )
    metadata = None
    for folder in dict.fromkeys((root, root.joinpath(*folders.base))):
        if (folder / METADATA_FILE).is_file() and metadata is None:
            metadata = join_metadata(folder / METADATA_FILE, root, "/".join(folders.base), list(labels))
            left_out = [
                item._replace(reason="read for artists, albums, titles and splits", kind=Kind.NOTED)
                if item.path == str(folder / METADATA_FILE)
                else item
                for item in left_out
            ]
            tracks = _add_columns(tracks, metadata)
    notes = [*folders.notes, *(metadata.notes if metadata else ())]
    if note := describe_left_out(left_out):
        notes.append(note)
    catalog = make_catalog(tracks, genres, notes, multi_label, left_out)
    if metadata:
        more = metadata.check_coverage(catalog.tracks["track_id"].tolist())
        catalog = dataclasses.replace(catalog, notes=(*catalog.notes, *more))
    if len(catalog.labels) == 1 and not genres:
        note = (
            f"{catalog.labels[0]!r} is the only label; to tell several apart, name the folder that holds one for each"
        )
        catalog = dataclasses.replace(catalog, notes=(*catalog.notes, note))
    catalog = complete_splits(catalog, seed, needs_splits)
    has_splits = folders.has_splits or folders.splits_below
    return split_off_training(catalog, seed) if has_splits and needs_splits else catalog


def _left_out(root: Path, found: FoundAudio, labels: dict[str, str], empty: list[LeftOut]) -> list[LeftOut]:
    """Everything in the folder that is no clip."""
    outside = [
        LeftOut(join_root(root, file), "audio, but in no label folder", Kind.OUTSIDE)
        for file in found.files
        if file not in labels
    ]
    return [*found.left_out, *outside, *empty]


def _add_columns(tracks: pd.DataFrame, metadata: Metadata) -> pd.DataFrame:
    """Adds what the table says of each file.

    Raises:
        CatalogError: a file's split is another in the table than by its folder.
    """
    added = metadata.columns.reindex(tracks["track_id"]).fillna("").set_axis(tracks.index)
    for column in added.columns.intersection(
        ["artist", "album"]
    ):  # so that an artist is one, however the name is composed
        added[column] = [unicodedata.normalize("NFC", name) for name in added[column]]
    if "split" in added:
        both = (added["split"] != "") & (tracks["split"] != "")
        named = added["split"].map(lambda name: find_split_name(name) or name)
        if (wrong := both & (named != tracks["split"])).any():
            raise CatalogError(
                f"expected the splits of {metadata.table} as the folders have them, found others for {wrong.sum()} files: "
                f"{quote_names(tracks.loc[wrong, 'track_id'])}; mend the table, or take its column split away"
            )
        added["split"] = added["split"].where(added["split"] != "", tracks["split"])
        tracks = tracks.drop(columns="split")
    return tracks.join(added)
