"""Baselines without a network: FMA's own, statistics of MFCCs and a classifier of scikit-learn's."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from experiments.builders.clips import stream_clips
from experiments.builders.data import prepare
from experiments.builders.model import build_front_end
from experiments.evaluation.evaluation import write_evaluation
from experiments.evaluation.latency import median_latency_ms
from experiments.evaluation.splits import SplitPredictions
from experiments.runs.run import Run
from experiments.settings import Settings, require_one_label
from layers.front_ends.mfcc import mfcc, time_statistics
from pipeline.catalogs.catalog import SPLITS, Catalog
from pipeline.failures import FailureLedger


def _logistic_candidates() -> list[ClassifierMixin]:
    return [LogisticRegression(C=c, max_iter=10_000) for c in (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)]


def _svm_candidates() -> list[ClassifierMixin]:
    # Of 140 standardised features: scikit-learn's own gamma would be 1/140. Ties are broken as the highest decision
    # value, so that the most probable label is always the machine's own.
    return [
        SVC(C=c, gamma=gamma, break_ties=True)
        for c, gamma in itertools.product((0.1, 1.0, 10.0, 100.0), (1e-3, 3e-3, 1e-2, 3e-2))
    ]


BASELINES: dict[str, Callable[[], list[ClassifierMixin]]] = {
    "mfcc_logistic": _logistic_candidates,
    "mfcc_svm": _svm_candidates,
}


def train_baseline(settings: Settings, output_dir: str | Path) -> dict:
    """Fits a baseline on whole training clips and evaluates it on validation and test, as `training.train` does.

    A clip is 140 numbers: seven statistics over time of 20 MFCCs (arXiv:1612.01840), from the log-mel front end that
    a network with these settings has. They are standardised. The hyperparameters, and the temperature that turns
    decision values into probabilities, are those of the lowest cross-entropy on validation, by which a network's
    epoch is chosen too. There is no randomness: the seed decides the split alone, where the data set gives none.

    Args:
        settings: of the run; `model` is a name in `BASELINES`.
        output_dir: run directory, new or of the same settings. It receives predictions.csv, metrics.json,
            confusion_matrix.png, failures.csv and baseline.json.

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
    run = Run(output_dir)
    catalog, ledger = prepare(settings)
    if len(catalog.labels) < 2:
        raise ValueError(
            f"expected at least 2 labels to tell apart, received {len(catalog.labels)}; choose more genres"
        )
    describe_waveform = make_feature_function(settings)
    with run.locked():
        run.begin(settings, catalog)
        return _fit_and_evaluate(describe_waveform, catalog, settings, ledger, run)


def _fit_and_evaluate(
    describe_waveform: Callable[[tf.Tensor], tf.Tensor],
    catalog: Catalog,
    settings: Settings,
    ledger: FailureLedger,
    run: Run,
) -> dict:
    try:
        begin = time.perf_counter()
        tracks, features = {}, {}
        for split in SPLITS:
            tracks[split], features[split] = _split_features(describe_waveform, catalog, split, settings, ledger)
            if split == "training":
                training_seconds = time.perf_counter() - begin
        truth = {split: np.array(catalog.class_indices(rows)) for split, rows in tracks.items()}
        begin = time.perf_counter()
        candidates = BASELINES[settings.model]()
        if settings.class_balance != "none":
            candidates = [candidate.set_params(class_weight="balanced") for candidate in candidates]
        classifier = fit_baseline(
            candidates,
            *(features["training"], truth["training"]),
            *(features["validation"], truth["validation"]),
            num_classes=len(catalog.labels),
        )
        training_seconds += time.perf_counter() - begin
        splits = {}
        for split in ("validation", "test"):
            probabilities = classifier.probabilities(features[split])
            failures = len(catalog.split(split)) - len(tracks[split])
            # A clip is one crop.
            splits[split] = SplitPredictions(
                tracks[split], truth[split], probabilities, truth[split], probabilities, failures
            )
        with tf.device("CPU"):
            latency_ms = median_latency_ms(
                lambda waveform: classifier.probabilities(describe_waveform(waveform).numpy()), settings.sample_rate_hz
            )
        description = {
            "hyperparameters": classifier.hyperparameters,
            "temperature": classifier.temperature,
            "parameters": classifier.parameters,
            "training_seconds": training_seconds,
            "latency_ms": latency_ms,
        }
        run.write_baseline(description)
        return write_evaluation(run, splits, catalog.labels)
    finally:
        run.write_failures(ledger, catalog)
        print(run.describe_failures(ledger, catalog) + run.describe_left_out(catalog))


