"""Cross-validation by artist: which clips each fold trains on, validates on and is tested on.

Every clip is a test clip of one fold, and no artist is in two splits of a fold: so each clip is predicted once, by a model
that has never heard its artist.
"""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.builders.data import load_checked
from experiments.comparison.fold_number import ARTIST, MOST_FOLDS
from experiments.comparison.trials import write_clips
from experiments.console import progress
from experiments.runs.identity import data_identity, same_data
from experiments.settings import Settings, require_one_label
from pipeline.catalogs.catalog import Catalog, CatalogError
from pipeline.catalogs.duplicates import join_repeated_files
from pipeline.catalogs.splits import artist_groups, stratified_parts
from pipeline.storage.atomic import write_text
from pipeline.storage.files import is_remote

_FOLDER = "folds"  # of the output directory
_MOST_ARTISTS = 1000  # of folds that are an artist each
_MOST_VALIDATION_PARTS = 6  # validation is at least this part of what is not test
_MOST_NAMES = 10  # of a message


def write_folds(
    settings: Settings, folds: int | str, seed: int, output_dir: Path, by_artist: bool = True
) -> list[Path]:
    """Draws the folds of a data set, writes a table of each, and prints what there is.

    The tables are data sets of their own (dataset=csv), in `<output_dir>/folds/fold<f>.csv`. The splits that the data set
    has do not count.

    Args:
        settings: that name the data set.
        folds: their number, or `ARTIST`.
        seed: of the draw.
        output_dir: of the comparison.
        by_artist: whether all clips of an artist are in one fold; otherwise clips are drawn one by one, and the tables name no
            artists.

    Returns:
        The path of each fold's table.

    Raises:
        ValueError: the data set cannot be cut in such folds, or `output_dir` was begun with others.
    """
    require_one_label(settings, "folds")
    catalog, _ = load_checked(settings, splits=(), needs_splits=False)
    # A file that is in several of the data set's splits is one clip here.
    catalog = dataclasses.replace(catalog, tracks=catalog.tracks.assign(split=""))
    catalog = join_repeated_files(catalog, one_split=False, allow_leak=settings.allow_artist_leak)
    if remote := [path for path in catalog.tracks["path"] if is_remote(path)]:
        raise CatalogError(f"expected clips on this machine for folds, found {remote[0]}; copy them here")
    tracks = _with_plain_names(catalog.tracks)
    if not by_artist:
        tracks = tracks.assign(artist="", album="")
    splits = draw_folds(tracks, folds, seed)
    drawn = [dataclasses.replace(catalog, tracks=tracks.assign(split=split)) for split in splits]
    _keep_to_earlier_folds(output_dir / _FOLDER / "folds.json", folds, seed, drawn)
    tables = [output_dir / _FOLDER / f"fold{fold}.csv" for fold in range(len(drawn))]
    for fold, table in zip(drawn, tables, strict=True):
        write_clips(fold.tracks, table)
    print(_describe(catalog, tracks, len(drawn), seed, by_artist))
    print(f"the clips of each fold: {output_dir / 'folds'}", flush=True)
    return tables


def check_output_dir(output_dir: Path, with_folds: bool) -> None:
    """Refuses the directory of a comparison with folds for one without them, and the other way round.

    Raises:
        ValueError: it is of the other kind.
    """
    has_folds = (output_dir / _FOLDER).exists()
    if has_folds != with_folds and (has_folds or (output_dir / "runs").exists()):
        expected, received = ("with", "none") if has_folds else ("without", "some")
        raise ValueError(
            f"expected a comparison {expected} --folds, as {output_dir} was begun, received {received}; use the "
            "same flags again to continue it, or another --output_dir"
        )


