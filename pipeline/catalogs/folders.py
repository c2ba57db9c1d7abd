"""A folder of music as a catalog: `root/<label>/**/*.mp3`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.catalogs.catalog import Catalog, CatalogError, make_catalog, read_table
from pipeline.catalogs.splits import complete_splits
from pipeline.storage.audio_files import AUDIO_SUFFIXES, find_audio

METADATA_FILE = "metadata.csv"


def load_folders(root: str | Path, genres: Sequence[str] = (), seed: int = 0, multi_label: bool = False) -> Catalog:
    """Loads `root/<label>/**/<file>`: the first folder's name is the label.

    A table `root/metadata.csv` with the column `path` (relative to root) and any of artist, album, title, split and
    track_id adds to it; artists, or else albums, then stay in one split.

    Args:
        root: folder of label folders.
        genres: labels to keep, whatever their case; empty means all.
        seed: of the split, where no table gives one.
        multi_label: whether a folder's name may be several labels, as `Rock|Folk`.

    Returns:
        The catalog; its notes say how clips were split.

    Raises:
        CatalogError: no such folder, no audio, or too few clips of a label.

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
    return complete_splits(make_catalog(tracks, genres, (), multi_label), seed)
