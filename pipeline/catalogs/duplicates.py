"""The same file twice in a data set: by its path, or byte for byte under another one."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from pipeline.catalogs.catalog import Catalog, CatalogError
from pipeline.storage.clips import find_record_span
from pipeline.storage.files import hash_file
from pipeline.storage.left_out import LeftOut, quote_names

_SAMPLE_BYTES = 4096
_READERS = 8
_MOST_PAIRS = 10


class ClipLeakError(CatalogError):
    """The same file in more than one split."""


def join_repeated_files(catalog: Catalog, one_split: bool = True, allow_leak: bool = False) -> Catalog:
    """Keeps one row of each file, and refuses files that several rows say different things of.

    Paths are of one file if they are equal without `.`, `..` and links. Of clips in record shards the paths count that they
    were packed from.

    Args:
        catalog: any.
        one_split: whether it matters that a file is in several splits.
        allow_leak: whether a file may be in several splits or under several labels all the same; its rows then stay.

    Returns:
        The catalog with one row for each file; notes name the files that others named again.

    Raises:
        CatalogError: a file has several labels.
        ClipLeakError: a file is in several splits.
    """
    tracks = catalog.tracks
    rows = pd.DataFrame(
        {"file": _file_ids(tracks["path"]), "label": tracks["label"], "split": tracks["split"]}, index=tracks.index
    )
    again = rows[rows["file"].duplicated(keep=False)]
    if again.empty:
        return catalog
    several = again.groupby("file")[["label", "split"]].nunique() > 1
    notes = list(catalog.notes)
    if len(files := several.index[several["label"]]):
        if not allow_leak:
            raise CatalogError(
                f"expected every file under one label, found {len(files)} under several: {quote_names(files)}; correct the "
                "table; or, with --multi_label, write the labels of a file in one row, as Rock|Folk; or allow it with "
                "--allow_artist_leak"
            )
        notes.append(f"{len(files)} files are under several labels: {quote_names(files)}")
    if one_split and len(files := several.index[several["split"]]):
        if not allow_leak:
            raise ClipLeakError(
                f"expected every file in one split only, found {len(files)} in several: {quote_names(files)}; mend the "
                "splits, or allow it with --allow_artist_leak"
            )
        notes.append(f"{len(files)} files are in several splits: {quote_names(files)}")
    extra = rows.duplicated()
    if extra.any():
        named = rows.loc[extra, "file"].unique()
        notes.append(f"{extra.sum()} rows name a file a second time, which counts once: {quote_names(named)}")
    kept_paths = set(tracks.loc[~extra, "path"])
    repeated = [
        LeftOut(path, f"the same file as {file}, which another row names")
        for path, file in zip(tracks.loc[extra, "path"], rows.loc[extra, "file"], strict=True)
        if path not in kept_paths
    ]
    return dataclasses.replace(
        catalog,
        tracks=tracks[~extra].reset_index(drop=True),
        notes=tuple(notes),
        left_out=(*catalog.left_out, *repeated),
    )


def note_equal_files(catalog: Catalog) -> Catalog:
    """Adds a note that names files which equal another one byte for byte, in another split or under another label.

    Only files of one size that stand in different splits or under different labels are read: a few kilobytes of each, and
    then all of those that agree in them. Clips in record shards are left aside: a bucket would be read for them, and the
    files have been compared if they were packed from a catalog that was trained on.
    """
    tracks = catalog.tracks
    local = [path for path in tracks["path"] if find_record_span(path) is None]
    table = tracks.loc[tracks["path"].isin(local), ["path", "split", "label"]].drop_duplicates("path")
    table["digest"] = [_size(path) for path in table["path"]]
    table = table[table["digest"] > 0]
    for read in (_read_sample, _read_digest):
        table = _standing_apart(table)
        with ThreadPoolExecutor(_READERS) as pool:
            table = table.assign(digest=list(pool.map(read, table["path"])))
        table = table[table["digest"] != ""]
    table = _standing_apart(table)
    if table.empty:
        return catalog
    groups = [group for _, group in table.groupby("digest", sort=False)]
    shown = "; ".join(
        " = ".join(f"{row.path!r} ({row.label}, {row.split})" for row in group.head(_MOST_PAIRS).itertuples())
        for group in groups[:_MOST_PAIRS]
    )
    more = f"; and {len(groups) - _MOST_PAIRS} more" if len(groups) > _MOST_PAIRS else ""
    note = (
        f"{len(table)} files equal others byte for byte, which are in another split or under another label; they make scores "
        f"look better or worse than they are: {shown}{more}"
    )
    return dataclasses.replace(catalog, notes=(*catalog.notes, note))


def find_equal_files(paths: Iterable[str]) -> list[list[str]]:
    """Finds files that equal one another byte for byte.

    Only files of one size are read: a few kilobytes of each, and then all of those that agree in them. Clips in record shards
    are left aside, as in `note_equal_files`.

    Args:
        paths: of files, each once.

    Returns:
        Groups of at least two paths, in the order of `paths`.
    """
    readers: tuple[Callable[[str], int | str], ...] = (_size, _read_sample, _read_digest)
    groups: dict[int | str, list[str]] = {"": [path for path in paths if find_record_span(path) is None]}
    for read in readers:
        candidates = [path for group in groups.values() for path in group]
        with ThreadPoolExecutor(_READERS) as pool:
            digests = list(pool.map(read, candidates))
        groups = {}
        for path, digest in zip(candidates, digests, strict=True):
            if digest:  # 0 or "": empty, or cannot be read
                groups.setdefault(digest, []).append(path)
        groups = {digest: group for digest, group in groups.items() if len(group) > 1}
    return list(groups.values())


def _standing_apart(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose digest occurs in several splits or under several labels."""
    if table.empty:
        return table
    groups = table.groupby("digest")
    return table[(groups["split"].transform("nunique") > 1) | (groups["label"].transform("nunique") > 1)]


def _file_ids(paths: Iterable[str]) -> list[str]:
    """What is the same for paths of the same file: the path, without `.`, `..` and links.

    Links are looked up only where two paths lead to one inode, because that costs more than all else.
    """
    names, inodes = [], []
    for path in paths:
        span = find_record_span(path)
        name = path if span is None else span.original
        names.append(os.path.normpath(name) if "://" not in name else name)
        try:
            status = os.stat(path) if span is None else None
        except (OSError, ValueError):  # missing, remote, or no path at all
            status = None
        inodes.append((status.st_dev, status.st_ino) if status else None)
    counts = Counter(inodes)
    return [
        os.path.realpath(name) if inode and counts[inode] > 1 else name
        for name, inode in zip(names, inodes, strict=True)
    ]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0


def _read_sample(path: str) -> str:
    """A digest of a file's size and of a few kilobytes from its middle, where tags are not; "" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, (size - _SAMPLE_BYTES) // 2))
            return f"{size} {hashlib.sha256(file.read(_SAMPLE_BYTES)).hexdigest()}"
    except OSError:
        return ""


def _read_digest(path: str) -> str:
    """A digest of all of a file; "" if it cannot be read."""
    try:
        size, digest = hash_file(path)
    except OSError:
        return ""
    return f"{size} {digest}"