def make_feature_function(settings: Settings) -> Callable[[tf.Tensor], tf.Tensor]:
    """Compiles the features of these settings: waveform [batch, samples] to MFCC statistics [batch, 140].

    Raises:
        ValueError: fewer mel bands than MFCCs.
    """
    front_end = build_front_end(settings, "log_mel", scaling="decibel")

    # Without AutoGraph, which would wrap the message of an error in its own.
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)], autograph=False)
    def describe_waveform(waveform: tf.Tensor) -> tf.Tensor:
        missing = tf.maximum(front_end.min_samples - tf.shape(waveform)[1], 0)  # for one frame
        return time_statistics(mfcc(front_end(tf.pad(waveform, [[0, 0], [0, missing]]))))

    describe_waveform.get_concrete_function()  # now, so that mistakes are found before any file is written
    return describe_waveform


def _split_features(
    describe_waveform: Callable[[tf.Tensor], tf.Tensor],
    catalog: Catalog,
    split: str,
    settings: Settings,
    ledger: FailureLedger,
) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of a split's decodable clips, and their features [clips, 140]."""
    tracks = catalog.split(split)
    places, rows = [], []
    for place, waveform in stream_clips(tracks, settings, ledger, 0, f"features of {split} clips"):
        places.append(place)
        rows.append(describe_waveform(waveform).numpy())
    if not rows:
        raise ValueError(f"expected decodable clips in the {split} split, found none; see failures.csv")
    return tracks.iloc[places], np.concatenate(rows)


@dataclasses.dataclass(frozen=True)
class FittedBaseline:
    """A fitted classifier of feature vectors.

    Attributes:
        pipeline: standardisation and classifier, which has decision values.
        temperature: what these are divided by before the softmax.
    """

    pipeline: Pipeline
    temperature: float

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Probabilities [clips, classes] of features [clips, features]."""
        return softmax(_decision_values(self.pipeline, features) / self.temperature, axis=1)

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The chosen C, and gamma of an SVM."""
        values = self.pipeline[-1].get_params()
        return {name: values[name] for name in ("C", "gamma") if name in values}

    @property
    def parameters(self) -> int:
        """Number of coefficients with intercepts, or of support vectors times features."""
        classifier = self.pipeline[-1]
        if isinstance(classifier, SVC):
            return classifier.support_vectors_.size
        return classifier.coef_.size + classifier.intercept_.size


def fit_baseline(
    candidates: list[ClassifierMixin],
    training_features: np.ndarray,
    training_truth: np.ndarray,
    validation_features: np.ndarray,
    validation_truth: np.ndarray,
    num_classes: int,
) -> FittedBaseline:
    """Fits every candidate on training and keeps the one of the lowest cross-entropy on validation.

    Probabilities are the softmax of the decision values over a temperature (C. Guo et al., "On calibration of modern
    neural networks", ICML 2017), which is also fitted on validation and changes no decision.

    Raises:
        ValueError: a class has no training clip that could be decoded.
    """
    present = len(np.unique(training_truth))
    if present < num_classes:
        raise ValueError(
            f"expected decodable training clips of all {num_classes} labels, found some of {present}; repair the files "
            "or choose other --genres"
        )
    fitted = []
    for candidate in candidates:
        pipeline = make_pipeline(StandardScaler(), candidate).fit(training_features, training_truth)
        values = _decision_values(pipeline, validation_features)

        def loss(log_temperature: float, values: np.ndarray = values) -> float:
            log_probabilities = log_softmax(values / np.exp(log_temperature), axis=1)
            return -log_probabilities[np.arange(len(values)), validation_truth].mean()

        best = minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded")
        fitted.append((best.fun, FittedBaseline(pipeline, float(np.exp(best.x)))))
    return min(fitted, key=lambda pair: pair[0])[1]


def _decision_values(pipeline: Pipeline, features: np.ndarray) -> np.ndarray:
    """[clips, classes]: of two classes, scikit-learn gives the second one's alone."""
    values = pipeline.decision_function(features)
    return np.stack([-values / 2, values / 2], axis=1) if values.ndim == 1 else values
