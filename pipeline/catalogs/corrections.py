"""Corrections of a data set by tables of clips: which ones to leave out, and which ones to give another label."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pandas as pd

from pipeline.catalogs.catalog import LABEL_SEPARATOR, Catalog, CatalogError, join_labels, resolve_name
from pipeline.catalogs.read_table import read_table
from pipeline.storage.clips import find_record_span
from pipeline.storage.left_out import LeftOut

_CLIP_COLUMNS = ("clip", "path")
_LABEL_COLUMNS = ("likely_label", "label")


def exclude_clips(catalog: Catalog, table_path: str | Path) -> Catalog:
    """Leaves out the clips that a table names.

    Args:
        catalog: any.
        table_path: a CSV with the column `clip` (or `path`), and perhaps `finding`, the reason; such as audit.csv. The
            `partner` of a pair stays.

    Returns:
        The catalog without these clips, with a note; they are in `left_out`, each with its reason.

    Raises:
        CatalogError: the table cannot be read, or names no clip of this data set, or every one.
    """
    table = _read(table_path, "--exclude_csv")
    found = _find_clips(catalog, table, table_path, "--exclude_csv")
    reasons: dict[int, list[str]] = {}
    for row, place in found.places:
        reasons.setdefault(place, []).append(table["finding"].iloc[row] if "finding" in table else "")
    tracks = catalog.tracks
    if len(reasons) == len(tracks):
        raise CatalogError(
            f"expected a table that leaves clips of this data set over in --exclude_csv, received {table_path}, which names all "
            f"{len(tracks)}; keep only the rows of the clips to leave out, or go on without it by --exclude_csv="
        )
    left_out = [
        LeftOut(tracks["path"].iloc[place], _reason(named, table_path)) for place, named in sorted(reasons.items())
    ]
    return dataclasses.replace(
        catalog,
        tracks=tracks.drop(tracks.index[sorted(reasons)]).reset_index(drop=True),
        notes=(*catalog.notes, f"left out {len(reasons)} clips that {table_path} names{found.remark}"),
        left_out=(*catalog.left_out, *left_out),
    )


def relabel_clips(catalog: Catalog, table_path: str | Path) -> Catalog:
    """Gives the clips that a table names the labels that stand there.

    Args:
        catalog: any.
        table_path: a CSV with the column `clip` (or `path`), and `likely_label` or else `label`; of several labels a clip, with |
            between them. Rows in which it is empty say nothing.

    Returns:
        The catalog with these labels, and a note.

    Raises:
        CatalogError: the table cannot be read, names no clip of this data set or an unknown label, or gives a clip two labels.
    """
    table = _read(table_path, "--relabel_csv")
    column = next((name for name in _LABEL_COLUMNS if name in table), None)
    if column is None:
        raise CatalogError(
            f"expected a column {' or '.join(_LABEL_COLUMNS)} in {table_path} of --relabel_csv, found none (its columns: "
            f"{', '.join(table.columns)}); add one"
        )
    table = table[table[column].str.strip() != ""].reset_index(drop=True)
    found = _find_clips(catalog, table, table_path, "--relabel_csv")
    given: dict[int, str] = {}
    for row, place in found.places:
        label = _resolve(table[column].iloc[row].strip(), catalog)
        if given.setdefault(place, label) != label:
            raise CatalogError(
                f"expected one label for each clip in {table_path}, found {given[place]!r} and {label!r} for "
                f"{catalog.tracks['path'].iloc[place]!r}; remove all but one of its rows"
            )
    labels = catalog.tracks["label"].tolist()
    changed = sum(labels[place] != label for place, label in given.items())
    for place, label in given.items():
        labels[place] = label
    return dataclasses.replace(
        catalog,
        tracks=catalog.tracks.assign(label=pd.Series(labels, index=catalog.tracks.index, dtype=object)),
        notes=(
            *catalog.notes,
            f"{changed} clips have another label by {table_path}, which names {len(given)}{found.remark}",
        ),
    )


def _read(table_path: str | Path, flag: str) -> pd.DataFrame:
    """Reads a table of clips as text; its column of clips is named `clip`."""
    table = read_table(Path(table_path), ())
    by_name = {column.strip().lower(): column for column in table.columns}
    for name in _CLIP_COLUMNS:
        if name in by_name:
            known = {by_name[n]: n for n in ("finding", "track_id", *_LABEL_COLUMNS) if n in by_name}
            return table.rename(columns={**known, by_name[name]: "clip"})
    raise CatalogError(
        f"expected a column {' or '.join(_CLIP_COLUMNS)} in {table_path} of {flag}, found none (its columns: "
        f"{', '.join(table.columns)}); add one, such as audit.csv has"
    )


@dataclasses.dataclass(frozen=True)
class _Found:
    """The clips that a table names.

    Attributes:
        places: rows of the table, each with the place of the clip that it names.
        remark: what to add to a note on the table: how clips were found, and which rows name none; or "".
    """

    places: list[tuple[int, int]]
    remark: str


def _find_clips(catalog: Catalog, table: pd.DataFrame, table_path: str | Path, flag: str) -> _Found:
    """Finds the clips that a table names.

    Clips are found by path, however it is written. If no path is one of the data set's, which may have moved, they are found
    by `track_id` and the name of the file: ids alone may be those of another data set, as many count from 1.
    """
    by_path: dict[str, list[int]] = {}
    by_id: dict[tuple[str, str], list[int]] = {}
    for place, (path, track_id) in enumerate(zip(catalog.tracks["path"], catalog.tracks["track_id"], strict=True)):
        by_path.setdefault(file_key(path), []).append(place)
        by_id.setdefault((str(track_id), _file_name(path)), []).append(place)
    found = [(row, place) for row, path in enumerate(table["clip"]) for place in by_path.get(file_key(path), ())]
    remark = ""
    if not found and "track_id" in table:
        keys = zip(table["track_id"], map(_file_name, table["clip"]), strict=True)
        found = [(row, place) for row, key in enumerate(keys) for place in by_id.get(key, ())]
        remark = ", found by track_id and file name, as it has no path of this data set"
    if not found:
        raise CatalogError(
            f"expected clips of this data set in {table_path}, found none among its {len(table)} rows; the paths of this data "
            f"set are such as {catalog.tracks['path'].iloc[0]!r}. Make the table anew by experiments.audit_data, or go on "
            f"without it by {flag}="
        )
    strays = sorted(set(range(len(table))) - {row for row, _ in found})
    if strays:
        names = "name" if len(strays) > 1 else "names"
        example = table["clip"].iloc[strays[0]]
        remark += f"; {len(strays)} of its rows {names} no clip of this data set, such as {example!r}"
    return _Found(found, remark)


def _file_name(path: str) -> str:
    return Path(file_key(path)).name


def file_key(path: str) -> str:
    """What is the same for a file however its path is written; of a clip in a shard, the path that it was packed from."""
    span = find_record_span(path)
    name = path if span is None else span.original
    return os.path.abspath(name) if "://" not in name else name


def _resolve(label: str, catalog: Catalog) -> str:
    names = label.split(LABEL_SEPARATOR) if catalog.multi_label else [label]
    return join_labels(resolve_name(name.strip(), catalog.labels, "label") for name in names)


def _reason(findings: list[str], table_path: str | Path) -> str:
    named = ", ".join(dict.fromkeys(finding for finding in findings if finding))
    return f"{named or 'named there'}, says {table_path}"
