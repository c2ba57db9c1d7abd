"""What a model says of every window of a clip, and the log-mel images that it sees of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from experiments.builders.model import build_front_end
from experiments.evaluation.splits import make_predict_function, predict_each_window
from experiments.prediction.prediction import window_edges
from experiments.settings import Settings
from layers.front_ends.registry import find_front_end
from pipeline.failures import FailureLedger
from pipeline.storage.clips import clip_exists

IMAGE_COLUMNS = 108  # of a window, at most: enough for half a card's width each


@dataclasses.dataclass(frozen=True)
class WindowPredictions:
    """What a model says of a clip, window by window. All arrays are empty if the clip cannot be decoded.

    Attributes:
        problem: why the clip cannot be decoded, or "".
        edges: where the windows begin, and the clip's end, in seconds [windows + 1].
        windows: probabilities of each window [windows, classes].
        images: the log-mel image of each window, 0 its lowest and 255 its highest value, uint8 [windows, columns, mels].
        peak: the largest absolute sample of all windows, in mono; 0 if the clip cannot be decoded.
    """

    problem: str
    edges: np.ndarray
    windows: np.ndarray
    images: np.ndarray
    peak: float


def predict_windows(model: keras.Model, paths: Sequence[str], settings: Settings) -> dict[str, WindowPredictions]:
    """Runs a model, and its front end alone, over every window of each clip.

    Args:
        model: of the run.
        paths: of the clips.
        settings: of the run.

    Returns:
        The predictions of each path.
    """
    ledger = FailureLedger(len(paths), max_failure_rate=1.0)
    for path in paths:
        if not clip_exists(path):
            ledger.record(path, "file not found")
    there = [path for path in dict.fromkeys(paths) if path not in ledger.failures]
    rows, windows, images, peaks = np.zeros(0, int), np.zeros((0, 1)), np.zeros((0, 1, 1), np.uint8), np.zeros(0)
    if there:
        predict = make_predict_function(model, settings.jit_compile)
        try:
            rows, windows = predict_each_window(_with_peak(predict), there, settings, ledger, "clips")
            windows, peaks = windows[:, :-1], windows[:, -1]
            _, images = predict_each_window(make_image_function(model, settings), there, settings, ledger, "images")
        except ValueError:
            if len(ledger.failures) < len(set(paths)):
                raise
    failures = ledger.failures
    nothing = np.zeros(0)
    predictions = {
        path: WindowPredictions(failure.reason, nothing, nothing, nothing, 0.0) for path, failure in failures.items()
    }
    for row, path in enumerate(there):
        if path not in failures:
            of_clip = rows == row
            edges = window_edges(path, int(of_clip.sum()), settings.crop_seconds)
            peak = float(peaks[of_clip].max())
            predictions[path] = WindowPredictions("", edges, windows[of_clip], images[of_clip], peak)
    return predictions


def _with_peak(predict: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Adds a column to a function's probabilities [batch, classes]: the largest absolute sample of each waveform."""

    def both(waveform: tf.Tensor) -> tf.Tensor:
        peak = tf.reduce_max(tf.abs(waveform), axis=1, keepdims=True)
        return tf.concat([tf.cast(predict(waveform), tf.float32), peak], axis=1)

    return both


def make_image_function(model: keras.Model, settings: Settings) -> Callable[[tf.Tensor], tf.Tensor]:
    """Compiles the model's own front end, and the scaling of its images to bytes.

    A network that takes the waveform itself has no front end; the log-mel image is shown that other networks would see.

    Args:
        model: of the run.
        settings: of the run.

    Returns:
        A function of waveforms float32 [batch, samples] that returns uint8 [batch, columns, mels]: each image scaled
        between its own lowest and highest value, and averaged over time to at most `IMAGE_COLUMNS`.
    """
    front_end = find_front_end(model) or build_front_end(settings)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
    def image(waveform: tf.Tensor) -> tf.Tensor:
        features = front_end(waveform)  # [batch, frames, mels, 1]
        low = tf.reduce_min(features, axis=[1, 2, 3], keepdims=True)
        high = tf.reduce_max(features, axis=[1, 2, 3], keepdims=True)
        scaled = tf.math.divide_no_nan(features - low, high - low) * 255.0
        small = tf.image.resize(scaled, [IMAGE_COLUMNS, front_end.n_mels], method="area")
        return tf.cast(tf.round(small[..., 0]), tf.uint8)

    return image
