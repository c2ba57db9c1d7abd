"""One pass over the training clips: batches to steps to the columns of the history."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

import tensorflow as tf

from experiments.builders.training_data import training_stream
from experiments.console import progress
from experiments.settings import Settings
from experiments.training.checkpoint import EpochSums
from experiments.training.hosts import Cluster
from experiments.training.step import TrainStep
from pipeline.catalogs.catalog import Catalog
from pipeline.dataset import iterate
from pipeline.failures import FailureLedger


class DivergedError(ValueError):
    """The loss is no longer a finite number."""


def train_epoch(
    train_step: TrainStep,
    catalog: Catalog,
    settings: Settings,
    ledger: FailureLedger,
    epoch: int,
    sums: EpochSums | None = None,
    cluster: Cluster | None = None,
    save: Callable[[EpochSums], None] | None = None,
) -> dict[str, float]:
    """Trains for one pass over the training clips, or for the rest of one; returns its columns of the history.

    `seconds` is the pass without validation, of which `wait_seconds` were spent waiting for a batch.

    Args:
        train_step: from `make_train_step`.
        catalog: of the run.
        settings: of the run.
        ledger: where undecodable files are recorded.
        epoch: number of the pass, from 0.
        sums: where a checkpoint found the epoch; None: at its beginning.
        cluster: the hosts that train together; None: this one alone.
        save: is called with the sums so far every `checkpoint_steps` steps.

    Raises:
        DivergedError: the loss is not finite.
        FailureBudgetError: too many files failed.
        ValueError: no clip could be decoded.
    """
    sums, cluster = sums or EpochSums(), cluster or Cluster()
    dataset, steps = training_stream(catalog, settings, ledger, epoch, sums.steps, (cluster.index, cluster.count))
    results: deque[tuple[tf.Tensor, ...]] = deque()  # of steps that are not in the sums yet
    asked = time.perf_counter()
    begin = asked - sums.seconds
    title = f"epoch {epoch + 1}/{settings.epochs}"
    with progress(None, steps, title, initial=sums.steps, leave=False, unit="step") as bar:
        for crops, labels in iterate(dataset, ledger):
            sums.wait_seconds += time.perf_counter() - asked
            sums.steps += 1
            # One of several hosts takes part even without an example: the others may have some.
            if len(labels) or cluster.count > 1:
                results.append(train_step(crops, labels))
            # A GPU computes behind the caller's back: looking one step back lets it go on.
            if len(results) > 1:
                loss = _add(results.popleft(), sums, epoch, settings)
                bar.set_postfix(loss=f"{loss:.3f}", waiting=f"{sums.wait_seconds / (time.perf_counter() - begin):.0%}")
            bar.update()
            if save and settings.checkpoint_steps and sums.steps % settings.checkpoint_steps == 0 < steps - sums.steps:
                _add_all(results, sums, epoch, settings)
                sums.seconds = time.perf_counter() - begin
                save(sums)
            asked = time.perf_counter()
    ledger.check()
    _add_all(results, sums, epoch, settings)
    if not sums.examples:
        raise ValueError("expected decodable training clips, found none; see failures.csv")
    return {
        "loss": sums.loss / sums.examples,
        "accuracy": sums.correct / sums.examples,
        "steps": sums.steps,
        "seconds": time.perf_counter() - begin,
        "wait_seconds": sums.wait_seconds,
    }


def diverged(what: str, epoch: int, settings: Settings) -> DivergedError:
    """Returns the error for a loss that is not finite."""
    return DivergedError(
        f"expected a finite {what}, received one that is not in epoch {epoch + 1}; lower --learning_rate (now "
        f"{settings.learning_rate:g}), or switch --mixed_precision off. The run directory keeps the epochs before."
    )


def _add(result: tuple[tf.Tensor, ...], sums: EpochSums, epoch: int, settings: Settings) -> float:
    """Waits for a step, adds what it gave to the sums, and returns its loss."""
    loss, correct, examples = (float(value) for value in result)
    if not math.isfinite(loss):
        raise diverged("training loss", epoch, settings)
    sums.loss += loss * examples
    sums.correct += correct
    sums.examples += int(examples)
    return loss


def _add_all(results: deque[tuple[tf.Tensor, ...]], sums: EpochSums, epoch: int, settings: Settings) -> None:
    while results:
        _add(results.popleft(), sums, epoch, settings)
