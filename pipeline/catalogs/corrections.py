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
        CatalogError: the table cannot be read, or names no clip of this data set.
    """
    table = _read(table_path, "--exclude_csv")
    reasons: dict[int, list[str]] = {}
    for row, place in _find_clips(catalog, table, table_path, "--exclude_csv"):
        reasons.setdefault(place, []).append(table["finding"].iloc[row] if "finding" in table else "")
    tracks = catalog.tracks
    left_out = [
        LeftOut(tracks["path"].iloc[place], _reason(found, table_path)) for place, found in sorted(reasons.items())
    ]
    return dataclasses.replace(
        catalog,
        tracks=tracks.drop(tracks.index[sorted(reasons)]).reset_index(drop=True),
        notes=(*catalog.notes, f"left out {len(reasons)} clips that {table_path} names"),
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
    given: dict[int, str] = {}
    for row, place in _find_clips(catalog, table, table_path, "--relabel_csv"):
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
        notes=(*catalog.notes, f"{changed} clips have another label by {table_path}, which names {len(given)}"),
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


def _find_clips(catalog: Catalog, table: pd.DataFrame, table_path: str | Path, flag: str) -> list[tuple[int, int]]:
    """Returns rows of the table, each with the place of the clip that it names.

    Clips are found by path, however it is written; if no path is one of the data set's, which may have moved, by `track_id`.
    """
    by_path: dict[str, list[int]] = {}
    by_id: dict[str, list[int]] = {}
    for place, (path, track_id) in enumerate(zip(catalog.tracks["path"], catalog.tracks["track_id"], strict=True)):
        by_path.setdefault(file_key(path), []).append(place)
        by_id.setdefault(str(track_id), []).append(place)
    found = [(row, place) for row, path in enumerate(table["clip"]) for place in by_path.get(file_key(path), ())]
    if not found and "track_id" in table:
        found = [(row, place) for row, name in enumerate(table["track_id"]) for place in by_id.get(name, ())]
    if not found:
        raise CatalogError(
            f"expected clips of this data set in {table_path}, found none among its {len(table)} rows; the paths of this data "
            f"set are such as {catalog.tracks['path'].iloc[0]!r}. Make the table anew by experiments.audit_data, or go on "
            f"without it by {flag}="
        )
    return found


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