def draw_folds(tracks: pd.DataFrame, folds: int | str, seed: int) -> list[pd.Series]:
    """Draws the splits of each fold.

    A number of folds is drawn by scikit-learn's StratifiedGroupKFold, with artists as groups. Validation is a part of the
    artists that are not in the test fold, drawn in the same way: one of folds - 1 parts, which is no less than a sixth and
    no more than half. Of these parts the one with the most labels is taken; of its artists those go back to training
    without whom a label would have no training clip.

    Args:
        tracks: rows of a catalog, with label, artist and album. A clip of unknown artist and album is an artist of its
            own; an album of unknown artist is one too.
        folds: their number from 2 to 100; or `ARTIST`: each artist is a fold, in the order of their names.
        seed: of the draw.

    Returns:
        For each fold the split of each row.

    Raises:
        CatalogError: there are too few artists, in all or of a label.
    """
    artists, labels = artist_groups(tracks), tracks["label"]
    _check_artists(artists, labels)
    fold_of, parts = _test_folds(artists, labels, folds, seed)
    splits = []
    for fold in progress(range(fold_of.max() + 1), description="folds"):
        is_test = fold_of == fold
        rest = pd.DataFrame({"artist": artists[~is_test], "label": labels[~is_test]})
        if lost := sorted(set(labels) - set(rest["label"])):
            raise CatalogError(
                f"expected clips of every label outside of each fold, found that fold {fold} has all artists of "
                f"{_names(lost)}; choose another number of --folds, or --folds={ARTIST}"
            )
        validation = _choose_validation(rest, parts, seed)
        if not validation:
            raise CatalogError(
                f"expected artists for validation beside those of fold {fold}, found none that training can spare: "
                "each is the last of its label; add artists, or choose more --folds"
            )
        splits.append(
            pd.Series(
                np.select([is_test, artists.isin(validation)], ["test", "validation"], "training"), tracks.index, object
            )
        )
    return splits


def _test_folds(artists: pd.Series, labels: pd.Series, folds: int | str, seed: int) -> tuple[np.ndarray, int]:
    """Returns the fold in which each row is a test clip [clips], and in how many parts the others are cut for validation."""
    count = artists.nunique()
    if folds == ARTIST:
        if count > _MOST_ARTISTS:
            raise CatalogError(
                f"expected at most {_MOST_ARTISTS} artists for --folds={ARTIST}, a training each, found {count}; choose a "
                "number, such as --folds=10"
            )
        return pd.factorize(artists, sort=True)[0], _MOST_VALIDATION_PARTS
    if not isinstance(folds, int) or not 2 <= folds <= MOST_FOLDS:
        raise ValueError(f"expected folds as a whole number from 2 to {MOST_FOLDS} or {ARTIST}, received {folds!r}")
    most = min(count, labels.value_counts().max())
    if folds > most:
        what = "artists" if most == count else "clips of the most frequent label"
        raise CatalogError(
            f"expected no more folds than {what}, received --folds={folds} for {most}; choose --folds={most} or fewer"
        )
    fold_of = np.zeros(len(artists), int)
    for fold, rows in enumerate(stratified_parts(artists, labels, folds, seed)):
        fold_of[rows] = fold
    return fold_of, int(np.clip(folds - 1, 2, _MOST_VALIDATION_PARTS))


def _check_artists(artists: pd.Series, labels: pd.Series) -> None:
    counts = artists.groupby(labels).nunique()
    if alone := list(counts.index[counts < 2]):
        if not artists.str.startswith("artist ").any():  # clips are drawn one by one
            raise CatalogError(
                f"expected at least two clips for every label, found one for {_names(alone)}: a model that has not heard it "
                "cannot know the label; add clips, or leave the label out of --genres"
            )
        artist = artists[labels == alone[0]].iloc[0].removeprefix("artist ")
        raise CatalogError(
            f"expected at least two artists for every label, found one for {_names(alone)} (such as {artist!r}): a model "
            "that has not heard its one artist cannot know the label; add music of others, or leave the label out of "
            "--genres"
        )


