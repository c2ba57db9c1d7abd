"""What a model says of the clips of a split: its crops, and their means by clip."""

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
        probabilities: the mean over each clip's crops [clips, classes].
        crop_truth: the same of each crop [crops] or [crops, classes].
        crop_probabilities: [crops, classes].
        failures: number of clips that were left out because they, or a part of them, could not be decoded.
    """

    tracks: pd.DataFrame
    truth: np.ndarray
    probabilities: np.ndarray
    crop_truth: np.ndarray
    crop_probabilities: np.ndarray
    failures: int

    @property
    def multi_label(self) -> bool:
        """Whether clips may have several labels."""
        return self.truth.ndim == 2

    @property
    def crop_loss(self) -> float:
        """Mean cross-entropy of the crops in nats; of several labels the mean over them."""
        if self.multi_label:
            chosen = np.where(self.crop_truth, self.crop_probabilities, 1 - self.crop_probabilities)
        else:
            chosen = self.crop_probabilities[np.arange(len(self.crop_truth)), self.crop_truth]
        return float(-np.log(np.maximum(chosen, keras.config.epsilon())).mean())

    @property
    def crop_accuracy(self) -> float:
        """Share of crops whose most probable class is the true one; of several labels the share beyond 0.5 as it should."""
        if self.multi_label:
            return float(((self.crop_probabilities > 0.5) == self.crop_truth).mean())
        return float((self.crop_probabilities.argmax(axis=1) == self.crop_truth).mean())

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
    crop_rows, crop_probabilities = predict_crops(predict, paths, settings, ledger, f"{split} clips")
    truth = catalog.targets(tracks)
    clips, probabilities = mean_by_clip(crop_probabilities, crop_rows)
    return SplitPredictions(
        tracks=tracks.iloc[clips],
        truth=truth[clips],
        probabilities=probabilities,
        crop_truth=truth[crop_rows],
        crop_probabilities=crop_probabilities,
        failures=len(tracks) - len(clips),
    )


def predict_crops(
    predict: Callable[[tf.Tensor], tf.Tensor],
    paths: Sequence[str],
    settings: Settings,
    ledger: FailureLedger,
    description: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Runs a function of waveforms over the crops that evaluation takes of each file.

    Args:
        predict: from waveforms float32 [batch, samples] to anything of a fixed shape [batch, ...].
        paths: audio files.
        settings: of the model's training: rate, crop and batch size.
        ledger: where undecodable files are recorded.
        description: what the files are, for the progress bar and the message.

    Returns:
        The place in `paths` of each crop's file, ascending [crops], and what the function says of it [crops, ...].
        A file of which any crop could not be decoded has none.

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
    crop_rows, crops = np.concatenate(rows), np.concatenate(batches)
    whole = readable[crop_rows]
    return crop_rows[whole], crops[whole]


def mean_by_clip(probabilities: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Averages crops [crops, classes] that belong to the same clip.

    Returns:
        The clips' rows in ascending order [clips], and their mean probabilities [clips, classes].
    """
    clips, place = np.unique(rows, return_inverse=True)
    sums = np.zeros((len(clips), probabilities.shape[1]))
    np.add.at(sums, place, probabilities)
    return clips, sums / np.bincount(place)[:, np.newaxis]
