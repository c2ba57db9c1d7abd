"""Seeded training/validation/test splits: stratified by label, artists kept together."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from pipeline.catalog import CatalogError

_MAX_FOLDS = 10


def assign_splits(tracks: pd.DataFrame, labels: pd.Series, seed: int = 0) -> tuple[pd.Series, str]:
    """Splits clips in about 80 % training, 10 % validation and 10 % test.

    Clips of one artist (of one album, where only that is known) stay together. With fewer than ten artists a label
    the two smaller splits grow to a share that still gives each label something. A clip with several labels counts as
    one of its rarest.

    Args:
        tracks: rows with artist and album.
        labels: each row's labels, under its index (`Catalog.label_names`).
        seed: of the split.

    Returns:
        The split of each row, and a sentence that says how it was made.

    Raises:
        CatalogError: a label has too few clips or artists for three splits.
    """
    grouped = bool((tracks["artist"] != "").any() or (tracks["album"] != "").any())
    group = artist_groups(tracks)
    group_counts = group.reindex(labels.index).groupby(labels.to_numpy()).nunique()
    scarce = group_counts[group_counts < 3]
    if len(scarce):
        unit = "artists" if grouped else "clips"
        found = ", ".join(f"{label} ({count})" for label, count in scarce.items())
        raise CatalogError(
            f"expected at least 3 {unit} for every label (one each for training, validation and test), found fewer "
            f"for: {found}; add some, leave the label out of --genres, or give a table with a split column"
        )
    folds = int(min(_MAX_FOLDS, group_counts.min()))
    splitter = (StratifiedGroupKFold if grouped else StratifiedKFold)(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # the rarest label of fewer clips than parts
        parts = list(splitter.split(np.zeros(len(tracks)), _rarest(labels), group if grouped else None))
    split = pd.Series("training", index=tracks.index)
    for name, (_, rows) in zip(("test", "validation"), parts, strict=False):
        split.iloc[rows] = name
    how = "artists (or albums) kept together" if grouped else "clip by clip, because no table names the artists"
    return split, f"split by seed {seed} into {folds} parts, one each for validation and test: {how}"


def _rarest(labels: pd.Series) -> pd.Series:
    """The rarest label of each row."""
    counts = labels.map(labels.value_counts()).to_numpy()
    by_rarity = labels.iloc[np.argsort(counts, kind="stable")]
    return by_rarity[~by_rarity.index.duplicated()].sort_index()


def artist_groups(tracks: pd.DataFrame) -> pd.Series:
    """The group of each row: its artist, its album where only that is known, or else itself."""
    own = pd.Series([f"clip {i}" for i in range(len(tracks))], index=tracks.index)
    return ("artist " + tracks["artist"]).where(
        tracks["artist"] != "", ("album " + tracks["album"]).where(tracks["album"] != "", own)
    )
