"""What makes data the same: the labels, the clips of each split, and a digest of the table."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.catalogs.catalog import SPLITS, Catalog


def data_identity(catalog: Catalog) -> dict[str, Any]:
    """Returns what data.json holds.

    Args:
        catalog: the data set of a run.

    Returns:
        {"labels": in class order, "clips": {split: number}, "sha256": of tracks, labels and splits}. Paths do not count: a
        run may go on where its files have moved. Where a table without track ids names its clips by absolute paths, there
        is "moved_sha256" too, of these paths from their common folder on.
    """
    rows = list(catalog.tracks[["track_id", "label", "split"]].itertuples(index=False, name=None))
    counts = catalog.tracks["split"].value_counts()
    identity = {
        "labels": list(catalog.labels),
        "clips": {split: int(counts.get(split, 0)) for split in SPLITS},
        "sha256": _digest(rows),
    }
    if relative := _from_common_folder([row[0] for row in rows]):
        identity["moved_sha256"] = _digest((path, *row[1:]) for path, row in zip(relative, rows, strict=True))
    return identity


def same_data(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Returns whether two data sets are the same, as `data_identity` describes them, wherever their files lie."""
    if any(old.get(name) != new.get(name) for name in ("labels", "clips")):
        return False
    return any(old.get(name) == new.get(name) is not None for name in ("sha256", "moved_sha256"))


def _digest(rows: Iterable[tuple]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()


def _from_common_folder(track_ids: Sequence[Any]) -> list[str]:
    """Returns the paths that name tracks from their common folder on; nothing if tracks are named in another way."""
    if not track_ids or not all(isinstance(name, str) and name.startswith("/") for name in track_ids):
        return []
    folder = os.path.commonpath([name.rpartition("/")[0] for name in track_ids])
    return [os.path.relpath(name, folder) for name in track_ids]
