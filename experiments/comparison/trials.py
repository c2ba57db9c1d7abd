"""The training runs of a comparison: a trial is one model with one seed (on one fold), trained in a process of its own."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.builders.backbone import find_own_model, own_model_name
from experiments.builders.data import load_catalog, prepare
from experiments.builders.model_settings import settings_for_model
from experiments.pretrained.cache import PRETRAINED
from experiments.runs.run import Run
from experiments.settings import Settings, require_one_label
from experiments.settings_flags import flags_from_settings
from experiments.training.baselines import BASELINES
from layers.networks.registry import NETWORKS, get_network
from pipeline.catalogs.catalog import Catalog
from pipeline.catalogs.registry import SOURCES
from pipeline.storage.atomic import atomic_write

_CLIPS_FILE = "clips.csv"
_SHOWN_LINES = 12


@dataclasses.dataclass(frozen=True)
class Trial:
    """One model with one seed, in a cross-validation on one fold.

    Attributes:
        settings: of its training run.
        run_dir: its run directory.
        variant: the setting that is swept and its value, as name=value; "" without a sweep.
        fold: which of the folds it is tested on; None without a cross-validation.
    """

    settings: Settings
    run_dir: Path
    variant: str = ""
    fold: int | None = None

    @property
    def model(self) -> str:
        """What is compared: the model's name, and the value that is swept."""
        return f"{self.settings.model} {self.variant}".rstrip()

    @property
    def name(self) -> str:
        """As shown to people."""
        return f"{self.model} seed {self.settings.seed}" + ("" if self.fold is None else f" fold {self.fold}")


def check_models(models: Sequence[str]) -> None:
    """Refuses unknown or repeated names of networks and baselines.

    Raises:
        ValueError: naming them.
    """
    if not models:
        raise ValueError(f"expected --models, received none; choose from: {', '.join((*NETWORKS, *BASELINES))}")
    for name in models:
        if name not in BASELINES:
            get_network(name)
    if len(set(models)) < len(models):
        raise ValueError(f"expected different models, received {', '.join(models)}")


def settings_of_model(settings: Settings, model: str, fixed: Sequence[str] = ()) -> Settings:
    """Returns the settings of a comparison as one of its models has them.

    A network with features of its own keeps those, and so does a baseline on its embedding. Pretrained weights are for the
    network that they belong to, and what is frozen for networks alone; other models are trained from scratch beside it.

    Args:
        settings: of the comparison.
        model: name of a network or baseline.
        fixed: names of settings that no model may replace.

    Raises:
        ValueError: one of those contradicts the model.
    """
    baseline = BASELINES.get(model)
    networks = (model,) if baseline is None else baseline.networks
    weights, wanted = settings.pretrained_weights, ""
    if weights in PRETRAINED:
        wanted = PRETRAINED[weights][0]
    elif weights and (own := find_own_model(weights)):
        wanted = own_model_name(own)
    changes: dict[str, Any] = {"model": model}
    if not networks or (wanted and wanted not in networks):
        changes |= {"pretrained_weights": "", "freeze": "none", "backbone_learning_rate": None}
    if baseline is not None:
        changes |= {"freeze": "none", "backbone_learning_rate": None}
    if baseline is None or not networks:
        changes["cache_embeddings"] = False
    return settings_for_model(dataclasses.replace(settings, **changes), fixed)


def list_trials(
    settings: Settings,
    models: Sequence[str],
    seeds: Sequence[int],
    output_dir: Path,
    sweep: tuple[str, Sequence[Any]] | None = None,
    folds: Sequence[Path] = (),
    given: Sequence[str] = (),
) -> list[Trial]:
    """Lists the trials in the order of training: by model, by swept value, by seed, then by fold.

    A baseline has no randomness, and so one trial (on each fold), with the first seed.

    Args:
        settings: of every trial.
        models: names of networks and baselines.
        seeds: of the networks.
        output_dir: of the comparison.
        sweep: a setting's name and the values that each model is trained with.
        given: names of settings that no model may replace.
        folds: the table of each fold, as `folds.write_folds` writes them, which take the place of the data set.
    """
    name, values = sweep or ("", [None])
    trials = []
    for model, value in itertools.product(models, values):
        fixed = [name] if name else []
        swept = settings_of_model(
            dataclasses.replace(settings, **{name: value} if name else {}), model, [*fixed, *given]
        )
        if name and getattr(swept, name) != value:
            raise ValueError(
                f"expected models that have every value of --sweep={name}, received {model}, which cannot have {value!r}; leave "
                "that model or value out"
            )
        variant = f"{name}={value}" if name else ""
        folder = f"{model}_{name}_{value}" if name else model
        for seed in seeds[:1] if model in BASELINES else seeds:
            seeded, run_dir = dataclasses.replace(swept, seed=seed), output_dir / "runs" / f"{folder}_seed{seed}"
            if not folds:
                trials.append(Trial(seeded, run_dir, variant))
            for fold, table in enumerate(folds):
                # The clips have been chosen already, by their paths before they were made absolute.
                folded = dataclasses.replace(_on_table(seeded, table), probe_csv="")
                trials.append(Trial(folded, run_dir.with_name(f"{run_dir.name}_fold{fold}"), variant, fold))
    return trials


