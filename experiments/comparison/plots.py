"""The pictures of a comparison."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.evaluation.plots import plot_confusion_matrix
from experiments.figures import picture, plt, save_figure, short_text

_MOST_MODELS = 60  # of one picture


def draw_comparison(
    table: pd.DataFrame,
    seeds: pd.DataFrame,
    tests: dict[tuple[str, int], pd.DataFrame],
    labels: Sequence[str],
    artists: np.ndarray | None,
    output_dir: Path,
) -> None:
    """Draws comparison.png; of a cross-validation also confusion_<model>.png, of each model's first seed.

    Args:
        table: one row a model, as in comparison.csv.
        seeds: one row a model and seed, with model and test_balanced_accuracy.
        tests: the test clips of each model and seed, with truth and predicted as class indices.
        labels: names of the classes.
        artists: of the test clips in a cross-validation; None otherwise.
        output_dir: where the pictures go.
    """
    clips = len(next(iter(tests.values())))
    units, what = "test clips", f"{clips} test clips"
    if artists is not None:
        units = "artists"
        what = (
            f"{clips} clips of {len(np.unique(artists))} artists,\neach predicted by a model that never heard its artist "
            f"({table['folds'].iloc[0]} folds)"
        )
    with picture(output_dir / "comparison.png"):
        shown = table[table["seeds"] > 0]
        plot_comparison(shown, seeds, units, what, len(labels), output_dir / "comparison.png")
    if artists is None:
        return
    for model, keys in itertools.groupby(tests, key=lambda key: key[0]):
        first = next(keys)
        truth, predicted = (tests[first][name].to_numpy() for name in ("truth", "predicted"))
        name = re.sub(r"[^\w.=-]", "_", model)
        title = f"{short_text(model, 40)}, seed {first[1]}: {clips} clips, {table['folds'].iloc[0]} folds by artist"
        with picture(path := output_dir / f"confusion_{name}.png"):
            plot_confusion_matrix(truth, predicted, labels, title, path)


def plot_comparison(
    table: pd.DataFrame, seeds: pd.DataFrame, units: str, clips: str, num_classes: int, path: Path
) -> None:
    """Draws the balanced accuracy of each model: a dot a seed, the mean over seeds, and its interval.

    Args:
        table: one row a model, as in comparison.csv; the first stands on top. The first 60 are shown.
        seeds: one row a model and seed, with model and test_balanced_accuracy.
        units: what the interval is over, in words.
        clips: what was predicted, in words.
        num_classes: number of labels, for the line of chance.
        path: a PNG.
    """
    models, table = len(table), table.head(_MOST_MODELS)
    figure, axis = plt.subplots(figsize=(8.5, 1.9 + 0.45 * len(table)), layout="constrained")
    mean = table["test_balanced_accuracy_mean"].to_numpy()
    low, high = (table[f"test_balanced_accuracy_{end}"].to_numpy() for end in ("low", "high"))
    places = np.arange(len(table))
    axis.hlines(places, low, high, color="0.55", linewidth=2.5, label=f"95 % interval over {units}", zorder=1)
    axis.plot(mean, places, "|", color="black", markersize=16, markeredgewidth=2, label="mean over seeds", zorder=3)
    for place, model in enumerate(table["model"]):
        scores = seeds.loc[seeds["model"] == model, "test_balanced_accuracy"].dropna().to_numpy()
        # Seeds with the same score would hide each other.
        heights = place + 0.16 * (np.arange(len(scores)) - (len(scores) - 1) / 2) / max(1, len(scores) - 1)
        axis.plot(scores, heights, "o", color="C0", markersize=5, label="a seed" if place == 0 else None, zorder=2)
    chance = 1 / num_classes
    axis.axvline(chance, color="C3", linestyle=":", linewidth=1.2, label="chance")
    axis.set_yticks(places, [short_text(model, 60) for model in table["model"]])
    if models > len(table):
        axis.set_title(f"the first {len(table)} of {models} models; comparison.csv has all of them")
    for place, value in enumerate(mean):
        axis.text(1.01, place, f"{value:.3f}", transform=axis.get_yaxis_transform(), va="center")
    axis.set_ylim(len(table) - 0.5, -0.5)
    axis.set_xlim(max(0.0, min(low.min(), chance) - 0.05), min(1.0, high.max() + 0.05) + 0.01)
    axis.set_xlabel(f"balanced accuracy on {clips}")
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    save_figure(figure, path)
