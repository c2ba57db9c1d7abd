"""What a baseline knows of a clip: a vector of features."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from experiments.builders.model import build_front_end
from experiments.settings import Settings
from experiments.training.classifiers import FittedBaseline
from layers.front_ends.mfcc import mfcc, time_statistics


@dataclasses.dataclass(frozen=True)
class ClipFeatures:
    """How a clip becomes a vector.

    Attributes:
        describe: from waveform float32 [1, samples] to features float32 [1, units].
        version: a text that differs when the features of the same waveform do; "": it is not known.
        with_head: makes the model from waveform to probabilities, of these features and a classifier that was fitted on
            them; None: there is no such model.
    """

    describe: Callable[[tf.Tensor], tf.Tensor]
    version: str = ""
    with_head: Callable[[FittedBaseline], keras.Model] | None = None


def make_mfcc_features(settings: Settings) -> ClipFeatures:
    """Compiles the features of these settings: seven statistics over time of 20 MFCCs (arXiv:1612.01840), 140 numbers.

    They are of the log-mel front end that a network with these settings has.

    Raises:
        ValueError: fewer mel bands than MFCCs.
    """
    front_end = build_front_end(settings, "log_mel", scaling="decibel")

    # Without AutoGraph, which would wrap the message of an error in its own.
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)], autograph=False)
    def describe_waveform(waveform: tf.Tensor) -> tf.Tensor:
        missing = tf.maximum(front_end.min_samples - tf.shape(waveform)[1], 0)  # for one frame
        return time_statistics(mfcc(front_end(tf.pad(waveform, [[0, 0], [0, missing]]))))

    describe_waveform.get_concrete_function()  # now, so that mistakes are found before any file is written
    return ClipFeatures(describe_waveform)
