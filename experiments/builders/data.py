"""From settings to a checked catalog and its failure ledger."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.console import progress
from experiments.settings import Settings
from pipeline.catalogs.catalog import SPLITS, Catalog, CatalogError, check_artists, check_splits, missing_files
from pipeline.catalogs.fma import load_fma
from pipeline.catalogs.folders import load_csv, load_folders
from pipeline.catalogs.probe import leave_out_undecodable, probe_file
from pipeline.catalogs.records import load_records
from pipeline.demo.dataset import write_demo_data
from pipeline.failures import FailureLedger
from pipeline.storage.atomic import written_whole

FAILURES_FILE = "failures.csv"


def load_catalog(settings: Settings) -> Catalog:
    """Loads the data set that the settings name; a missing demo set is made on the spot."""
    if not settings.data_dir:
        raise CatalogError("expected --data_dir, the place of the data set, received nothing")
    if settings.dataset == "folders":
        return load_folders(settings.data_dir, settings.genres, settings.seed, settings.multi_label)
    if settings.dataset == "csv":
        return load_csv(settings.data_dir, settings.genres, settings.seed, settings.multi_label)
    if settings.dataset == "records":
        return load_records(settings.data_dir, settings.genres, settings.multi_label)
    if settings.dataset == "demo":
        write_demo_data(settings.data_dir, progress=lambda items, total: progress(items, total, "demo data"))
    return load_fma(
        settings.data_dir, settings.subset, settings.genres, settings.keep_known_bad_clips, settings.multi_label
    )


def prepare(settings: Settings, splits: Sequence[str] = SPLITS) -> tuple[Catalog, FailureLedger]:
    """Loads a catalog, checks it, records missing files as failures, and prints what there is.

    Args:
        settings: of the run.
        splits: those that must not be empty; with training among them, artists must keep to one split.

    Raises:
        CatalogError: the data set cannot be used.
        FailureBudgetError: too many files are missing.
    """
    catalog = load_catalog(settings)
    if "training" in splits and not settings.allow_artist_leak:
        check_artists(catalog.tracks)
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
    print(describe(catalog))
    if missing.any():
        print(f"note: {missing.sum()} clips will be skipped, because their files do not exist")
    return catalog, ledger


def describe(catalog: Catalog) -> str:
    """Clips a label and split, and the catalog's notes, as text for the terminal."""
    width = max(len(label) for label in (*catalog.labels, "clips"))
    names = catalog.label_names(catalog.tracks)
    counts = Counter(zip(names, catalog.tracks["split"].reindex(names.index), strict=True))
    lines = [f"{'clips':{width}}" + "".join(f"{split:>12}" for split in SPLITS)]
    for label in catalog.labels:
        lines.append(f"{label:{width}}" + "".join(f"{counts[label, split]:>12}" for split in SPLITS))
    return "\n".join([*lines, *(f"note: {note}" for note in catalog.notes)])


def describe_failures(path: Path, ledger: FailureLedger, catalog: Catalog) -> str:
    """One line that counts the undecodable files by label and names the file that lists them."""
    failed = ledger.failures
    if not failed:
        return "every file could be decoded"
    labels = catalog.label_names(catalog.tracks[catalog.tracks["path"].isin(failed)].drop_duplicates("path"))
    counts = ", ".join(f"{label} {count}" for label, count in labels.value_counts().sort_index().items())
    return f"{len(failed)} file{'s' * (len(failed) > 1)} could not be decoded ({counts}): see {path}"


def write_failures(path: Path, ledger: FailureLedger, catalog: Catalog) -> None:
    """Writes failures.csv: track_id, path, split, label, reason, occurrences (crops asked for in vain)."""
    rows = catalog.tracks.drop_duplicates("path").set_index("path")[["track_id", "split", "label"]]
    with (
        written_whole(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("track_id", "path", "split", "label", "reason", "occurrences"))
        for failed, failure in ledger.failures.items():
            track_id, split, label = rows.loc[failed]
            writer.writerow((track_id, failed, split, label, failure.reason, failure.occurrences))


def read_failures(path: Path, ledger: FailureLedger, paths: Iterable[str]) -> None:
    """Takes up the failures of these files that an earlier part of the run has written, unless they are repaired."""
    if not path.is_file():
        return
    known = set(paths)  # an earlier part may have read its clips from elsewhere
    for row in failure_rows(path):
        if row["path"] in known and not probe_file(row["path"]).decodable:
            ledger.record(row["path"], row["reason"], int(row["occurrences"]))


def failure_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a failures.csv, each by the names of its columns."""
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))
