"""Baselines: features of clips and a classifier of scikit-learn's."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.base import ClassifierMixin

from experiments.builders.clips import stream_clips
from experiments.builders.data import prepare
from experiments.builders.model_settings import settings_for_model
from experiments.evaluation.evaluation import write_evaluation
from experiments.evaluation.latency import median_latency_ms
from experiments.evaluation.splits import SplitPredictions, mean_by_clip
from experiments.runs.run import Run
from experiments.settings import Settings, fields, require_one_label
from experiments.training.classifiers import (
    balanced_candidates,
    check_all_present,
    choose_by_artist,
    fit_baseline,
    logistic_candidates,
    svm_candidates,
)
from experiments.training.embedding_cache import EmbeddingCache
from experiments.training.embeddings import make_musicnn_features
from experiments.training.features import ClipFeatures, make_mfcc_features
from pipeline.catalogs.catalog import SPLITS, Catalog
from pipeline.catalogs.splits import artist_groups
from pipeline.failures import FailureLedger

_BATCH_WINDOWS = 16  # described at a time, so that memory does not grow with the clip


@dataclasses.dataclass(frozen=True)
class Baseline:
    """One entry of the registry.

    Attributes:
        make_features: makes the features of a clip that settings describe.
        candidates: makes the classifiers of which validation chooses one.
        networks: one of whose embeddings the features are, in `layers.networks.registry`; empty: no network's.
        by_artist: whether the classifier is chosen by holding out artists of training and validation in turn, instead of on
            validation: for few clips.
    """

    make_features: Callable[[Settings], ClipFeatures]
    candidates: Callable[[], list[ClassifierMixin]]
    networks: tuple[str, ...] = ()
    by_artist: bool = False


BASELINES: dict[str, Baseline] = {
    "mfcc_logistic": Baseline(make_mfcc_features, logistic_candidates),
    "mfcc_svm": Baseline(make_mfcc_features, svm_candidates),
    "musicnn_logistic": Baseline(
        make_musicnn_features, balanced_candidates, networks=("musicnn_pair", "musicnn"), by_artist=True
    ),
}


def train_baseline(settings: Settings, output_dir: str | Path) -> dict:
    """Fits a baseline on training clips and evaluates it on validation and test, as `loop.train` does.

    A clip is the numbers of its baseline: 140 statistics of its MFCCs, or the mean of a network's embeddings of its windows.
    They are standardised. The hyperparameters, and the temperature that turns decision values into probabilities, are those of
    the lowest cross-entropy on validation, by which a network's epoch is chosen too, or on artists held out in turn. With them
    the classifier is then fitted on training and validation together, because a few more artists are worth more than anything
    else; the scores of validation are those from before. Probabilities are the means over the windows of a clip. There is no
    randomness: the seed decides the split alone, where the data set gives none.

    Args:
        settings: of the run; `model` is a name in `BASELINES`.
        output_dir: run directory, new or of the same settings. It receives predictions.csv, metrics.json,
            confusion_matrix.png, failures.csv and baseline.json; on a network's embedding also model.keras, the network
            with the classifier as its last layer, which gives the same probabilities of windows.

    Returns:
        The contents of metrics.json.

    Raises:
        ValueError: settings, data or an existing run do not fit.
    """
    if settings.model not in BASELINES:
        raise ValueError(f"expected a baseline, received {settings.model!r}; choose one of: {', '.join(BASELINES)}")
    require_one_label(settings, "the baselines")
    if settings.decode_on_device:
        raise ValueError(
            f"expected a network with --decode_on_device, received {settings.model}, which has no training step; leave "
            "--decode_on_device out"
        )
    _check_transfer(settings)
    settings = settings_for_model(settings, given=fields("features"))  # which also says what does not fit
    run = Run(output_dir)
    catalog, ledger = prepare(settings)
    if len(catalog.labels) < 2:
        raise ValueError(
            f"expected at least 2 labels to tell apart, received {len(catalog.labels)}; choose more genres"
        )
    features = BASELINES[settings.model].make_features(settings)
    with run.locked():
        run.begin(settings, catalog)
        return _fit_and_evaluate(features, catalog, settings, ledger, run)


def _check_transfer(settings: Settings) -> None:
    """Refuses settings of the training of a pretrained network, which a baseline does not train."""
    default = Settings()
    for name in ("freeze", "backbone_learning_rate"):
        if (value := getattr(settings, name)) != getattr(default, name):
            raise ValueError(
                f"expected a network with --{name}={value}, received {settings.model}, which trains none; leave --{name} out"
            )
    if settings.cache_embeddings and not BASELINES[settings.model].networks:
        raise ValueError(
            f"expected musicnn_logistic with --cache_embeddings, received {settings.model}, which has no embeddings; leave "
            "--cache_embeddings out"
        )


def _fit_and_evaluate(
    features: ClipFeatures,
    catalog: Catalog,
    settings: Settings,
    ledger: FailureLedger,
    run: Run,
) -> dict:
    try:
        begin = time.perf_counter()
        tracks, windows, means = {}, {}, {}
        cache = EmbeddingCache(features.version, settings.decoder) if settings.cache_embeddings else None
        for split in SPLITS:
            tracks[split], windows[split] = _split_features(features, catalog, split, settings, ledger, cache)
            means[split] = np.stack([vectors.mean(axis=0) for vectors in windows[split]])
            if split == "training":
                del windows[split]
                training_seconds = time.perf_counter() - begin
        truth = {split: np.array(catalog.class_indices(rows)) for split, rows in tracks.items()}
        check_all_present(truth["training"], len(catalog.labels))
        begin = time.perf_counter()
        baseline = BASELINES[settings.model]
        candidates = baseline.candidates()
        if settings.class_balance != "none":
            candidates = [candidate.set_params(class_weight="balanced") for candidate in candidates]
        known, named = (
            np.concatenate([values[split] for split in ("training", "validation")]) for values in (means, truth)
        )
        if baseline.by_artist:
            artists = artist_groups(pd.concat([tracks["training"], tracks["validation"]])).to_numpy()
            final = choose_by_artist(candidates, known, named, artists, len(catalog.labels))
            classifier = final.refitted(means["training"], truth["training"])
        else:
            classifier = fit_baseline(
                candidates,
                *(means["training"], truth["training"]),
                *(means["validation"], truth["validation"]),
                num_classes=len(catalog.labels),
            )
            final = classifier.refitted(known, named)
        training_seconds += time.perf_counter() - begin
        splits = {}
        for split in ("validation", "test"):
            own = final if split == "test" else classifier
            clip_of = np.repeat(np.arange(len(tracks[split])), [len(vectors) for vectors in windows[split]])
            window_probabilities = own.probabilities(np.concatenate(windows[split]))
            splits[split] = SplitPredictions(
                tracks=tracks[split],
                truth=truth[split],
                probabilities=mean_by_clip(window_probabilities, clip_of)[1],
                window_truth=truth[split][clip_of],
                window_probabilities=window_probabilities,
                failures=len(catalog.split(split)) - len(tracks[split]),
            )
        with tf.device("CPU"):
            latency_ms = median_latency_ms(
                lambda waveform: final.probabilities(features.describe(waveform).numpy()), settings.sample_rate_hz
            )
        description = {
            "hyperparameters": final.hyperparameters,
            "temperature": final.temperature,
            "parameters": final.parameters,
            "training_seconds": training_seconds,
            "latency_ms": latency_ms,
        }
        run.write_baseline(description)
        if features.with_head is not None:
            run.write_model(features.with_head(final))
        return write_evaluation(run, splits, catalog.labels)
    finally:
        run.write_failures(ledger, catalog)
        print(run.describe_failures(ledger, catalog) + run.describe_left_out(catalog))


def _split_features(
    features: ClipFeatures,
    catalog: Catalog,
    split: str,
    settings: Settings,
    ledger: FailureLedger,
    cache: EmbeddingCache | None,
) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """The rows of a split's decodable clips, and the features of each one's windows [windows, units].

    Those that a cache holds are not computed.
    """
    tracks = catalog.split(split)
    found: dict[int, np.ndarray] = {}  # by the clip's place
    if cache is not None:
        kept = ((place, cache.read(path, features.units)) for place, path in enumerate(tracks["path"]))
        found = {place: vectors for place, vectors in kept if vectors is not None}
        print(f"{len(found)} of {len(tracks)} {split} clips have embeddings in {cache.folder}")
    missing = [place for place in range(len(tracks)) if place not in found]
    if missing:
        rows = tracks.iloc[missing]
        for i, waveforms in stream_clips(rows, settings, ledger, features.crop_seconds, f"features of {split} clips"):
            batches = (waveforms[begin : begin + _BATCH_WINDOWS] for begin in range(0, len(waveforms), _BATCH_WINDOWS))
            vectors = np.concatenate([features.describe(batch).numpy() for batch in batches])
            if cache is not None:
                cache.write(rows["path"].iloc[i], vectors)
            found[missing[i]] = vectors
    if not found:
        raise ValueError(f"expected decodable clips in the {split} split, found none; see failures.csv")
    places = sorted(found)
    return tracks.iloc[places], [found[place] for place in places]
