"""The arguments of `audio_dataset_from_directory`, checked: each by itself, and whether they fit each other."""

from __future__ import annotations

from typing import Any

import numpy as np

LABEL_MODES = ("int", "categorical", "binary", None)
SUBSETS = ("training", "validation", "both")
GROUPS = ("artist", "album")


def check_arguments(labels: Any, label_mode: Any, class_names: Any, ragged: bool) -> None:
    """Checks what says which files there are and how their labels look.

    Raises:
        ValueError: they are out of range or do not fit each other.
    """
    if not (labels is None or isinstance(labels, list | tuple) or (isinstance(labels, str) and labels == "inferred")):
        raise ValueError(f"expected labels as 'inferred', a list of class indices or None, received {labels!r}")
    if class_names and labels != "inferred":
        raise ValueError("expected class_names only with labels='inferred', received them with others; leave them out")
    if label_mode not in LABEL_MODES:
        raise ValueError(
            f"expected label_mode to be one of {', '.join(map(repr, LABEL_MODES))}, received {label_mode!r}"
        )
    if ragged:
        raise ValueError("expected ragged=False, received True; give output_sequence_length or crop_seconds instead")


def check_lengths(
    batch_size: Any,
    sampling_rate: Any,
    output_sequence_length: Any,
    crop_seconds: float | None,
    crops_per_clip: int,
    first_epoch: int,
) -> None:
    """Checks what says how long batches and waveforms are, and where to begin.

    Raises:
        ValueError: they are out of range or do not fit each other.
    """
    for name, number in (
        ("batch_size", batch_size),
        ("sampling_rate", sampling_rate),
        ("output_sequence_length", output_sequence_length),
    ):
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int | np.integer):
            raise ValueError(f"expected {name} as a whole number, or None, received {number!r}")
        if number < 1:
            raise ValueError(f"expected {name} of at least 1, or None, received {number}")
    if crop_seconds is not None and not crop_seconds > 0:
        raise ValueError(f"expected crop_seconds of more than 0, or None for whole clips, received {crop_seconds}")
    if crop_seconds and output_sequence_length:
        raise ValueError("expected crop_seconds or output_sequence_length, received both; leave one out")
    if crops_per_clip != 1 and not crop_seconds:
        raise ValueError(f"expected crop_seconds with crops_per_clip={crops_per_clip}, received none")
    if first_epoch < 0:
        raise ValueError(f"expected first_epoch of at least 0, received {first_epoch}")


def check_division(
    validation_split: float | None, subset: str | None, shuffle: bool, seed: int | None, group_by: str | None
) -> None:
    """Checks what says which files are for training and which for validation.

    Raises:
        ValueError: they are out of range or do not fit each other.
    """
    if validation_split is not None and not 0 < validation_split < 1:
        raise ValueError(f"expected validation_split between 0 and 1, received {validation_split}")
    if bool(validation_split) != bool(subset):
        raise ValueError(
            f"expected validation_split and subset together, received validation_split={validation_split} and subset={subset!r}"
        )
    if subset and subset not in SUBSETS:
        raise ValueError(f"expected subset to be one of {', '.join(SUBSETS)}, received {subset!r}")
    if group_by not in (*GROUPS, None):
        raise ValueError(
            f"expected group_by to be one of {', '.join(map(repr, GROUPS))} or None, received {group_by!r}"
        )
    if group_by and not validation_split:
        raise ValueError(f"expected validation_split and subset with group_by={group_by!r}, received neither")
    if validation_split and (shuffle or group_by) and seed is None:
        raise ValueError(
            "expected a seed, or shuffle=False without group_by, so that training and validation share no file, received "
            "neither"
        )
