"""The table that every stage agrees on: one row a clip."""

from __future__ import annotations

import dataclasses
import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from pipeline.catalogs.labelled_clips import LabelledClips
from pipeline.storage.clips import containing_file
from pipeline.storage.files import is_file
from pipeline.storage.left_out import LeftOut

# A file's name need not be text. In pandas 3 pyarrow's strings, its choice where pyarrow is installed, must be: they refuse such
# a name with a UnicodeEncodeError.
pd.set_option("mode.string_storage", "python")

COLUMNS = ("track_id", "path", "label", "split", "artist", "album", "title")
SPLITS = ("training", "validation", "test")
LABEL_SEPARATOR = "|"  # between the labels of a clip that has several
# Longer than the longest path, and than any name: such a field is damage, and every table and plot would suffer it.
MAX_TEXT = 4096
_MAX_MESSAGE = 2000
_MAX_SIMILAR = 5  # notes on labels of nearly one name
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


class CatalogError(ValueError):
    """A data set that cannot be used as it is; the message says what was expected, what was found, and the remedy.

    A message that quotes a table at great length is cut short.
    """

    def __init__(self, message: str):
        super().__init__(
            message
            if len(message) <= _MAX_MESSAGE
            else f"{message[: _MAX_MESSAGE // 2]} … {message[-_MAX_MESSAGE // 2 :]}"
        )


class ArtistLeakError(CatalogError):
    """The same artist in more than one split."""


@dataclasses.dataclass(frozen=True)
class Catalog:
    """The clips of a data set.

    Attributes:
        tracks: one row a clip, with `COLUMNS`: track_id (int or str), path (str), label, split (one of `SPLITS`),
            artist, album and title ("" where unknown).
        labels: the labels in sorted order; a label's index is its class index.
        notes: what the loader left out or assumed, one sentence each, for the user to read.
        multi_label: whether a row's label may be several, with `LABEL_SEPARATOR` between them.
        left_out: every file and row that is not used, with its reason, as far as the loader sees them.
    """

    tracks: pd.DataFrame
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()
    multi_label: bool = False
    left_out: tuple[LeftOut, ...] = ()

    def split(self, name: str) -> pd.DataFrame:
        """The clips of one split, or of every split for "all"."""
        if name == "all":
            return self.tracks
        return self.tracks[self.tracks["split"] == name]

    def __getitem__(self, split: str) -> LabelledClips:
        """The clips of one split, or of every split for "all", with their targets: for `pipeline.train_dataset`.

        Raises:
            CatalogError: there is no split of that name.
        """
        if split not in (*SPLITS, "all"):
            raise CatalogError(f"expected one of the splits {', '.join(SPLITS)}, or all, received {split!r}")
        tracks = self.split(split)
        return LabelledClips(tracks, self.targets(tracks), self.labels, self.multi_label)

    def keep(self, mask: pd.Series, note: str, reason: str = "") -> Catalog:
        """The same catalog with only the rows where `mask` is true.

        Args:
            mask: a boolean for each row.
            note: is kept if that leaves any row out.
            reason: why it does, for the list of what is left out; default: the note.
        """
        if mask.all():
            return self
        return dataclasses.replace(
            self,
            tracks=self.tracks[mask].reset_index(drop=True),
            notes=(*self.notes, note),
            left_out=(*self.left_out, *(LeftOut(path, reason or note) for path in self.tracks.loc[~mask, "path"])),
        )

    def label_names(self, tracks: pd.DataFrame) -> pd.Series:
        """The label of each row; of a row with several each in turn, under the row's index."""
        return _names(tracks, self.multi_label)

    def class_indices(self, tracks: pd.DataFrame) -> list[int]:
        """The class index of each row's label.

        Raises:
            CatalogError: rows may have several.
        """
        if self.multi_label:
            raise CatalogError("expected one label a clip, received a catalog of several; leave out --multi_label")
        index = {label: i for i, label in enumerate(self.labels)}
        return [index[label] for label in tracks["label"]]

    def targets(self, tracks: pd.DataFrame) -> np.ndarray:
        """What a model should predict for each row.

        Returns:
            The class index int32 [rows]; or, where rows may have several labels, 1 for each that a row has and 0 for the
            others, int32 [rows, labels].
        """
        if not self.multi_label:
            return np.array(self.class_indices(tracks), np.int32)
        has = np.zeros((len(tracks), len(self.labels)), np.int32)
        names = self.label_names(tracks.reset_index(drop=True))
        has[names.index, pd.Index(self.labels).get_indexer(pd.Index(names))] = 1
        return has


