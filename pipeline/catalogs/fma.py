"""The Free Music Archive: its metadata tables and audio folders as a catalog.

Source: Defferrard et al., "FMA: A Dataset for Music Analysis", ISMIR 2017 (arXiv:1612.01840), and the repository
mdeff/fma (README, utils.py, issues 8 and 49).
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.catalogs.catalog import SPLITS, Catalog, CatalogError, join_labels, make_catalog, resolve_name
from pipeline.catalogs.read_table import read_table
from pipeline.storage.left_out import LeftOut

SUBSETS = ("small", "medium", "large", "full")

_NO_AUDIO = (99134, 108925, 133297)
_UNDER_TWO_SECONDS = (98565, 98567, 98569)
_WRONGLY_CUT = (
    1486, 5574, 65753, 80391, 98558, 98559, 98560, 98566, 98568, 98571, 105247, 108924, 126981, 127336, 143992,
)  # fmt: skip
KNOWN_BAD_CLIPS = frozenset(_NO_AUDIO + _UNDER_TWO_SECONDS + _WRONGLY_CUT)

_COLUMNS = {
    ("artist", "name"): "artist",
    ("artist", "id"): "artist_id",
    ("album", "title"): "album",
    ("set", "split"): "split",
    ("set", "subset"): "subset",
    ("track", "genres_all"): "genres_all",
    ("track", "title"): "title",
}


def load_fma(
    data_dir: str | Path,
    subset: str = "small",
    genres: Sequence[str] = (),
    keep_known_bad_clips: bool = False,
    multi_label: bool = False,
) -> Catalog:
    """Loads FMA as it unzips: `fma_metadata/tracks.csv` and `genres.csv` beside `fma_small/`, `fma_medium/`, …

    A track belongs to a genre if that genre or a descendant of it is among the track's `genres_all`; a track that
    belongs to two of the chosen genres has both labels if `multi_label`, and is otherwise left out and counted in the
    notes.

    Args:
        data_dir: the folder that holds `fma_metadata`.
        subset: "small", "medium", "large" or "full"; each includes the smaller ones.
        genres: titles (whatever their case) or ids of any of the 163 genres; empty means every root genre that has
            a track.
        keep_known_bad_clips: whether to keep the clips of FMA small that are known to be empty or wrongly cut.
        multi_label: whether a track may have several of the labels, such as a genre and a genre below it.

    Returns:
        The catalog, with FMA's own splits; its notes say which tracks were left out.

    Raises:
        CatalogError: a folder, table, column, subset or genre is not there.

    Example:
        >>> from pipeline.catalogs.fma import load_fma
        >>> catalog = load_fma(fma_dir, subset="small")
        >>> sorted(catalog.tracks["split"].unique())
        ['test', 'training', 'validation']
    """
    if subset not in SUBSETS:
        raise CatalogError(f"expected subset to be one of {', '.join(SUBSETS)}, received {subset!r}")
    data_dir = Path(data_dir)
    metadata = data_dir / "fma_metadata"
    tracks = _read_tracks(metadata / "tracks.csv")
    notes, dropped = [], []
    if subset != "full":
        tracks = tracks[tracks["subset"].isin(SUBSETS[: SUBSETS.index(subset) + 1])]
    if not keep_known_bad_clips:
        bad = tracks["track_id"].isin(KNOWN_BAD_CLIPS)
        if bad.any():
            notes.append(f"left out {bad.sum()} clips known to be bad (--keep_known_bad_clips keeps them)")
        dropped.append((tracks.loc[bad, "track_id"], "known to be empty or wrongly cut"))
        tracks = tracks[~bad]
    tracks, chosen, label_notes, unlabelled = _label_by_genre(
        tracks, read_genres(metadata / "genres.csv"), genres, multi_label
    )
    audio_dir = _audio_dir(data_dir, subset)
    tracks = tracks.assign(path=_audio_paths(audio_dir, tracks["track_id"]), artist=_unique_artists(tracks))
    left_out = [
        LeftOut(path, reason)
        for track_ids, reason in (*dropped, *unlabelled)
        for path in _audio_paths(audio_dir, track_ids)
    ]
    return make_catalog(tracks, chosen, (*notes, *label_notes), multi_label, left_out)


def read_genres(path: Path) -> pd.DataFrame:
    """Reads `genres.csv` with integer columns genre_id and parent (0 is a root), and title."""
    table = read_table(path, ("genre_id", "parent", "title"))
    try:
        return table.astype({"genre_id": int, "parent": int})
    except (ValueError, OverflowError) as error:
        raise CatalogError(f"expected whole numbers for genre_id and parent in {path}: {error}") from error


def descendants(table: pd.DataFrame, genre_id: int) -> set[int]:
    """The ids of a genre and of everything below it."""
    found, frontier = {genre_id}, {genre_id}
    while frontier:
        frontier = set(table.loc[table["parent"].isin(frontier), "genre_id"]) - found
        found |= frontier
    return found


def _label_by_genre(
    tracks: pd.DataFrame, table: pd.DataFrame, genres: Sequence[str], multi_label: bool
) -> tuple[pd.DataFrame, list[str], list[str], list[tuple[pd.Series, str]]]:
    """Adds the label column; returns the labelled tracks, the chosen titles, notes, and ids left out with their reasons."""
    title_of = dict(zip(table["genre_id"], table["title"], strict=True))
    if genres:
        chosen = [
            title_of[int(genre)]
            if genre.isdigit() and int(genre) in title_of
            else resolve_name(genre, list(title_of.values()), "genre")
            for genre in genres
        ]
    else:
        chosen = list(table.loc[table["parent"] == 0, "title"])
    members = {title: descendants(table, genre_id) for genre_id, title in title_of.items() if title in set(chosen)}
    matches = [[title for title, ids in members.items() if ids & track_ids] for track_ids in tracks["genres_all"]]
    counts = pd.Series([len(titles) for titles in matches], index=tracks.index, dtype=int)
    tracks = tracks.assign(label=[join_labels(titles) for titles in matches])
    notes = []
    several = counts > 1
    if several.any() and multi_label:
        notes.append(f"{several.sum()} tracks have two or more labels")
    elif several.any():
        notes.append(
            f"left out {several.sum()} tracks that belong to two or more of the chosen genres (--multi_label keeps them)"
        )
    dropped = [(tracks.loc[counts == 0, "track_id"], "in none of the chosen genres" if genres else "without a genre")]
    if not multi_label:
        dropped.append((tracks.loc[several, "track_id"], "in two or more of the chosen genres"))
    if not genres and (counts == 0).any():
        notes.append(f"left out {(counts == 0).sum()} tracks without a genre")
    tracks = tracks[counts > 0] if multi_label else tracks[counts == 1]
    if genres:
        absent = sorted(
            set(chosen) - {title for titles in matches if multi_label or len(titles) == 1 for title in titles}
        )
        if absent:
            raise CatalogError(
                f"expected tracks for every chosen genre, found none for: {', '.join(absent)}; "
                "choose a larger --subset, or genres that do not contain each other"
            )
        return tracks, chosen, notes, dropped
    return tracks, [], notes, dropped


def _read_tracks(path: Path) -> pd.DataFrame:
    """Reads the few needed columns of `tracks.csv`, whose header has two rows and an index-name row."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = list(zip(next(reader), next(reader), strict=True))
            has_index_row = (next(reader, None) or [""])[0] == "track_id"
    except FileNotFoundError:
        raise CatalogError(
            f"expected FMA's tables under {path.parent} (tracks.csv, genres.csv), found no {path.name}; --data_dir is "
            "the folder that holds fma_metadata/ and fma_small/, as FMA's archives unzip"
        ) from None
    except (OSError, UnicodeDecodeError, StopIteration, ValueError, csv.Error) as error:
        raise CatalogError(f"expected FMA's tracks.csv with its two header rows at {path}: {error!r}") from error
    absent = [".".join(column) for column in _COLUMNS if column not in header]
    if absent:
        raise CatalogError(f"expected the columns {', '.join(absent)} in {path}, found none of that name")
    name_of_column = {0: "track_id"} | {header.index(column): name for column, name in _COLUMNS.items()}
    if "track_id" not in name_of_column.values() or len(name_of_column) <= len(_COLUMNS):
        raise CatalogError(f"expected the track ids in the first column of {path}, found another column there")
    order = sorted(name_of_column)
    try:
        tracks = pd.read_csv(
            path,
            skiprows=3 if has_index_row else 2,
            header=None,
            usecols=order,
            names=[name_of_column.get(i, f"unused_{i}") for i in range(len(header))],
            dtype=str,
            keep_default_na=False,
        )
        tracks["track_id"] = tracks["track_id"].astype(int)
        ids_of_text = {text: frozenset(json.loads(text or "[]")) for text in tracks["genres_all"].unique()}
        tracks["genres_all"] = tracks["genres_all"].map(ids_of_text)
    # A number of too many digits overflows, and a list of very many lists nests too deeply.
    except (ValueError, TypeError, OverflowError, RecursionError, pd.errors.ParserError) as error:
        raise CatalogError(f"expected FMA's tracks.csv at {path}, but a row cannot be read: {error}") from error
    if (tracks["track_id"] < 0).any():
        raise CatalogError(f"expected track ids of 0 and more in {path}, found {tracks['track_id'].min()}")
    unknown = sorted(set(tracks["split"]) - set(SPLITS))
    if unknown:
        raise CatalogError(f"expected the splits {', '.join(SPLITS)} in {path}, found {', '.join(map(repr, unknown))}")
    return tracks


def _unique_artists(tracks: pd.DataFrame) -> pd.Series:
    """Artist names, with the id behind a name that several artists share."""
    ids_of_name = tracks.groupby("artist")["artist_id"].nunique()
    shared = tracks["artist"].isin(ids_of_name.index[ids_of_name > 1])
    return tracks["artist"].where(~shared, tracks["artist"] + " #" + tracks["artist_id"])


def _audio_dir(data_dir: Path, subset: str) -> Path:
    """The folder of the subset, or the next larger one, which holds the same clips."""
    candidates = [data_dir / f"fma_{name}" for name in SUBSETS[SUBSETS.index(subset) :]]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise CatalogError(
        f"expected a folder {' or '.join(str(candidate) for candidate in candidates)}, found none; unzip the archive "
        "there, or choose the --subset that you have"
    )


def _audio_paths(audio_dir: Path, track_ids: pd.Series) -> list[str]:
    # Text, not paths put together: 15 us each would be seconds for a hundred thousand.
    folder = str(audio_dir)
    names = (f"{track_id:06d}" for track_id in track_ids)
    return [f"{folder}{os.sep}{name[:3]}{os.sep}{name}.mp3" for name in names]
