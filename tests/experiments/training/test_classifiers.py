"""The choice of a classifier by artists held out in turn, against a slow one made of scikit-learn's own parts."""

import warnings

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from experiments.training.classifiers import FittedBaseline, balanced_candidates, choose_by_artist

CANDIDATES = balanced_candidates()[1:6:2]
TEMPERATURES = np.exp(np.linspace(-5, 5, 801))


def choose_slowly(
    candidates: list, features: np.ndarray, truth: np.ndarray, artists: np.ndarray
) -> tuple[float, float, float]:
    """The C of the lowest cross-entropy on artists held out, that cross-entropy, and its temperature."""
    parts = min(5, len(set(artists)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")
        folds = list(StratifiedGroupKFold(parts, shuffle=True, random_state=0).split(features, truth, artists))
    results = []
    for candidate in candidates:
        values, named = [], []
        for known, held_out in folds:
            assert not set(artists[known]) & set(artists[held_out])
            if set(truth[known]) != set(truth):
                continue
            pipeline = make_pipeline(StandardScaler(), Normalizer(), clone(candidate)).fit(
                features[known], truth[known]
            )
            decisions = pipeline.decision_function(features[held_out])
            values.append(decisions if decisions.ndim == 2 else np.stack([0 * decisions, decisions], axis=1))
            named.append(truth[held_out])
        doubt = 1 / (len(np.concatenate(named)) + 2)
        labels = len(set(truth))
        targets = np.full((labels, labels), doubt / (labels - 1)) + (1 - doubt - doubt / (labels - 1)) * np.eye(labels)
        wanted, logits = targets[np.concatenate(named)], np.concatenate(values)
        losses = [-(wanted * log_softmax(logits / one, axis=1)).sum(axis=1).mean() for one in TEMPERATURES]
        results.append((min(losses), candidate.C, TEMPERATURES[np.argmin(losses)]))
    loss, c, temperature = min(results)
    return c, loss, temperature


def clips(labels: int, clips_of_artist: int, artists_of_label: list[int], seed: int) -> tuple[np.ndarray, ...]:
    """Features, class indices and artists of clips; an artist's clips are like each other."""
    counts = [clips_of_artist * artists for artists in artists_of_label]
    centers = make_blobs(labels, 8, centers=labels, center_box=(-4, 4), random_state=seed, return_centers=True)[2]
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(labels), counts)
    artists = np.arange(len(truth)) // clips_of_artist
    own = rng.normal(0, 4, (artists.max() + 1, 8))
    return centers[truth] + own[artists] + rng.normal(0, 3, (len(truth), 8)), truth, artists


@pytest.mark.parametrize(
    ("artists_of_label", "seed"),
    [
        ([6, 6], 1),
        ([6, 7, 4], 2),
        ([9, 8, 1], 3),  # whose only artist is in one part, which the others cannot predict
        ([2, 2, 1], 5),
    ],
)
def test_the_candidate_of_the_lowest_loss_on_artists_held_out(artists_of_label: list[int], seed: int):
    features, truth, artists = clips(len(artists_of_label), 5, artists_of_label, seed)
    fitted = choose_by_artist(CANDIDATES, features, truth, artists, len(artists_of_label))
    c, _, temperature = choose_slowly(CANDIDATES, features, truth, artists)
    assert fitted.hyperparameters == {"C": c}
    assert fitted.temperature == pytest.approx(temperature, rel=0.02)
    again = make_pipeline(
        StandardScaler(), Normalizer(), LogisticRegression(C=c, max_iter=10_000, class_weight="balanced")
    )
    np.testing.assert_allclose(
        fitted.pipeline.predict_proba(features), again.fit(features, truth).predict_proba(features), atol=1e-6
    )


def test_few_clips_that_are_all_right_do_not_make_it_certain():
    truth = np.repeat([0, 1], 8)
    features = np.stack([truth * 2.0 - 1, np.ones(16)], axis=1) + np.random.default_rng(0).normal(0, 1e-3, (16, 2))
    fitted = choose_by_artist(CANDIDATES, features, truth, np.arange(16), 2)
    assert 0.8 < fitted.probabilities(features)[np.arange(16), truth].min() < 0.995


def test_the_choice_is_another_than_by_clips():
    """Clips of unknown artists are held out one by one: the classifier may then rely on what it knows of an artist."""
    features, truth, artists = clips(3, 8, [4, 4, 4], 7)
    alone = np.array([f"clip {i}" for i in range(len(truth))])
    by_clip = choose_by_artist(CANDIDATES, features, truth, alone, 3)
    c, _, temperature = choose_slowly(CANDIDATES, features, truth, alone)
    assert by_clip.hyperparameters == {"C": c} and by_clip.temperature == pytest.approx(temperature, rel=0.02)
    by_artist = choose_by_artist(CANDIDATES, features, truth, artists, 3)
    assert by_artist.hyperparameters["C"] < c


@pytest.mark.parametrize("artists", [np.zeros(10, int), np.arange(10) // 5, np.arange(10)])
def test_with_nothing_to_choose_by_regularisation_is_strongest(artists: np.ndarray):
    """One artist of all clips, one of each label, or a label of a single clip."""
    features = np.random.default_rng(0).normal(size=(10, 4))
    truth = np.arange(10) // 5
    fitted = choose_by_artist(CANDIDATES, features, truth, artists, 2)
    if len(set(artists)) < 10:
        assert (fitted.hyperparameters["C"], fitted.temperature) == (CANDIDATES[0].C, 1.0)
    np.testing.assert_allclose(fitted.probabilities(features).sum(axis=1), 1)


def test_a_label_without_a_clip_is_refused():
    with pytest.raises(ValueError, match="decodable training clips of all 3 labels, found some of 2; repair"):
        choose_by_artist(CANDIDATES, np.eye(4), np.array([0, 0, 1, 1]), np.arange(4), 3)


def test_fitted_again_on_more_clips():
    features, truth, artists = clips(3, 5, [4, 4, 4], 2)
    fitted = choose_by_artist(CANDIDATES, features, truth, artists, 3)
    half = slice(None, None, 2)
    again: FittedBaseline = fitted.refitted(features[half], truth[half])
    own = clone(fitted.pipeline).fit(features[half], truth[half])
    values = own.decision_function(features) / fitted.temperature
    np.testing.assert_allclose(np.log(again.probabilities(features)), log_softmax(values, axis=1), atol=1e-9)
    assert again.hyperparameters == fitted.hyperparameters and again.temperature == fitted.temperature
    assert abs(again.probabilities(features) - fitted.probabilities(features)).max() > 1e-3
