"""Which of the folders below a root are the labels: the first, those below a folder that holds them all, or below splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pipeline.catalogs.catalog import CatalogError, name_key
from pipeline.catalogs.splits import find_split_name
from pipeline.storage.audio_files import FoundAudio, join_root
from pipeline.storage.left_out import Kind, LeftOut, quote_names


@dataclasses.dataclass(frozen=True)
class LabelFolders:
    """Where the labels stand in the paths of files.

    Attributes:
        base: names of the folders that all files are in.
        has_splits: whether the folders below those are splits, as `train/` and `test/`.
        inner: names of the folders between each split and its labels.
        splits_below: whether the folders below the labels are splits, as `Rock/train/`.
        notes: what was assumed, one sentence each.
    """

    base: tuple[str, ...] = ()
    has_splits: bool = False
    inner: tuple[str, ...] = ()
    splits_below: bool = False
    notes: tuple[str, ...] = ()

    @property
    def depth(self) -> int:
        """The number of folders above the labels."""
        return len(self.base) + self.has_splits + len(self.inner)

    def find_label(self, path: str) -> str | None:
        """Returns the label of a file by its path relative to the root; None for a file outside of the label folders."""
        parts = path.split("/")
        if len(parts) <= self.depth + 1 or tuple(parts[: len(self.base)]) != self.base:
            return None
        if self.inner and tuple(parts[len(self.base) + 1 : self.depth]) != self.inner:
            return None
        return parts[self.depth]

    def find_split(self, path: str) -> str:
        """Returns the split of a file by its path relative to the root; "" where folders are no splits."""
        if not (self.has_splits or self.splits_below):
            return ""
        return find_split_name(path.split("/")[len(self.base) + self.splits_below]) or ""


def find_label_folders(root: str, found: FoundAudio, genres: Sequence[str] = ()) -> LabelFolders:
    """Finds where the labels stand.

    A single folder that holds further folders, and fewer files of its own than those, is gone through, unless it is a genre
    that was asked for. Folders that are all named as splits, at least two different ones, are splits; above the labels or below them.

    Args:
        root: the folder that was searched.
        found: what it holds.
        genres: labels that were asked for.
    """
    wanted = {name_key(genre) for genre in genres}
    sound = [file.split("/") for file in found.files]
    prefix = join_root(root, "x")[:-1]
    sound += [
        item.path.removeprefix(prefix).rstrip("/").split("/") + ["?"] * item.is_folder
        for item in found.left_out
        if item.kind in (Kind.SOUND, Kind.UNREADABLE)
    ]
    notes: list[str] = []

    def go_through(parts: list[list[str]]) -> tuple[list[str], list[list[str]]]:
        """The single folders above all of these files, and the files' parts below them."""
        names: list[str] = []
        while True:
            tops = {path[0] for path in parts if len(path) > 1}
            below = [path[1:] for path in parts if len(path) > 1]
            loose = sum(len(path) == 1 for path in below)
            if len(tops) != 1 or name_key(min(tops)) in wanted:
                return names, parts
            if loose and loose >= len({path[0] for path in below if len(path) > 1}):
                return names, parts
            names.append(min(tops))
            parts = below

    base, parts = go_through(sound)
    if base:
        notes.append(f"the labels are the folders in {'/'.join(base)!r}, the only one that holds music")
    tops = sorted({path[0] for path in parts if len(path) > 1})
    splits = {top: find_split_name(top) for top in tops}
    given = {split for split in splits.values() if split}
    if len(given) < 2:
        below = {path[1] if len(path) > 2 else "" for path in parts if len(path) > 1}
        splits_below = len({find_split_name(name) for name in below} - {None}) > 1 and all(map(find_split_name, below))
        if splits_below:
            notes.append(f"the folders {quote_names(sorted(below))} in the labels' folders are splits")
        return LabelFolders(tuple(base), splits_below=splits_below, notes=tuple(notes))
    if None in splits.values():
        others = quote_names(top for top in tops if not splits[top])
        named = quote_names(top for top in tops if splits[top])
        notes.append(f"{named} are labels, no splits, because other folders with music are beside them: {others}")
        return LabelFolders(tuple(base), notes=tuple(notes))
    inner, _ = go_through([path[1:] for path in parts if len(path) > 1])
    notes.append(f"the folders {quote_names(tops)} are splits, and the folders in them the labels")
    folders = LabelFolders(tuple(base), has_splits=True, inner=tuple(inner), notes=tuple(notes))
    if not any(folders.find_label(file) for file in found.files):
        raise CatalogError(
            f"expected label folders in the split folders {quote_names(tops)} of {join_root(root, '/'.join(base))}, found "
            "audio files only, or none that is read; move each into a folder that is named after its label"
        )
    return folders


def labels_without_audio(root: str, found: FoundAudio, folders: LabelFolders) -> list[LeftOut]:
    """Lists the label folders in which no file is read."""
    with_audio = {tuple(file.split("/")[: folders.depth + 1]) for file in found.files}
    labels = {parts[-1] for parts in with_audio if len(parts) == folders.depth + 1}
    empty = []
    for folder in found.folders:
        parts = tuple(folder.split("/"))
        if folder and len(parts) == folders.depth + 1 and folders.find_label(folder + "/x") and parts not in with_audio:
            kind = Kind.EMPTY if parts[-1] in labels and folders.has_splits else Kind.LABEL
            empty.append(LeftOut(join_root(root, folder) + "/", "no file in it is read", kind))
    return empty
