"""What models say of every clip without having been trained on it: the test predictions of all folds in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.builders.data import load_catalog
from experiments.comparison.folds import write_folds
from experiments.comparison.trials import Trial, check_models, list_trials, run_trials
from experiments.runs.run import Run
from experiments.settings import Settings
from pipeline.catalogs.splits import artist_groups

_CLIP = ["track_id", "path", "label"]  # what names a clip in a fold's table and in its run's predictions.csv


def out_of_fold_predictions(
    settings: Settings,
    models: Sequence[str],
    seeds: Sequence[int],
    folds: int | str,
    output_dir: Path,
    by_artist: bool = True,
) -> pd.DataFrame:
    """Draws folds, trains the models on each, and returns what they say of the test clips.

    Takes as long as models · seeds · folds runs of experiments.train, each in a process of its own. It may be interrupted:
    the same call goes on, and finished runs are not trained again. One process at a time may use `output_dir`
    (`pipeline.storage.folder_lock`); the caller sees to that.

    Args:
        settings: of every run; `model` and `seed` are replaced.
        models: names of networks and baselines.
        seeds: of the networks; the folds are drawn by the first, which is that of the baselines too.
        folds: their number, or `fold_number.ARTIST` for each artist in turn.
        output_dir: where the folds' tables and the runs go.
        by_artist: whether all clips of an artist are in one fold.

    Returns:
        The table that `pool_predictions` makes.

    Raises:
        ValueError: the data set cannot be cut in such folds, `output_dir` belongs to others, or a run failed.
    """
    check_models(models)
    tables = write_folds(settings, folds, seeds[0], output_dir, by_artist)
    trials = list_trials(settings, models, seeds, output_dir, folds=tables)
    if failed := run_trials(trials):
        trial, reason = next(iter(failed.items()))
        raise ValueError(
            f"expected every run to finish, but {len(failed)} of {len(trials)} failed, the first of them {trial.name}: "
            f"{reason}\nThe same command trains those again."
        )
    return pool_predictions(trials)


def pool_predictions(trials: Sequence[Trial]) -> pd.DataFrame:
    """Puts the test predictions of finished trials on folds in one table.

    Args:
        trials: on every fold, of each model and seed that is to be in the table.

    Returns:
        A row a clip, for each model and seed in turn; clips in the order of the data set, without those that could not be
        decoded. Columns: model, seed, fold, track_id, path, label, artist, album, title, predicted, and
        `probability_<label>` for each label.

    Raises:
        ValueError: a trial has no predictions, or those of another data set.
    """
    clips = load_catalog(trials[0].settings).tracks[[*_CLIP, "artist", "album", "title"]]
    series: dict[tuple[str, int], list[pd.DataFrame]] = {}
    for trial in trials:
        test = Run(trial.run_dir).predictions([*_CLIP, "split", "predicted"]).query("split == 'test'")
        series.setdefault((trial.model, trial.settings.seed), []).append(
            test.drop(columns="split").assign(fold=trial.fold)
        )
    parts = []
    for (model, seed), tests in series.items():
        pooled = pd.concat(tests)
        merged = clips.merge(pooled, on=_CLIP, validate="one_to_one")
        if len(merged) < len(pooled):
            raise ValueError(
                f"expected predictions of the clips of the folds from {model} seed {seed}, found {len(pooled) - len(merged)} "
                "of others; use another --output_dir"
            )
        parts.append(merged.assign(model=model, seed=seed))
    table = pd.concat(parts, ignore_index=True)
    first = ["model", "seed", "fold", *_CLIP, "artist", "album", "title", "predicted"]
    return table[[*first, *(name for name in table if name not in first)]]


def artists_of(clips: pd.DataFrame, trial: Trial) -> np.ndarray:
    """Returns the artist of each clip, as the folds keep them together.

    Args:
        clips: rows with track_id, path and label.
        trial: any on one of the folds.
    """
    tracks = load_catalog(trial.settings).tracks
    artists = tracks[_CLIP].assign(group=artist_groups(tracks))
    return clips[_CLIP].merge(artists, on=_CLIP, how="left", validate="one_to_one")["group"].to_numpy()
