"""What a model says of the clips of a split: its windows, and their means by clip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from experiments.console import progress
from experiments.settings import Settings
from pipeline.catalogs.catalog import Catalog, join_labels
from pipeline.dataset import eval_dataset, iterate
from pipeline.failures import FailureLedger


@dataclasses.dataclass(frozen=True)
class SplitPredictions:
    """What a model says of the clips of one split.

    Attributes:
        tracks: the catalog rows of the decodable clips [clips].
        truth: their class indices [clips]; of clips with several labels 1 for each and 0 for the others [clips, classes].
        probabilities: the mean over each clip's windows [clips, classes].
        window_truth: the same of each window [windows] or [windows, classes].
        window_probabilities: [windows, classes].
        failures: number of clips that were left out because they, or a part of them, could not be decoded.
    """

    tracks: pd.DataFrame
    truth: np.ndarray
    probabilities: np.ndarray
    window_truth: np.ndarray
    window_probabilities: np.ndarray
    failures: int

    @property
    def multi_label(self) -> bool:
        """Whether clips may have several labels."""
        return self.truth.ndim == 2

    @property
    def window_loss(self) -> float:
        """Mean cross-entropy of the windows in nats; of several labels the mean over them."""
        if self.multi_label:
            chosen = np.where(self.window_truth, self.window_probabilities, 1 - self.window_probabilities)
        else:
            chosen = self.window_probabilities[np.arange(len(self.window_truth)), self.window_truth]
        return float(-np.log(np.maximum(chosen, keras.config.epsilon())).mean())

    @property
    def window_accuracy(self) -> float:
        """Share of windows whose most probable class is the true one; of several labels the share beyond 0.5 as it should."""
        if self.multi_label:
            return float(((self.window_probabilities > 0.5) == self.window_truth).mean())
        return float((self.window_probabilities.argmax(axis=1) == self.window_truth).mean())

    def predicted(self, labels: tuple[str, ...], thresholds: np.ndarray | None) -> list[str]:
        """Returns the label that each clip is given.

        Args:
            labels: names of the classes.
            thresholds: of clips with several labels, from which probability on they have each [classes]. Such a clip gets
                all of its labels in one text, which may be empty.
        """
        if thresholds is None:
            return [labels[i] for i in self.probabilities.argmax(axis=1)]
        return [join_labels(labels[i] for i in np.flatnonzero(row >= thresholds)) for row in self.probabilities]


def make_predict_function(model: keras.Model, jit_compile: bool = False) -> tf.types.experimental.GenericFunction:
    """Compiles a model's inference once, for waveforms float32 [batch, samples] of any size."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)], jit_compile=jit_compile)
    def predict(waveform: tf.Tensor) -> tf.Tensor:
        return model(waveform, training=False)

    return predict


def predict_split(
    predict: tf.types.experimental.GenericFunction,
    catalog: Catalog,
    split: str,
    settings: Settings,
    ledger: FailureLedger,
) -> SplitPredictions:
    """Runs a model over every clip of a split.

    Args:
        predict: from `make_predict_function`.
        catalog: whose labels are in the model's class order.
        split: one of the catalog's splits, or "all".
        settings: of the model's training: rate, crop and batch size.
        ledger: where undecodable files are recorded.

    Raises:
        FailureBudgetError: too many files failed.
        ValueError: no clip could be decoded.
    """
    tracks = catalog.split(split)
    paths = tracks["path"].tolist()
    window_rows, window_probabilities = predict_each_window(predict, paths, settings, ledger, f"{split} clips")
    truth = catalog.targets(tracks)
    clips, probabilities = mean_by_clip(window_probabilities, window_rows)
    return SplitPredictions(
        tracks=tracks.iloc[clips],
        truth=truth[clips],
        probabilities=probabilities,
        window_truth=truth[window_rows],
        window_probabilities=window_probabilities,
        failures=len(tracks) - len(clips),
    )


def predict_each_window(
    predict: Callable[[tf.Tensor], tf.Tensor],
    paths: Sequence[str],
    settings: Settings,
    ledger: FailureLedger,
    description: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Runs a function of waveforms over the windows that evaluation cuts from each file.

    Args:
        predict: from waveforms float32 [batch, samples] to anything of a fixed shape [batch, ...].
        paths: audio files.
        settings: of the model's training: rate, crop and batch size.
        ledger: where undecodable files are recorded.
        description: what the files are, for the progress bar and the message.

    Returns:
        The place in `paths` of each window's file, ascending [windows], and what the function says of it [windows, ...].
        A file of which any window could not be decoded has none.

    Raises:
        FailureBudgetError: too many files failed.
        ValueError: no file could be decoded.
    """
    dataset = eval_dataset(
        paths,
        ledger,
        sample_rate_hz=settings.sample_rate_hz,
        crop_seconds=settings.crop_seconds,
        batch_size=settings.batch_size,
        decoder=settings.decoder,
        decode_workers=settings.decode_workers or None,
    )
    batches, rows = [], []
    with progress(None, len(paths), description, leave=False) as bar:
        for waveform, row in iterate(dataset, ledger):
            batches.append(predict(waveform).numpy())
            rows.append(row.numpy())
            bar.update(int(rows[-1][-1]) + 1 - bar.n)
    failed = set(ledger.failures)
    readable = np.array([path not in failed for path in paths])
    if not readable.any():
        raise ValueError(f"expected decodable {description}, found none of {len(paths)}; see the failures")
    window_rows, windows = np.concatenate(rows), np.concatenate(batches)
    whole = readable[window_rows]
    return window_rows[whole], windows[whole]


def mean_by_clip(probabilities: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Averages windows [windows, classes] that belong to the same clip.

    Returns:
        The clips' rows in ascending order [clips], and their mean probabilities [clips, classes].
    """
    clips, place = np.unique(rows, return_inverse=True)
    sums = np.zeros((len(clips), probabilities.shape[1]))
    np.add.at(sums, place, probabilities)
    return clips, sums / np.bincount(place)[:, np.newaxis]
