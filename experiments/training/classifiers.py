"""Classifiers of scikit-learn's on features of clips: candidates, the choice among them, and probabilities."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC

from pipeline.catalogs.splits import stratified_parts

_PARTS = 5  # of the artists, each of which is held out once


def logistic_candidates() -> list[ClassifierMixin]:
    """Makes logistic regressions from strong to weak regularisation."""
    return [LogisticRegression(C=c, max_iter=10_000) for c in (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)]


def balanced_candidates() -> list[ClassifierMixin]:
    """Makes logistic regressions from strong to weak regularisation, in which every label weighs the same.

    For vectors of length 1. Under strong regularisation, which few artists call for, rare labels would otherwise be lost.
    """
    return [
        LogisticRegression(C=c, max_iter=10_000, class_weight="balanced")
        for c in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
    ]


def svm_candidates() -> list[ClassifierMixin]:
    """Makes support vector machines for 140 standardised features, for which scikit-learn's own gamma would be 1/140."""
    # Ties are broken as the highest decision value, so that the most probable label is always the machine's own.
    return [
        SVC(C=c, gamma=gamma, break_ties=True)
        for c, gamma in itertools.product((0.1, 1.0, 10.0, 100.0), (1e-3, 3e-3, 1e-2, 3e-2))
    ]


@dataclasses.dataclass(frozen=True)
class FittedBaseline:
    """A fitted classifier of feature vectors.

    Attributes:
        pipeline: standardisation, perhaps scaling to length 1, and classifier, which has decision values.
        temperature: what these are divided by before the softmax.
    """

    pipeline: Pipeline
    temperature: float

    def refitted(self, features: np.ndarray, truth: np.ndarray) -> FittedBaseline:
        """Fits the same classifier, with its hyperparameters and temperature, anew on these features [clips, features]."""
        return FittedBaseline(clone(self.pipeline).fit(features, truth), self.temperature)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Probabilities [clips, classes] of features [clips, features]."""
        return softmax(_decision_values(self.pipeline, features) / self.temperature, axis=1)

    def dense_layer(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the kernel [features, classes] and bias [classes] of a linear classifier, with the temperature folded in.

        The softmax of what they give of vectors that are standardised, and scaled to length 1 where the pipeline does that,
        is `probabilities`.
        """
        classifier = self.pipeline[-1]
        kernel, bias = classifier.coef_.T, classifier.intercept_  # [features, classes], or [features, 1] of two
        if len(bias) == 1:  # as `_decision_values` has it
            kernel, bias = np.hstack([-kernel, kernel]) / 2, np.hstack([-bias, bias]) / 2
        return kernel / self.temperature, bias / self.temperature

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
    check_all_present(training_truth, num_classes)
    fitted = []
    for candidate in candidates:
        pipeline = make_pipeline(StandardScaler(), candidate).fit(training_features, training_truth)
        loss, temperature = _calibrate(_decision_values(pipeline, validation_features), validation_truth)
        fitted.append((loss, FittedBaseline(pipeline, temperature)))
    return min(fitted, key=lambda pair: pair[0])[1]


def choose_by_artist(
    candidates: list[ClassifierMixin], features: np.ndarray, truth: np.ndarray, artists: np.ndarray, num_classes: int
) -> FittedBaseline:
    """Keeps the candidate of the lowest cross-entropy on artists that it was not fitted on, and fits it on all clips.

    For few artists, of whom one split would keep the only second one of a label from training: each part of the artists in
    turn is predicted by what is fitted on the others. A temperature is fitted as by `fit_baseline`. Standardised vectors are
    scaled to length 1, as speakers' embeddings are (Garcia-Romero and Espy-Wilson, "Analysis of i-vector length normalization
    in speaker recognition systems", Interspeech 2011).

    Args:
        candidates: classifiers.
        features: of all clips but those of the test split [clips, features].
        truth: their class indices [clips].
        artists: of each clip [clips].
        num_classes: number of labels.

    Raises:
        ValueError: a class has no clip that could be decoded.
    """
    check_all_present(truth, num_classes)
    parts = min(_PARTS, len(np.unique(artists)), np.bincount(truth).max())
    held_out = stratified_parts(artists, truth, parts, seed=0) if parts > 1 else []
    # A label whose artists are all in one part cannot be learned from the others.
    held_out = [rows for rows in held_out if len(np.unique(np.delete(truth, rows))) == num_classes]
    fitted = []
    for candidate in candidates:
        pipeline = make_pipeline(StandardScaler(), Normalizer(), candidate)
        values = [
            _decision_values(clone(pipeline).fit(np.delete(features, rows, 0), np.delete(truth, rows)), features[rows])
            for rows in held_out
        ]
        if values:
            held = truth[np.concatenate(held_out)]
            loss, temperature = _calibrate(np.concatenate(values), held, doubt=1 / (len(held) + 2))
        else:  # nothing to choose by: the strongest regularisation, which errs least
            loss, temperature = 0.0, 1.0
        fitted.append((loss, temperature, pipeline))
    _, temperature, pipeline = min(fitted, key=lambda item: item[0])
    return FittedBaseline(clone(pipeline).fit(features, truth), temperature)


def check_all_present(truth: np.ndarray, num_classes: int) -> None:
    """Refuses training clips that lack a label.

    Raises:
        ValueError: a class has no clip that could be decoded.
    """
    present = len(np.unique(truth))
    if present < num_classes:
        raise ValueError(
            f"expected decodable training clips of all {num_classes} labels, found some of {present}; repair the files "
            "or choose other --genres"
        )


def _calibrate(values: np.ndarray, truth: np.ndarray, doubt: float = 0.0) -> tuple[float, float]:
    """Returns the lowest cross-entropy of decision values [clips, classes] over a temperature, and that temperature.

    `doubt` is the share of each label that the others have (J. Platt, "Probabilistic outputs for support vector machines", 1999):
    otherwise few clips that are all right would ask for certainty.
    """

    def loss(log_temperature: float) -> float:
        log_probabilities = log_softmax(values / np.exp(log_temperature), axis=1)
        right = log_probabilities[np.arange(len(values)), truth]
        others = (log_probabilities.sum(axis=1) - right) / (values.shape[1] - 1)
        return -((1 - doubt) * right + doubt * others).mean()

    best = minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded")
    return best.fun, float(np.exp(best.x))


def _decision_values(pipeline: Pipeline, features: np.ndarray) -> np.ndarray:
    """[clips, classes]: of two classes, scikit-learn gives the second one's alone."""
    values = pipeline.decision_function(features)
    return np.stack([-values / 2, values / 2], axis=1) if values.ndim == 1 else values
