"""Training state on disk: one file an epoch, written whole, so that a killed run goes on from its last epoch."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import keras
import numpy as np

from experiments.atomic import written_whole

_KEPT = 2


@dataclasses.dataclass
class TrainingState:
    """What a training run is after some epochs, beside the variables of its model and optimizer.

    Attributes:
        history: one row an epoch, as in history.csv.
        best_weights: the model's weights after the epoch of lowest validation loss.
    """

    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_weights: list[np.ndarray] = dataclasses.field(default_factory=list)

    @property
    def best_epoch(self) -> int:
        """Number, from 1, of the epoch with the lowest validation loss."""
        return int(np.argmin([row["val_loss"] for row in self.history])) + 1


def save_checkpoint(directory: Path, model: keras.Model, state: TrainingState) -> None:
    """Writes `epoch-NNNN.npz` and removes all but the last few.

    It holds every variable of the model (dropout's seed states included) and of its optimizer, the best weights and
    the history: what follows depends on nothing else but the settings.
    """
    directory.mkdir(exist_ok=True)
    arrays = {f"variable_{i}": variable.numpy() for i, variable in enumerate(_variables(model))}
    arrays |= {f"best_{i}": weights for i, weights in enumerate(state.best_weights)}
    with written_whole(directory / f"epoch-{len(state.history):04d}.npz") as temporary:
        np.savez(temporary, history=np.array(json.dumps(state.history)), **arrays)
    for old in sorted(directory.glob("epoch-*.npz"))[:-_KEPT]:
        old.unlink()


def restore_checkpoint(directory: Path, model: keras.Model) -> TrainingState:
    """Restores the newest readable checkpoint into the model and its optimizer.

    Returns:
        Its state; an empty one if there is none.
    """
    for path in sorted(directory.glob("epoch-*.npz"), reverse=True):
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                values = {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            print(f"warning: {path} cannot be read ({error}); trying the one before")
            continue
        for i, variable in enumerate(_variables(model)):
            variable.assign(values[f"variable_{i}"])
        best = [values[f"best_{i}"] for i in range(len(model.weights))]
        return TrainingState(json.loads(str(values["history"])), best)
    return TrainingState()


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]
