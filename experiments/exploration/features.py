"""The features of a data set before any training: two principal components, pictures, and how separable labels are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.decomposition import IncrementalPCA
from sklearn.metrics import balanced_accuracy_score, silhouette_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from experiments.builders.clips import stream_clips
from experiments.builders.data import prepare
from experiments.builders.model import build_front_end
from experiments.exploration.plots import GenreImages, plot_components, plot_genres
from experiments.figures import picture
from experiments.runs.failures import describe_failures, write_failures
from experiments.runs.left_out import write_left_out
from experiments.settings import Settings, require_one_label
from layers.front_ends.log_mel import LogMelSpectrogram
from pipeline.catalogs.splits import artist_groups
from pipeline.failures import FailureLedger
from pipeline.storage.atomic import atomic_write, write_text

VECTORS = ("statistics", "image")
_COMPONENTS = 50
_BATCH = 200  # vectors that a step of the incremental PCA sees, at least; more than its components
_SILHOUETTE_CLIPS = 5000  # its time grows with their square
_NEIGHBOURS, _FOLDS = 5, 5
_NAMED = 10  # labels that a note names


def explore(
    settings: Settings, output_dir: Path, split: str = "training", vector: str = "statistics"
) -> dict[str, Any]:
    """Computes features with a model's own front end and shows how they tell the labels apart.

    A clip is cut into the crops that evaluation would see. Its vector is either

    - "statistics": mean and standard deviation over all its frames of each mel band, [2 * n_mels]; the vectors of all
      clips are kept, a kilobyte each, and scores are computed in their space; or
    - "image": the log-mel image of its middle crop, flattened, [frames * n_mels], as in the study. Clips pass twice,
      once to fit the components and once to project on them, and scores are computed in the space of up to 50 of them.

    The vectors are not standardised: all their numbers have one unit, that of the front end.

    Args:
        settings: data and features of the experiment.
        output_dir: where features.json, features_pca.csv, features_pca.png, genres.png and failures.csv go.
        split: one of the catalog's splits, or "all".
        vector: one of `VECTORS`.

    Returns:
        The contents of features.json.

    Raises:
        ValueError: settings or data do not fit.
    """
    if vector not in VECTORS:
        raise ValueError(f"expected the vector to be one of {', '.join(VECTORS)}, received {vector!r}")
    if settings.crop_seconds == 0:
        raise ValueError("expected crops of one length, to average their images, received crop_seconds=0; use 5, say")
    require_one_label(settings, "this look at the features")
    front_end = build_front_end(settings)
    catalog, ledger = prepare(settings, () if split == "all" else (split,), needs_splits=split != "all")
    tracks = catalog.split(split)
    output_dir.mkdir(parents=True, exist_ok=True)
    try:
        images = GenreImages(catalog.labels)
        places, kept, components = [], [], None

        def first_pass() -> Iterator[np.ndarray]:
            for place, image in _clip_images(front_end, tracks, settings, ledger, f"features of {split} clips"):
                images.add(tracks["label"].iloc[place], image)
                places.append(place)
                features = clip_vector(image, vector)
                if vector == "statistics":
                    kept.append(features)
                yield features

        components = fit_components(first_pass())
        if vector == "image":
            second_pass = _clip_images(front_end, tracks, settings, ledger, "projection")
            kept = [components.transform(clip_vector(image, vector)[np.newaxis])[0] for _, image in second_pass]
        vectors = np.stack(kept)
        projected = (components.transform(vectors) if vector == "statistics" else vectors)[:, :2]
    finally:
        failures = output_dir / "failures.csv"
        write_failures(failures, ledger, catalog)
        write_left_out(output_dir / "left_out.csv", catalog.left_out)
        print(describe_failures(failures, ledger, catalog))
    shown = tracks.iloc[places].reset_index(drop=True)
    shares = [float(share) for share in components.explained_variance_ratio_[:2]]
    description = {
        "clips": len(shown),
        "split": split,
        "labels": list(catalog.labels),
        "vector": vector,
        "dimensions": components.n_features_in_,
        "explained_variance": shares,
        "score_space": "the vectors" if vector == "statistics" else f"{vectors.shape[1]} principal components",
        "score_space_explained_variance": (
            1.0 if vector == "statistics" else float(components.explained_variance_ratio_.sum())
        ),
        **separability(vectors, shown),
    }
    write_text(output_dir / "features.json", json.dumps(description, indent=2) + "\n")
    table = shown[["track_id", "path", "label", "split"]].assign(pc1=projected[:, 0], pc2=projected[:, 1])
    with atomic_write(output_dir / "features_pca.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g", errors="surrogateescape")
    with picture(output_dir / "features_pca.png"):
        plot_components(table, catalog.labels, shares, output_dir / "features_pca.png")
    with picture(output_dir / "genres.png"):
        plot_genres(images, front_end, output_dir / "genres.png")
    return description


def clip_vector(images: np.ndarray, vector: str) -> np.ndarray:
    """The vector of a clip's log-mel images [crops, frames, n_mels]."""
    if vector == "image":
        return images[len(images) // 2].ravel()
    return np.concatenate([images.mean(axis=(0, 1)), images.std(axis=(0, 1))])


def fit_components(vectors: Iterable[np.ndarray]) -> IncrementalPCA:
    """Fits up to 50 principal components to a stream, holding a few hundred vectors at a time.

    Raises:
        ValueError: there are fewer than three vectors.
    """
    components: IncrementalPCA | None = None
    waiting: list[np.ndarray] = []
    for vector in vectors:
        waiting.append(vector)
        if len(waiting) == 2 * _BATCH:  # what is left at the end is then at least a batch
            components = _fit_batch(components, waiting[:_BATCH])
            del waiting[:_BATCH]
    if len(waiting) < 3:
        raise ValueError(f"expected at least 3 decodable clips, found {len(waiting)}; see the failures")
    return _fit_batch(components, waiting)


def _fit_batch(components: IncrementalPCA | None, vectors: list[np.ndarray]) -> IncrementalPCA:
    batch = np.stack(vectors)
    return (components or IncrementalPCA(min(_COMPONENTS, *batch.shape))).partial_fit(batch)


def separability(vectors: np.ndarray, tracks: pd.DataFrame) -> dict[str, Any]:
    """How far the labels lie apart.

    Args:
        vectors: of the clips [clips, dimensions].
        tracks: their catalog rows.

    Returns:
        {"silhouette", "knn_balanced_accuracy", "knn_neighbours", "knn_folds", "chance", "notes"}. The silhouette
        (P. Rousseeuw, 1987) is between -1 and 1, 0 where labels overlap. The other is the balanced accuracy of a
        5-nearest-neighbour classifier in cross-validation, artists kept together. None where there are too few clips
        or artists; the notes say so.
    """
    labels = tracks["label"].to_numpy()
    groups = artist_groups(tracks)
    present = len(set(labels))
    scarce = groups.groupby(labels).nunique()
    notes = []
    silhouette = knn = None
    folds = int(min(_FOLDS, scarce.min()))
    if 2 <= present < len(labels):
        sample = min(_SILHOUETTE_CLIPS, len(labels))
        silhouette = float(silhouette_score(vectors, labels, sample_size=sample, random_state=0))
    else:
        notes.append("no silhouette: it needs two labels and more clips than labels")
    if present >= 2 and folds >= 2:
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
        parts = list(splitter.split(vectors, labels, groups))
        neighbours = min(_NEIGHBOURS, *(len(rest) for rest, _ in parts))
        predicted = cross_val_predict(KNeighborsClassifier(neighbours), vectors, labels, cv=parts)
        knn = float(balanced_accuracy_score(labels, predicted))
    else:
        alone = scarce.index[scarce < 2]
        only = ", ".join(alone[:_NAMED]) + f" and {len(alone) - _NAMED} more" * (len(alone) > _NAMED)
        notes.append(f"no k-NN score: labels with one artist only ({only})" if only else "no k-NN score: one label")
    return {
        "silhouette": silhouette,
        "knn_balanced_accuracy": knn,
        "knn_neighbours": _NEIGHBOURS,
        "knn_folds": folds,
        "chance": 1 / present,
        "notes": notes,
    }


def format_exploration(description: dict[str, Any]) -> str:
    """features.json as text for the terminal."""
    first, second = description["explained_variance"]
    silhouette, knn = description["silhouette"], description["knn_balanced_accuracy"]
    lines = [
        f"{description['clips']} clips, {description['dimensions']} numbers each ({description['vector']})",
        f"variance explained by two principal components: {first:.1%} + {second:.1%}",
    ]
    if silhouette is not None:
        lines.append(f"silhouette: {silhouette:+.3f} (1: labels far apart, 0: they overlap)")
    if knn is not None:
        lines.append(
            f"{description['knn_neighbours']} nearest neighbours, artists kept together: balanced accuracy {knn:.3f} "
            f"(chance {description['chance']:.3f})"
        )
    return "\n".join([*lines, *(f"note: {note}" for note in description["notes"])])


def _clip_images(
    front_end: LogMelSpectrogram, tracks: pd.DataFrame, settings: Settings, ledger: FailureLedger, description: str
) -> Iterator[tuple[int, np.ndarray]]:
    """Each clip's place in `tracks` and the log-mel images of its crops [crops, frames, n_mels]."""
    samples = round(settings.crop_seconds * settings.sample_rate_hz)
    compute = tf.function(lambda waveform: front_end(waveform)[..., 0])
    compute = compute.get_concrete_function(tf.TensorSpec([None, samples], tf.float32))
    for place, waveform in stream_clips(tracks, settings, ledger, settings.crop_seconds, description):
        yield place, compute(tf.constant(waveform)).numpy()
