"""The clips of a split with what a model should predict for each: what `catalog["training"]` returns."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledClips:
    """Clips that `pipeline.train_dataset` and `pipeline.eval_dataset` take as they are.

    Attributes:
        tracks: one row a clip, as in `Catalog.tracks`.
        targets: class index of each clip, int32 [clips]; or, where clips may have several labels, 1 for each that a clip has
            and 0 for the others, int32 [clips, labels].
        labels: the names of the classes, in the order of their indices.
        multi_label: whether a clip may have several labels.
    """

    tracks: pd.DataFrame
    targets: np.ndarray
    labels: tuple[str, ...]
    multi_label: bool = False

    @property
    def paths(self) -> list[str]:
        """The clips' paths."""
        return self.tracks["path"].tolist()

    def __len__(self) -> int:
        return len(self.tracks)
