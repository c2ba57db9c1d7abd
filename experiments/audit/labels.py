"""Which labels are likely wrong, from what models say of clips that they were not trained on, by confident learning.

After Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels" (JAIR 2021), by the
authors' library, cleanlab.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.catalogs.corrections import file_key
from pipeline.catalogs.read_table import read_table

_PREFIX = "probability_"
_LEAST_CLIPS = 2  # of a label
# A label to which models give less, and most to another, is a suspect too: of a single wrong label among few clips confident
# learning says that there is none, because it compares shares.
_HARDLY_POSSIBLE = 0.1


@dataclasses.dataclass(frozen=True)
class LabelAudit:
    """What is likely wrong with the labels of a data set.

    Attributes:
        ranking: a row a clip, the likeliest wrong label first: path, label, likely_label (what the models say, on average),
            quality (0…1, small where the label is likely wrong), is_suspect (whether confident learning calls it wrong, or the
            models hardly think it possible), and `probability_<label>` for each label.
        noise: a row a label: label, clips, given_wrongly (estimated share of the clips with this label that should have
            another), missed (share of the clips that should have it and have another).
        overlaps: pairs of labels that are taken for one another, the most frequent first: label, other, clips, share.
        left_out: clips without a prediction.
    """

    ranking: pd.DataFrame
    noise: pd.DataFrame
    overlaps: pd.DataFrame
    left_out: int


def read_probabilities(path: Path) -> pd.DataFrame:
    """Reads out-of-fold predictions from a CSV file.

    Args:
        path: of a table with the columns path, label and `probability_<label>` for each label. Several rows a clip, of several
            seeds or models, are averaged.

    Raises:
        ValueError: it cannot be read, or lacks a column.
    """
    table = read_table(path, ("path",))
    columns = [str(name) for name in table.columns if str(name).startswith(_PREFIX)]
    try:
        return table.assign(**{name: table[name].astype(float) for name in columns})
    except ValueError as error:
        raise ValueError(
            f"expected numbers in the columns {', '.join(columns)} of {path}, but: {error}; mend the table"
        ) from error


def audit_labels(tracks: pd.DataFrame, labels: Sequence[str], predictions: pd.DataFrame) -> LabelAudit:
    """Ranks clips by how likely their label is wrong.

    Args:
        tracks: of the catalog: path and label.
        labels: of the catalog, in class order.
        predictions: out of fold: path and `probability_<label>` for each label; rows of one path are averaged.

    Raises:
        ValueError: the predictions are of other clips or labels, are no probabilities, or a label has fewer than two clips.
    """
    from cleanlab import count, dataset, filter, rank  # takes a second to import

    columns = [f"{_PREFIX}{label}" for label in labels]
    if missing := [name for name in columns if name not in predictions]:
        raise ValueError(
            f"expected a column {_PREFIX}LABEL for every label of the data set, found no {', '.join(missing)}; take "
            "predictions of a model of these labels"
        )
    # A table of predictions may have whole paths where the data set has relative ones.
    mean = predictions.groupby([file_key(path) for path in predictions["path"]], sort=False)[columns].mean()
    keys = pd.Series([file_key(path) for path in tracks["path"]], index=tracks.index)
    known = tracks[keys.isin(mean.index)]
    if known.empty:
        raise ValueError("expected predictions of this data set's clips, found none of its paths; predict it first")
    probabilities = mean.loc[keys[known.index].tolist()].to_numpy(np.float64)
    if not (
        probabilities.min() >= 0 and np.allclose(probabilities.sum(axis=1), 1, atol=1e-3)
    ):  # also where one is no number
        raise ValueError("expected probabilities that add up to 1 for each clip, found others; mend the table")
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    truth = pd.Index(labels).get_indexer(pd.Index(known["label"]))
    counts = np.bincount(truth, minlength=len(labels))
    if counts.min() < _LEAST_CLIPS or len(labels) < 2:
        rare = ", ".join(label for label, n in zip(labels, counts, strict=True) if n < _LEAST_CLIPS) or labels[0]
        raise ValueError(
            f"expected at least two labels and {_LEAST_CLIPS} clips of each for an audit of the labels, found too few of: "
            f"{rare}; leave them out by --genres, or leave labels out of --checks"
        )
    quality = rank.get_label_quality_scores(truth, probabilities)
    own = probabilities[np.arange(len(truth)), truth]
    suspect = filter.find_label_issues(truth, probabilities, n_jobs=1)
    joint = count.estimate_joint(truth, probabilities)  # [given, true]
    same = np.diag(joint)
    ranking = pd.DataFrame(
        {
            "path": known["path"].to_numpy(),
            "label": known["label"].to_numpy(),
            "likely_label": np.asarray(labels, object)[probabilities.argmax(axis=1)],
            "quality": quality,
            "is_suspect": (suspect | (own < _HARDLY_POSSIBLE)) & (probabilities.argmax(axis=1) != truth),
        }
    )
    ranking = pd.concat([ranking, pd.DataFrame(probabilities, columns=columns)], axis=1)
    noise = pd.DataFrame(
        {
            "label": list(labels),
            "clips": counts,
            "given_wrongly": 1 - same / np.maximum(joint.sum(axis=1), 1e-12),
            "missed": 1 - same / np.maximum(joint.sum(axis=0), 1e-12),
        }
    )
    pairs = dataset.find_overlapping_classes(truth, probabilities, class_names=list(labels))
    overlaps = pairs[["Class Name A", "Class Name B", "Num Overlapping Examples", "Joint Probability"]]
    overlaps = overlaps.set_axis(["label", "other", "clips", "share"], axis=1)
    return LabelAudit(
        ranking.sort_values("quality", kind="stable").reset_index(drop=True),
        noise.sort_values("given_wrongly", ascending=False, kind="stable").reset_index(drop=True),
        overlaps[overlaps["clips"] > 0].reset_index(drop=True),
        len(tracks) - len(known),
    )