def make_catalog(
    tracks: pd.DataFrame,
    genres: Sequence[str],
    notes: Iterable[str] = (),
    multi_label: bool = False,
    left_out: Iterable[LeftOut] = (),
) -> Catalog:
    """Builds a catalog from rows whose labels are names, keeping only the labels in `genres` (all if empty).

    The rows of other labels are added to what is left out. A note names labels that differ by case or spaces only.

    Raises:
        CatalogError: a genre is unknown, a text is too long or a label unprintable, or there is no clip.
    """
    tracks = tracks.reindex(columns=list(COLUMNS)).fillna({"artist": "", "album": "", "title": ""})
    for column in ("path", "label", "artist", "album", "title"):
        longest = max(tracks[column], key=len, default="")
        if len(longest) > MAX_TEXT:
            raise CatalogError(
                f"expected at most {MAX_TEXT} characters in the column {column}, found {len(longest)}: "
                f"{longest[:40]!r}…; mend the table"
            )
    # pandas 3 reads a NUL as part of a text, which no file's name, plot or page takes; earlier ones end the text there.
    names_for_people = ["artist", "album", "title"]
    tracks[names_for_people] = tracks[names_for_people].replace("(?s)\0.*", "", regex=True)
    names = _names(tracks.reset_index(drop=True), multi_label)
    present = sorted(names[names != ""].unique())
    unprintable = [label for label in present if _CONTROL_CHARACTER.search(label)]
    if unprintable:
        raise CatalogError(f"expected labels without control characters, found {unprintable[0]!r}; mend the table")
    wanted = [resolve_name(genre, present, "genre") for genre in genres] or present
    kept = names[names.isin(wanted)]
    others = tracks.drop(tracks.index[kept.index.unique()]) if len(tracks) else tracks
    left_out = (*left_out, *(LeftOut(path, "its label is not among --genres") for path in others["path"]))
    notes = (*notes, *_note_similar(present, wanted))
    tracks = tracks.iloc[kept.index.unique()].reset_index(drop=True)
    if tracks.empty:
        raise CatalogError("expected at least one clip, found none; check --data_dir, --subset and --genres")
    if multi_label:
        tracks = tracks.assign(label=[join_labels(names) for _, names in kept.groupby(level=0)])
    # pandas 3 has another type for texts that it reads than for texts that are all empty: here they are one.
    tracks = tracks.astype({column: object for column in COLUMNS if column != "track_id"})
    return Catalog(tracks, tuple(sorted(set(wanted))), notes, multi_label, left_out)


def join_labels(names: Iterable[str]) -> str:
    """Writes the labels of a clip in one text, in sorted order."""
    return LABEL_SEPARATOR.join(sorted(set(names)))


def _names(tracks: pd.DataFrame, multi_label: bool) -> pd.Series:
    if not multi_label:
        return tracks["label"]
    return tracks["label"].str.split(LABEL_SEPARATOR, regex=False).explode().str.strip()


def name_key(name: str) -> str:
    """Returns what names have in common that differ only by case, by spaces or by how their letters are composed."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def _note_similar(present: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Says which of the labels that are wanted have neighbours of nearly the same name."""
    groups: dict[str, list[str]] = {}
    for label in present:
        groups.setdefault(name_key(label), []).append(label)
    chosen = set(wanted)
    return [
        f"the labels {', '.join(map(repr, group))} differ by case, spaces or composed letters only; they are different "
        "labels: give them one name if they should be one"
        for group in groups.values()
        if len(group) > 1 and chosen & set(group)
    ][:_MAX_SIMILAR]


def resolve_name(name: str, choices: Sequence[str], what: str) -> str:
    """Finds `name` among `choices`: as it is written, or else whatever its case.

    Raises:
        CatalogError: it is not among them, and the message lists the nearest first; or several differ from it by case
            alone, and the message lists those.
    """
    if name in choices:
        return name
    by_key: dict[str, list[str]] = {}
    for choice in dict.fromkeys(choices):
        by_key.setdefault(name_key(choice), []).append(choice)
    same = by_key.get(name_key(name), [])
    if len(same) > 1:
        raise CatalogError(
            f"expected one {what} of the name {name!r}, found {len(same)}: {', '.join(map(repr, same))}; write the one "
            "that you mean exactly so, or list them all"
        )
    if same:
        return same[0]
    nearest = difflib.get_close_matches(name_key(name), by_key, n=len(by_key), cutoff=0.0)
    shown = ", ".join(choice for key in nearest[:20] for choice in by_key[key])
    more = f" and {len(nearest) - 20} more" if len(nearest) > 20 else ""
    raise CatalogError(f"expected a known {what}, received {name!r}; choose from: {shown}{more}")


def check_splits(catalog: Catalog, splits: Sequence[str] = SPLITS) -> None:
    """Refuses a catalog with an empty split among `splits`, or with a label that has no training clip.

    Raises:
        CatalogError: naming the splits or labels.
    """
    counts = catalog.tracks["split"].value_counts()
    empty = [split for split in splits if not counts.get(split, 0)]
    if empty:
        found = ", ".join(f"{split} {counts.get(split, 0)}" for split in SPLITS)
        raise CatalogError(f"expected clips in the {' and '.join(empty)} split, found none (clips: {found})")
    if "training" in splits:
        trained = set(catalog.label_names(catalog.split("training")))
        missing = [label for label in catalog.labels if label not in trained]
        if missing:
            raise CatalogError(
                f"expected a training clip for every genre, found none for: {', '.join(missing)}; "
                "leave the genre out of --genres, or choose a larger --subset"
            )


def check_artists(tracks: pd.DataFrame) -> None:
    """Refuses artists who have clips in more than one split: a network would recognise the artist, not the label.

    Raises:
        ArtistLeakError: naming the artists and counting their tracks.
    """
    known = tracks[tracks["artist"] != ""]
    splits_of = known.groupby("artist")["split"].nunique()
    leaking = sorted(splits_of.index[splits_of > 1])
    if leaking:
        count = int(known["artist"].isin(leaking).sum())
        more = f" and {len(leaking) - 10} more" if len(leaking) > 10 else ""
        raise ArtistLeakError(
            f"expected every artist in one split only, found {len(leaking)} in several ({count} tracks): "
            f"{', '.join(leaking[:10])}{more}; mend the splits, or allow it with --allow_artist_leak"
        )


def missing_files(tracks: pd.DataFrame) -> pd.Series:
    """A boolean for each row: whether its file does not exist."""
    files = tracks["path"].map(containing_file)
    there = {file: is_file(file) for file in files.unique()}  # a shard holds many clips
    return ~files.map(there).astype(bool)