def _choose_validation(rest: pd.DataFrame, parts: int, seed: int) -> list[str]:
    """Chooses the artists of validation.

    Args:
        rest: artist and label of each clip that is not in the test fold.
        parts: in which the clips are cut; one of them is validation.
        seed: of the draw.

    Returns:
        Artists without whom every label still has clips; none if nobody can be spared.
    """
    clips = pd.crosstab(rest["artist"], rest["label"])  # [artists, labels]
    parts = int(min(parts, len(clips), clips.sum().max()))
    if parts < 2:
        return []
    drawn = stratified_parts(rest["artist"], rest["label"], parts, seed)
    candidates = [_spare(clips, sorted(set(rest["artist"].iloc[rows]))) for rows in drawn]

    def rank(artists: list[str]) -> tuple[int, float]:
        own = clips.loc[artists].sum()
        return int((own > 0).sum()), -abs(own.sum() - len(rest) / parts)

    return max(candidates, key=rank)


def _spare(clips: pd.DataFrame, artists: list[str]) -> list[str]:
    """Leaves out of `artists` those without whom a label would have no clips: of several the one with the most of them."""
    while True:
        others = clips.drop(index=artists).sum()
        vanished = others.index[others == 0]
        if vanished.empty:
            return artists
        returned = clips.loc[artists, vanished[0]].idxmax()
        artists = [artist for artist in artists if artist != returned]


def _with_plain_names(tracks: pd.DataFrame) -> pd.DataFrame:
    """Writes each artist and album as `load_csv` reads it, which decides who is the same."""
    return tracks.assign(
        **{
            column: pd.Series(
                [unicodedata.normalize("NFC", name).strip() for name in tracks[column]], tracks.index, object
            )
            for column in ("artist", "album")
        }
    )


def _keep_to_earlier_folds(path: Path, folds: int | str, seed: int, drawn: Sequence[Catalog]) -> None:
    """Writes what the folds are, or refuses folds other than those that the file tells of."""
    own: dict[str, Any] = {"folds": str(folds), "seed": seed, "data": [data_identity(catalog) for catalog in drawn]}
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(own, indent=2) + "\n")
        return
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        changed = [
            f"{what}: {old[name]} there, {own[name]} now"
            for name, what in (("folds", "--folds"), ("seed", "the first of --seeds"))
            if old[name] != own[name]
        ]
        if not changed and not all(map(same_data, old["data"], own["data"])):
            count = sum(old["data"][0]["clips"].values())
            changed = [f"clips: {count} there, {len(drawn[0].tracks)} now, or other tracks, labels or artists"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"expected the description of earlier folds in {path}, but it cannot be read: {error!r}; choose another "
            "--output_dir"
        ) from error
    if changed:
        raise ValueError(
            f"expected the folds that {path.parent.parent} was begun with, received others:\n  "
            + "\n  ".join(changed)
            + "\nUse these again to continue the comparison, or another --output_dir."
        )


def _describe(catalog: Catalog, tracks: pd.DataFrame, folds: int, seed: int, by_artist: bool) -> str:
    """Clips and artists of each label, and notes, as text for the terminal."""
    artists = artist_groups(tracks)
    width = max(len(label) for label in (*catalog.labels, "label"))
    of_artists = f" of {artists.nunique()} artists, each in one fold" if by_artist else ""
    lines = [f"{'label':{width}}{'clips':>12}{'artists':>12}"]
    for label in catalog.labels:
        own = artists[tracks["label"] == label]
        lines.append(f"{label:{width}}{len(own):>12}{own.nunique():>12}")
    notes = [
        *catalog.notes,
        f"cross-validation: {folds} folds of {len(tracks)} clips{of_artists}, drawn by seed {seed}; splits of the data set do "
        "not count",
    ]
    if by_artist and (unknown := int((tracks["artist"] == "").sum())):
        by_album = ", but those of one album together" * bool(
            ((tracks["artist"] == "") & (tracks["album"] != "")).any()
        )
        notes.append(f"{unknown} clips are of unknown artist; each counts as an artist of its own{by_album}")
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])


def _names(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _MOST_NAMES} more" * (len(labels) > _MOST_NAMES)
    return ", ".join(labels[:_MOST_NAMES]) + more
