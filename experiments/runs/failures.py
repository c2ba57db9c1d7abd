"""failures.csv: the files that could not be decoded, or not in full, written and read in one place."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from experiments.runs.csv_rows import read_rows, write_rows
from pipeline.catalogs.catalog import Catalog
from pipeline.catalogs.probe import probe_file
from pipeline.failures import FailureLedger

COLUMNS = ("track_id", "path", "split", "label", "reason", "occurrences")


def write_failures(csv_path: Path, ledger: FailureLedger, catalog: Catalog) -> None:
    """Writes failures.csv: track_id, path, split, label, reason, occurrences (crops asked for in vain).

    A file that could be decoded, but of which a part is not used, has 0 occurrences.
    """
    tracks = catalog.tracks.drop_duplicates("path").set_index("path")[["track_id", "split", "label"]]
    problems = {path: (failure.reason, failure.occurrences) for path, failure in ledger.failures.items()}
    problems |= {path: (remark, 0) for path, remark in ledger.remarks.items()}
    rows = []
    for path, problem in sorted(problems.items()):
        track_id, split, label = tracks.loc[path]
        rows.append((track_id, path, split, label, *problem))
    write_rows(csv_path, COLUMNS, rows)


def read_failures(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a failures.csv, each by the names of its columns; none if there is no such file."""
    what, who = "the run's undecodable files", "the next training or evaluation finds them again"
    return read_rows(path, COLUMNS, what, who)


def restore_failures(path: Path, ledger: FailureLedger, paths: Iterable[str]) -> None:
    """Records the failures that an earlier part of a run has written, except those of files repaired since then.

    Args:
        path: of the failures.csv.
        ledger: where they are recorded.
        paths: the clips of the run. An earlier part may have read its clips from elsewhere: those do not count.

    Raises:
        FailureBudgetError: too many files failed.
    """
    known = set(paths)
    for row in read_failures(path):
        if row["path"] in known and row["occurrences"] == "0":
            ledger.remark(row["path"], row["reason"])
        elif row["path"] in known and not probe_file(row["path"]).decodable:
            ledger.record(row["path"], row["reason"], int(row["occurrences"]))


def describe_failures(path: Path, ledger: FailureLedger, catalog: Catalog) -> str:
    """Returns one line that counts the undecodable files by label and names the file that lists them."""
    failed, remarks = ledger.failures, ledger.remarks
    parts = []
    if failed:
        tracks = catalog.tracks[catalog.tracks["path"].isin(failed)].drop_duplicates("path")
        labels = catalog.label_names(tracks).value_counts().sort_index()
        counts = ", ".join(f"{label} {count}" for label, count in labels.items())
        parts.append(f"{len(failed)} file{'s' * (len(failed) > 1)} could not be decoded ({counts})")
    if remarks:
        parts.append(f"of {len(remarks)} file{'s' * (len(remarks) > 1)} a part is not used")
    return f"{', '.join(parts)}: see {path}" if parts else "every file could be decoded"
