"""What makes data the same: the labels, the clips of each split, and a digest of the table."""

from __future__ import annotations

import hashlib
from typing import Any

from pipeline.catalogs.catalog import SPLITS, Catalog


def data_identity(catalog: Catalog) -> dict[str, Any]:
    """Returns what data.json holds.

    Args:
        catalog: the data set of a run.

    Returns:
        {"labels": in class order, "clips": {split: number}, "sha256": of tracks, labels and splits}. Paths do not count: a
        run may go on where its files have moved.
    """
    digest = hashlib.sha256()
    for row in catalog.tracks[["track_id", "label", "split"]].itertuples(index=False):
        digest.update(repr(tuple(row)).encode())
    counts = catalog.tracks["split"].value_counts()
    return {
        "labels": list(catalog.labels),
        "clips": {split: int(counts.get(split, 0)) for split in SPLITS},
        "sha256": digest.hexdigest(),
    }