def fix_splits(settings: Settings, seeds: Sequence[int], output_dir: Path) -> Settings:
    """Gives every seed the same split.

    Where the data set gives no splits, they follow from the seed. Then the first seed's are written to clips.csv, and
    the settings returned are those of that table.

    Raises:
        ValueError: the data set cannot be used.
    """
    require_one_label(settings, "a comparison")
    if not SOURCES[settings.dataset].seed_splits:
        return settings
    first, *others = (
        load_catalog(dataclasses.replace(settings, seed=seed)).tracks[["track_id", "split"]] for seed in seeds
    )
    if all(first.equals(other) for other in others):
        return settings
    tracks = load_catalog(dataclasses.replace(settings, seed=seeds[0])).tracks
    write_clips(tracks, output_dir / _CLIPS_FILE)
    print(f"every seed has the split of seed {seeds[0]}: {output_dir / _CLIPS_FILE}")
    return _on_table(settings, output_dir / _CLIPS_FILE)


def write_clips(tracks: pd.DataFrame, path: Path) -> None:
    """Writes the rows of a catalog as a data set of its own, for dataset=csv, whose clips are named by absolute paths."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        tracks.assign(path=[str(Path(path).absolute()) for path in tracks["path"]]).to_csv(
            temporary, index=False, errors="surrogateescape"
        )


def _on_table(settings: Settings, table: Path) -> Settings:
    """The same settings on a table that `write_clips` has written, of clips as they are after every correction."""
    return dataclasses.replace(
        settings, dataset="csv", data_dir=str(table.absolute()), genres=(), exclude_csv="", relabel_csv=""
    )


def run_trials(trials: Sequence[Trial]) -> dict[Trial, str]:
    """Trains the trials that are not finished, one after another, and prints a line for each with the time left.

    What a run prints goes to `<run_dir>.log`. A trial that fails does not stop the others.

    Returns:
        Why trials failed.

    Raises:
        ValueError: the data set cannot be used.
    """
    wrong = _check_trials(trials)
    failed = {trial: wrong[trial] for trial in trials if trial in wrong}
    finished = {
        trial for trial in trials if trial not in failed and Run(trial.run_dir).is_finished_with(trial.settings)
    }
    waiting = [trial for trial in trials if trial not in failed and trial not in finished]
    print(f"{len(trials)} runs: {len(finished)} finished already, {len(waiting)} to train", flush=True)
    for trial, error in failed.items():
        print(f"{trial.name} failed: {error}", flush=True)
    begin = time.monotonic()
    for done, trial in enumerate(waiting):
        print(f"[{done + 1}/{len(waiting)}] {trial.name}: training (see {_log_path(trial)})", flush=True)
        error = _train_in_a_process(trial)
        if error:
            failed[trial] = error
        seconds = time.monotonic() - begin
        left = seconds / (done + 1) * (len(waiting) - done - 1)
        print(
            f"[{done + 1}/{len(waiting)}] {trial.name}: {f'failed: {error}' if error else 'finished'}; "
            f"{_duration(seconds)} so far, about {_duration(left)} left",
            flush=True,
        )
    return failed


def _check_trials(trials: Sequence[Trial]) -> dict[Trial, str]:
    """Why the directories of trials cannot be used, of those that cannot. Prints what clips there are, unless in folds."""
    errors: dict[Trial, str] = {}
    for fold in dict.fromkeys(trial.fold for trial in trials):  # one fold's clips in memory at a time
        own = [trial for trial in trials if trial.fold == fold]
        catalog = prepare(own[0].settings)[0] if fold is None else load_catalog(own[0].settings)
        errors |= {trial: error for trial in own if (error := _check_trial(trial, catalog))}
    return errors


def _check_trial(trial: Trial, catalog: Catalog) -> str:
    """Why a trial's directory cannot be used, or ""."""
    try:
        Run(trial.run_dir).check(trial.settings, catalog)
    except ValueError as error:
        return str(error)
    return ""


def _train_in_a_process(trial: Trial) -> str:
    """Runs the training script; returns why it failed, or ""."""
    log_path = _log_path(trial)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "experiments.train"),
        *flags_from_settings(trial.settings),
        f"--output_dir={trial.run_dir}",
    ]
    # This project's modules are found from any working directory.
    search_path = os.pathsep.join(
        filter(None, (str(Path(__file__).resolve().parent.parent.parent), os.getenv("PYTHONPATH")))
    )
    with open(log_path, "wb") as log:
        status = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": search_path}, stdout=log, stderr=subprocess.STDOUT
        ).returncode
    if status == 0:
        return ""
    lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    begin = max((i for i, line in enumerate(lines) if line.startswith("error: ")), default=len(lines) - _SHOWN_LINES)
    shown = "\n".join(lines[max(0, begin) :][:_SHOWN_LINES]).removeprefix("error: ")
    return shown or f"exit status {status}; see {log_path}"


def _log_path(trial: Trial) -> Path:
    return trial.run_dir.with_name(trial.run_dir.name + ".log")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
