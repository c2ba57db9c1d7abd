"""Intervals by a bootstrap over artists: clips of one artist are alike, and so count for less than as many of different ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

_MOST_DRAWS = 1 << 22  # numbers in memory at a time


def bootstrap_balanced_mean_over_artists(
    values: np.ndarray, truth: np.ndarray, artists: np.ndarray, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Estimates the 95 % interval of the mean over labels of a label's mean value, by resampling artists.

    As `metrics.bootstrap_balanced_mean`, where each clip is drawn by itself; here an artist's clips are drawn together (the
    cluster bootstrap: A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8). Artists
    are drawn with replacement within strata, as many as each has: the artists whose most frequent label is the same. The
    draws depend on labels, artists and seed alone, so those of two models, or of their difference, are the same.

    A label with few artists has few different resamples, and its part of the interval is rather too narrow; with a
    single artist it has none. Like every interval over test clips it leaves out that other folds, or training artists, would
    have given other models.

    Args:
        values: one number a clip [clips], such as hits averaged over runs, or the difference of two models' hits.
        truth: true class indices [clips].
        artists: what is resampled: anything that names the artist of each clip [clips].
        resamples: how often to resample.
        seed: of the resampling.

    Returns:
        The 2.5 % and 97.5 % quantiles. A label without a clip in a resample, which happens where all its artists have more
        of another one, does not count there.
    """
    _, label = np.unique(truth, return_inverse=True)
    artist, names = pd.factorize(artists, sort=True)
    clips = np.zeros((len(names), label.max() + 1))
    sums = np.zeros_like(clips)
    np.add.at(clips, (artist, label), 1)
    np.add.at(sums, (artist, label), values)
    strata = pd.Series(np.arange(len(names))).groupby(clips.argmax(axis=1))
    rng = np.random.default_rng(seed)
    block = max(1, _MOST_DRAWS // len(names))
    means = []
    for begin in range(0, resamples, block):
        size = min(block, resamples - begin)
        totals = np.zeros((2, size, clips.shape[1]))  # of values and of clips [2, resamples, labels]
        for _, own in strata:
            members = own.to_numpy()
            times = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size).astype(float)
            totals += times @ np.stack([sums[members], clips[members]])
        drawn = totals[1] > 0
        shares = np.divide(totals[0], totals[1], out=np.zeros_like(totals[0]), where=drawn)
        means.append(shares.sum(axis=1) / drawn.sum(axis=1))
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)
