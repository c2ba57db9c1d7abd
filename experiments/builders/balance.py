"""Unequal numbers of clips a label: evened out by weights of the loss, or by how often a clip occurs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.utils.class_weight import compute_class_weight


def class_weights(class_indices: Sequence[int] | np.ndarray, num_classes: int) -> np.ndarray:
    """Returns weights float32 [classes] that give every class the same share of the loss; their mean over clips is 1.

    Args:
        class_indices: of the training clips [clips].
        num_classes: number of classes.

    Raises:
        ValueError: a class has no clip.
    """
    missing = sorted(set(range(num_classes)) - set(class_indices))
    if missing:
        raise ValueError(f"expected clips of every class to weigh it, found none of the classes {missing}")
    return compute_class_weight("balanced", classes=np.arange(num_classes), y=np.asarray(class_indices)).astype(
        np.float32
    )


def label_weights(targets: np.ndarray) -> np.ndarray:
    """Returns weights float32 [2, labels] that give the clips without a label the same share of its loss as those with it.

    Args:
        targets: 1 for each label that a clip has, 0 for the others [clips, labels].

    Raises:
        ValueError: every clip has a label, or none has.
    """
    one_sided = np.flatnonzero(targets.min(axis=0) == targets.max(axis=0)).tolist()
    if one_sided:
        raise ValueError(
            f"expected clips with and without every label to weigh it, found only one kind of the labels {one_sided}"
        )
    weights = [compute_class_weight("balanced", classes=np.arange(2), y=column) for column in targets.T]
    return np.stack(weights, axis=1).astype(np.float32)


def oversampled(tracks: pd.DataFrame) -> pd.DataFrame:
    """Repeats clips until every label has as many rows as the most frequent one: each all of its clips in turn.

    Each occurrence of a clip in an epoch has a crop of its own. Where clips have several labels, each combination of labels
    counts as one.

    Args:
        tracks: catalog rows.
    """
    most = int(tracks["label"].value_counts().max())
    rows = [np.resize(places, most) for places in tracks.reset_index().groupby("label").indices.values()]
    return tracks.iloc[np.concatenate(rows)]
