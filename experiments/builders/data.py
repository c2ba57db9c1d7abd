"""From settings to a checked catalog and its failure ledger."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from experiments.console import progress
from experiments.settings import Settings
from pipeline.catalogs.catalog import SPLITS, Catalog, CatalogError, check_artists, check_splits, missing_files
from pipeline.catalogs.corrections import exclude_clips, relabel_clips
from pipeline.catalogs.duplicates import join_repeated_files, note_equal_files
from pipeline.catalogs.probe import leave_out_undecodable
from pipeline.catalogs.registry import load_source
from pipeline.failures import FailureLedger


def load_catalog(settings: Settings, needs_splits: bool = True) -> Catalog:
    """Loads the data set that the settings name, corrected by their tables; a missing demo set is made on the spot.

    Args:
        settings: of the run.
        needs_splits: whether every clip needs a split; if not, a label may have a single clip.

    Raises:
        ValueError: the data set cannot be used.
    """
    if not settings.data_dir:
        raise CatalogError("expected --data_dir, the place of the data set, received nothing")
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    name, data_dir = values.pop("dataset"), values.pop("data_dir")
    values["needs_splits"] = needs_splits
    catalog = load_source(
        name, data_dir, progress=lambda items, total: progress(items, total, f"{name} data"), **values
    )
    if settings.relabel_csv:
        catalog = relabel_clips(catalog, settings.relabel_csv)
    return exclude_clips(catalog, settings.exclude_csv) if settings.exclude_csv else catalog


def prepare(
    settings: Settings, splits: Sequence[str] = SPLITS, needs_splits: bool = True
) -> tuple[Catalog, FailureLedger]:
    """Loads a catalog, checks it, records missing files as failures, and prints what there is.

    Args:
        settings: of the run.
        splits: those that must not be empty; with training among them, artists and files must keep to one split.
        needs_splits: whether every clip needs a split; if not, a label may have a single clip.

    Raises:
        CatalogError: the data set cannot be used.
        FailureBudgetError: too many files are missing.
    """
    catalog, ledger = load_checked(settings, splits, needs_splits)
    print(describe(catalog))
    return catalog, ledger


def load_checked(settings: Settings, splits: Sequence[str], needs_splits: bool) -> tuple[Catalog, FailureLedger]:
    """Does what `prepare` does, and prints nothing."""
    catalog = load_catalog(settings, needs_splits)
    trains = "training" in splits
    if trains and not settings.allow_artist_leak:
        check_artists(catalog.tracks)
    catalog = join_repeated_files(catalog, one_split=trains, allow_leak=settings.allow_artist_leak)
    if settings.probe_csv:
        catalog = leave_out_undecodable(catalog, settings.probe_csv)
    missing = missing_files(catalog.tracks)
    if missing.all():
        raise CatalogError(
            f"expected the audio files that the tables name, found none of {len(missing)}, such as "
            f"{catalog.tracks['path'].iloc[0]}; check --data_dir and --subset, or unzip the audio there"
        )
    ledger = FailureLedger(len(catalog.tracks), settings.max_failure_rate)
    for path in catalog.tracks.loc[missing, "path"]:
        ledger.record(path, "file not found", occurrences=0)
    check_splits(catalog, splits)
    if trains:
        catalog = note_equal_files(catalog)
    if missing.any():
        note = f"{missing.sum()} clips will be skipped, because their files do not exist"
        catalog = dataclasses.replace(catalog, notes=(*catalog.notes, note))
    return catalog, ledger


def describe(catalog: Catalog) -> str:
    """Clips a label and split, and the catalog's notes, as text for the terminal."""
    width = max(len(label) for label in (*catalog.labels, "clips"))
    names = catalog.label_names(catalog.tracks)
    counts = Counter(zip(names, catalog.tracks["split"].reindex(names.index), strict=True))
    columns = {split: split for split in SPLITS} | ({"": "no split"} if (catalog.tracks["split"] == "").any() else {})
    lines = [f"{'clips':{width}}" + "".join(f"{shown:>12}" for shown in columns.values())]
    for label in catalog.labels:
        lines.append(f"{label:{width}}" + "".join(f"{counts[label, split]:>12}" for split in columns))
    return "\n".join([*lines, *(f"note: {note}" for note in catalog.notes)])
