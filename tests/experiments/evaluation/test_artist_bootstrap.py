"""Intervals over artists: against a loop, against the bootstrap over clips, and where the answer is known."""

import numpy as np
import pandas as pd
import pytest

from experiments.evaluation import artist_bootstrap
from experiments.evaluation.artist_bootstrap import bootstrap_balanced_mean_over_artists
from experiments.evaluation.metrics import bootstrap_balanced_mean


def test_interval_is_a_slow_loops(rng):
    """Some artists have clips of two labels, and so many clips as they like."""
    artists = np.repeat([f"artist {i}" for i in range(24)], rng.integers(1, 9, 24))
    truth = np.where(rng.random(len(artists)) < 0.9, pd.factorize(artists)[0] % 3, rng.integers(0, 3, len(artists)))
    predicted = np.where(rng.random(len(artists)) < 0.6, truth, rng.integers(0, 3, len(artists)))
    by_artist = {name: np.flatnonzero(artists == name) for name in np.unique(artists)}
    strata: dict[int, list[str]] = {}
    for name, clips in by_artist.items():
        strata.setdefault(np.bincount(truth[clips]).argmax(), []).append(name)
    drawn = []
    for _ in range(1500):
        names = [name for own in strata.values() for name in rng.choice(own, len(own))]
        clips = np.concatenate([by_artist[name] for name in names])
        own_truth, own_hits = truth[clips], (truth == predicted)[clips]
        drawn.append(np.mean([own_hits[own_truth == label].mean() for label in range(3)]))
    ours = bootstrap_balanced_mean_over_artists((truth == predicted).astype(float), truth, artists)
    assert ours == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=0.015)


def test_with_one_clip_an_artist_it_is_the_bootstrap_over_clips(rng):
    truth = np.repeat([0, 1, 2], (30, 60, 90))
    values = rng.integers(0, 4, 180) / 3
    over_artists = bootstrap_balanced_mean_over_artists(values, truth, np.arange(180), resamples=40_000)
    assert over_artists == pytest.approx(bootstrap_balanced_mean(values, truth, resamples=40_000), abs=0.003)


def test_clips_that_agree_within_an_artist_count_as_one():
    """Ten equal clips of each artist say as much as one of each."""
    truth, hits = np.repeat([0, 1], 40), np.tile([1.0, 0, 1, 1], 20)
    one = bootstrap_balanced_mean_over_artists(hits, truth, np.arange(80))
    ten = bootstrap_balanced_mean_over_artists(hits.repeat(10), truth.repeat(10), np.arange(80).repeat(10))
    assert ten == pytest.approx(one)
    over_clips = bootstrap_balanced_mean(hits.repeat(10), truth.repeat(10))
    assert np.diff(ten) > 2.5 * np.diff(over_clips)


def test_difference_of_a_model_to_itself_plus_a_constant_has_no_width(rng):
    """Differences are paired: what two models have in common does not widen their interval."""
    truth, artists = np.repeat([0, 1], 30), np.repeat(np.arange(12), 5)
    first = rng.random(60)
    assert bootstrap_balanced_mean_over_artists(first + 0.25 - first, truth, artists) == pytest.approx((0.25, 0.25))


def test_a_label_that_a_resample_lacks_does_not_count_there():
    """Label 1 is the smaller part of one of two artists: resamples are 0.5 with it, or 1 without it."""
    low, high = bootstrap_balanced_mean_over_artists(
        np.array([1.0, 1, 1, 0]), np.array([0, 0, 0, 1]), np.array(["a", "b", "b", "b"])
    )
    assert (low, high) == (0.5, 1.0)


def test_many_artists_are_drawn_in_blocks(rng, monkeypatch):
    truth, artists = np.repeat([0, 1], 100), np.repeat(np.arange(50), 4)
    values = rng.random(200)
    whole = bootstrap_balanced_mean_over_artists(values, truth, artists)
    monkeypatch.setattr(artist_bootstrap, "_MOST_DRAWS", 50 * 999)
    assert bootstrap_balanced_mean_over_artists(values, truth, artists) == pytest.approx(whole, abs=0.005)
