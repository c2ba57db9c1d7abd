"""The files of a folder in Keras's order, and which of them are for validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.catalogs.metadata import METADATA_FILE, join_metadata
from pipeline.catalogs.splits import artist_groups
from pipeline.storage.audio_files import FoundAudio, list_endings
from pipeline.storage.left_out import describe_left_out


def list_files(
    directory: str,
    found: FoundAudio,
    labels: str | Sequence[int] | None,
    class_names: Sequence[str] | None,
) -> tuple[np.ndarray, np.ndarray, list[str] | None]:
    """Lists the files in Keras's order: class by class, then folder by folder, with their class indices and names."""
    files = list(found.files)
    if labels == "inferred":
        folders = sorted({folder.split("/")[0] for folder in found.folders if folder})
        names = folders if class_names is None else list(class_names)
        if len(set(names)) < len(names):
            raise ValueError(f"expected each of class_names once, received {names}")
        if unknown := set(names) - set(folders):
            raise ValueError(
                f"expected class_names among the folders of {directory} ({', '.join(folders)}), received others: "
                f"{', '.join(sorted(unknown))}"
            )
        places = {name: index for index, name in enumerate(names)}
        files = [file for file in files if "/" in file and file.split("/")[0] in places]
    else:
        names, places = [], {}

    def place(file: str) -> tuple[int, str, str]:
        folder, _, name = file.rpartition("/")
        return places.get(file.split("/")[0], 0), folder, name

    files.sort(key=place)
    if not files:
        raise ValueError(
            f"expected audio files in {directory}, found none ({describe_left_out(found.left_out) or 'it is empty'}); files "
            f"read: {list_endings()}"
        )
    if labels is None:
        return np.array(files, object), np.zeros(len(files), np.int32), None
    if labels == "inferred":
        return np.array(files, object), np.array([place(file)[0] for file in files], np.int32), names
    if len(labels) != len(files):
        raise ValueError(f"expected a label for each of {len(files)} files in {directory}, received {len(labels)}")
    if not all(isinstance(label, int | np.integer) for label in labels):
        raise ValueError("expected labels as a list of whole numbers, received others")
    return (
        np.array(files, object),
        np.array(labels, np.int32),
        [str(label) for label in sorted({int(label) for label in labels})],
    )


def shuffled(values: np.ndarray, seed: int) -> np.ndarray:
    """Shuffles as Keras does, so that the division by `validation_split` is Keras's."""
    shuffled = list(values)
    np.random.RandomState(seed).shuffle(shuffled)
    return np.array(shuffled, values.dtype)


def choose_validation(
    directory: str, files: np.ndarray, indices: np.ndarray, validation_split: float, group_by: str | None, seed: int
) -> tuple[np.ndarray, list[str]]:
    """Chooses the files for validation: the last ones, or those of some artists or albums.

    Args:
        directory: the folder, whose `metadata.csv` names artists and albums.
        files: relative to it.
        indices: class index of each.
        validation_split: share of the files for validation.
        group_by: "artist" (the album counts where the artist is unknown), "album" or None.
        seed: of the artists or albums that are chosen.

    Returns:
        Which of the files are for validation, bool [files], and what there is to say of the table.
    """
    is_validation = np.zeros(len(files), bool)
    if group_by is None:
        is_validation[len(files) - int(validation_split * len(files)) :] = True
        return is_validation, []
    table = Path(directory, METADATA_FILE)
    if not table.is_file():
        raise ValueError(f"expected a table {table} with the columns path and {group_by} for group_by, found none")
    metadata = join_metadata(table, Path(directory), "", files.tolist())
    if group_by not in metadata.columns:
        raise ValueError(f"expected a column {group_by} in {table} for group_by, found none; add it")
    notes = [*metadata.notes, *metadata.check_coverage(files.tolist())]
    columns = metadata.columns.reindex(index=files, columns=["artist", "album"]).fillna("")
    if group_by == "album":
        columns["artist"] = ""
    is_validation[_choose_groups(artist_groups(columns).tolist(), indices.tolist(), validation_split, seed)] = True
    return is_validation, notes


def _choose_groups(groups: Sequence[str], indices: Sequence[int], share: float, seed: int) -> list[int]:
    """Chooses groups in random order, each as a whole if that brings the classes nearer to their share; returns the places."""
    missing = {index: share * count for index, count in Counter(indices).items()}
    members: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    chosen: list[int] = []
    for group in shuffled(np.array(sorted(members), object), seed):
        counts = Counter(indices[place] for place in members[group])
        if sum(abs(missing[index] - count) - abs(missing[index]) for index, count in counts.items()) < 0:
            chosen += members[group]
            for index, count in counts.items():
                missing[index] -= count
    return chosen
