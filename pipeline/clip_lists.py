"""What a dataset is made of: the paths of clips, what to predict for each, and the ledger of those that fail."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pipeline.failures import FailureLedger


@runtime_checkable
class HasTargets(Protocol):
    """Clips that know their targets, such as `catalog["training"]` (see `pipeline.catalogs.labelled_clips`)."""

    @property
    def paths(self) -> Sequence[str]:
        """The clips' paths."""

    @property
    def targets(self) -> np.ndarray:
        """Class index of each clip [clips], or 1 or 0 for each class [clips, classes]."""


Clips = HasTargets | Sequence[str]


@dataclasses.dataclass(frozen=True, eq=False)
class ClipList:
    """Clips, checked.

    Attributes:
        paths: of the clips.
        columns: what stands beside the waveform of each clip: its target int32 [clips] or [clips, classes], if it has one, and
            then its weight float32 [clips], if it has one.
        ledger: where the clips that cannot be decoded are recorded.
    """

    paths: list[str]
    columns: tuple[np.ndarray, ...]
    ledger: FailureLedger


def list_clips(
    data: Clips,
    class_indices: Sequence[int] | np.ndarray | FailureLedger | None = None,
    ledger: FailureLedger | None = None,
    sample_weight: Sequence[float] | np.ndarray | None = None,
    needs_targets: bool = False,
) -> ClipList:
    """Reads the arguments that say what a dataset is made of.

    Args:
        data: clips that know their targets, or paths.
        class_indices: the targets of paths; or the ledger, where no targets are given.
        ledger: where failures are recorded; None makes one.
        sample_weight: a weight for each clip.
        needs_targets: whether paths alone will not do.

    Raises:
        ValueError: they do not fit each other, or there is no clip.
    """
    if isinstance(class_indices, FailureLedger):
        if ledger is not None:
            raise ValueError("expected the class indices before the ledger, received two ledgers")
        class_indices, ledger = None, class_indices
    if not (ledger is None or isinstance(ledger, FailureLedger)):
        raise ValueError(f"expected a FailureLedger, or None to make one, received {type(ledger).__name__}")
    if isinstance(data, HasTargets):
        if class_indices is not None:
            raise ValueError(
                "expected clips that know their targets alone, received class indices as well; leave them out"
            )
        paths, class_indices = data.paths, data.targets
    else:
        paths = data
    paths = _read_paths(paths)
    if class_indices is None and needs_targets:
        raise ValueError(
            'expected clips with their labels, such as catalog["training"], or paths and class_indices; received paths alone'
        )
    columns: tuple[np.ndarray, ...] = ()
    if class_indices is not None:
        columns += (_read_targets(class_indices, len(paths)),)
    if sample_weight is not None:
        if class_indices is None:
            raise ValueError("expected class indices where a sample_weight is given, received none")
        columns += (_read_weights(sample_weight, len(paths)),)
    return ClipList(paths, columns, FailureLedger(len(paths)) if ledger is None else ledger)


def _read_paths(paths: Any) -> list[str]:
    wanted = 'expected clips such as catalog["training"], or a list of paths'
    if isinstance(paths, str | bytes | os.PathLike):
        raise ValueError(f"{wanted}, received a single path; put it in a list")
    if not isinstance(paths, Sequence | np.ndarray) and not hasattr(paths, "tolist"):
        raise ValueError(f"{wanted}, received {type(paths).__name__}")
    if getattr(paths, "ndim", 1) != 1:
        raise ValueError(f"{wanted}, received {type(paths).__name__} of {paths.ndim} dimensions")
    if not len(paths):
        raise ValueError("expected at least one path, received none")
    for path in paths:
        if not isinstance(path, str | bytes | os.PathLike):
            raise ValueError(f"{wanted}, received {path!r} in the list")
    return [os.fsdecode(path) for path in paths]


def _read_targets(class_indices: Any, count: int) -> np.ndarray:
    targets = np.asarray(class_indices)
    if targets.ndim not in (1, 2) or len(targets) != count:
        raise ValueError(
            f"expected a class index for each of {count} paths, or a row of 1 and 0 for each, received "
            f"{f'{len(targets)} of them' if targets.ndim in (1, 2) else f'an array of shape {targets.shape}'}"
        )
    if targets.dtype.kind not in "iub":
        raise ValueError(
            f"expected class indices as whole numbers, received {targets.flat[0]!r}; a label's index is its place in "
            "the sorted labels"
        )
    if targets.ndim == 1 and not 0 <= targets.min() <= targets.max() < 1 << 31:
        raise ValueError(f"expected class indices from 0 on, received {targets.min()} to {targets.max()}")
    if targets.ndim == 2 and not np.isin(targets, (0, 1)).all():
        raise ValueError("expected rows of 1 and 0 where a clip may have several classes, received other numbers")
    return targets.astype(np.int32)


def _read_weights(sample_weight: Any, count: int) -> np.ndarray:
    try:
        weights = np.asarray(sample_weight, np.float32)
    except (TypeError, ValueError):
        raise ValueError("expected a sample_weight as numbers, received something else") from None
    if weights.shape != (count,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(
            f"expected a sample_weight of at least 0 for each of {count} clips, received an array of shape {weights.shape}"
            f"{'' if weights.shape != (count,) else ' with others'}"
        )
    return weights
