"""The state of a training on disk: a file for each checkpoint, written whole, from which a killed run goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import re
from pathlib import Path

import keras
import numpy as np

from pipeline.storage.atomic import atomic_write

_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclasses.dataclass
class EpochSums:
    """How far an epoch has come, and the sums from which its columns of the history follow.

    Attributes:
        steps: batches taken, which is also the place of the next one.
        examples: in them.
        loss: sum over the examples in nats.
        correct: sum over the examples of their accuracy, as `Objective` has it.
        seconds: of the steps so far.
        wait_seconds: of these, spent waiting for a batch.
    """

    steps: int = 0
    examples: int = 0
    loss: float = 0.0
    correct: float = 0.0
    seconds: float = 0.0
    wait_seconds: float = 0.0


@dataclasses.dataclass
class TrainingState:
    """What a training run is at some step, beside the variables of its model and optimizer.

    Attributes:
        history: one row a finished epoch, as in history.csv.
        best_weights: the model's weights after the epoch of lowest validation loss; none before the first ends.
        epoch_sums: of the epoch that has begun.
    """

    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_weights: list[np.ndarray] = dataclasses.field(default_factory=list)
    epoch_sums: EpochSums = dataclasses.field(default_factory=EpochSums)

    @property
    def best_epoch(self) -> int:
        """Number, from 1, of the epoch with the lowest validation loss."""
        return int(np.argmin([row["val_loss"] for row in self.history])) + 1

    @property
    def place(self) -> str:
        """How far the training has come, in words."""
        steps = self.epoch_sums.steps
        return f"epoch {len(self.history)}" + f" and {steps} steps" * bool(steps)


def save_checkpoint(directory: Path, model: keras.Model, state: TrainingState, keep: int = 2) -> None:
    """Writes `epoch-NNNN.npz`, or `epoch-NNNN-step-NNNNNN.npz` within an epoch, and removes all but the last `keep`.

    It holds every variable of the model (dropout's seed states included) and of its optimizer, the best weights, the
    history and the sums of the epoch: what follows depends on nothing else but the settings. The SHA-256 of all that
    stands behind it.

    Raises:
        OSError: it cannot be written, as on a full disk; those before are unharmed.
    """
    directory.mkdir(exist_ok=True)
    arrays = {f"variable_{i}": variable.numpy() for i, variable in enumerate(_variables(model))}
    arrays |= {f"best_{i}": weights for i, weights in enumerate(state.best_weights)}
    progress = {"history": state.history, "epoch_sums": dataclasses.asdict(state.epoch_sums)}
    steps = state.epoch_sums.steps
    name = f"epoch-{len(state.history):04d}" + f"-step-{steps:06d}" * bool(steps)
    with atomic_write(directory / f"{name}.npz") as temporary:
        np.savez(temporary, progress=np.array(json.dumps(progress)), **arrays)
        with open(temporary, "r+b") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            file.write(digest)
            file.flush()
            os.fsync(file.fileno())  # before the rename: a machine that vanishes leaves this file or the one before
    for old in _checkpoints(directory)[:-keep]:
        old.unlink()


def restore_checkpoint(directory: Path, model: keras.Model) -> TrainingState:
    """Restores the newest undamaged checkpoint into the model and its optimizer; says which damaged ones it passes over.

    Returns:
        Its state; an empty one if there is none.
    """
    for path in reversed(_checkpoints(directory)):
        try:
            variables, state = _read(path, model)
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(f"warning: {path} cannot be used ({error}); going on from the checkpoint before it")
            continue
        for variable, value in zip(_variables(model), variables, strict=True):
            variable.assign(value)
        return state
    return TrainingState()


def _read(path: Path, model: keras.Model) -> tuple[list[np.ndarray], TrainingState]:
    """The values of the model's and the optimizer's variables, and the state."""
    contents = path.read_bytes()
    body, digest = contents[:-_DIGEST_BYTES], contents[-_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("its digest does not fit its contents")
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        progress = json.loads(str(arrays["progress"]))
        state = TrainingState(progress["history"], [], EpochSums(**progress["epoch_sums"]))
        variables = [_array(arrays, f"variable_{i}", variable) for i, variable in enumerate(_variables(model))]
        if state.history:
            state.best_weights = [_array(arrays, f"best_{i}", weight) for i, weight in enumerate(model.weights)]
    return variables, state


def _array(arrays: np.lib.npyio.NpzFile, name: str, variable: keras.Variable) -> np.ndarray:
    array = arrays[name]
    if array.shape != tuple(variable.shape):
        raise ValueError(f"expected {variable.path} of shape {tuple(variable.shape)}, found {array.shape}")
    return array


def _checkpoints(directory: Path) -> list[Path]:
    """Oldest first."""
    found = []
    for path in directory.glob("epoch-*.npz"):
        if match := re.fullmatch(r"epoch-(\d+)(?:-step-(\d+))?\.npz", path.name):
            found.append((int(match[1]), int(match[2] or 0), path))
    return [path for _, _, path in sorted(found)]


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]
