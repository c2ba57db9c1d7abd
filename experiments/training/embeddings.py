"""A network's embedding as the features of a clip, and the network with the classifier of them as its head."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from experiments.builders.backbone import HEAD, backbone_weights, find_own_model, read_own_model
from experiments.builders.model import build_front_end
from experiments.builders.pretrained import load_pretrained
from experiments.pretrained.cache import PRETRAINED
from experiments.settings import Settings
from experiments.training.classifiers import FittedBaseline
from experiments.training.features import ClipFeatures
from layers.classifier import build_audio_classifier
from layers.front_ends.log_mel import LogMelSpectrogram
from layers.networks.musicnn import WINDOW_FRAMES
from layers.networks.registry import get_network

_PIECE_WINDOWS = 16  # computed at a time, so that memory does not grow with the clip; 48 s of sound


def make_musicnn_features(settings: Settings) -> ClipFeatures:
    """Makes the mean of musicnn's embedding over the windows of a clip: 200 numbers for each of its backbones.

    Args:
        settings: of the run; `pretrained_weights` are those of the network.

    Raises:
        ValueError: crops that are not whole clips, or weights that are missing or do not fit.
    """
    if settings.crop_seconds:
        raise ValueError(
            f"expected --crop_seconds=0 with --model={settings.model}, which hears whole clips, received "
            f"{settings.crop_seconds:g}; leave it out"
        )
    settings = dataclasses.replace(settings, model=embedding_network(settings.pretrained_weights))
    model = _build(settings, num_classes=2)
    load_pretrained(model, settings)
    front_end = build_front_end(settings)
    image = next(layer.output for layer in model.layers if isinstance(layer, type(front_end)))
    embed = keras.Model(image, model.get_layer("embedding").output)
    shortest = front_end.shortest_waveform(get_network(model.name).min_size)

    def with_head(fitted: FittedBaseline) -> keras.Model:
        kernel, bias = fitted.dense_layer()
        scaler = fitted.pipeline[0]
        # Two layers beyond what a trained network has: both are constants.
        standardize = keras.layers.Normalization(mean=scaler.mean_, variance=scaler.scale_**2, name="standardize")
        logits = keras.layers.Dense(len(bias), dtype="float32", name=HEAD)
        vector = keras.layers.UnitNormalization(name="unit_length")(standardize(model.get_layer("embedding").output))
        probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(logits(vector))
        logits.set_weights([kernel, bias])
        return keras.Model(model.input, probabilities, name=model.name)

    describe = make_piecewise(front_end, embed, shortest)
    return ClipFeatures(describe, _version(front_end, model), with_head)


def embedding_network(weights: str) -> str:
    """Returns the network that weights are for: that of `PRETRAINED`, or that of a run of ours.

    Raises:
        ValueError: they are those of neither.
    """
    if weights in PRETRAINED:
        return PRETRAINED[weights][0]
    own = find_own_model(weights)
    if own is None:
        raise ValueError(
            f"expected {', '.join(PRETRAINED)}, or a run of musicnn at {weights}, found none; check --pretrained_weights"
        )
    return read_own_model(own).name


def make_piecewise(
    front_end: LogMelSpectrogram, embed: keras.Model, shortest: int, piece_windows: int = _PIECE_WINDOWS
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Compiles the mean of an embedding over a clip's windows of 187 frames, of so many windows at a time.

    The result does not depend on the pieces, within rounding: each has the samples that its first and last frames reach, and
    what is left over of the frames at the end of a clip is not heard, as in the network itself.

    Args:
        front_end: from waveform to image, whose frames depend on the samples under them alone.
        embed: from an image of a piece to the mean of its windows' embeddings.
        shortest: length in samples to which shorter waveforms are padded with zeros.
        piece_windows: windows at a time.
    """
    hop = front_end.hop_length
    reach = -(-front_end.n_fft // 2 // hop)  # hops that a frame reaches to either side of its centre

    @tf.function(
        input_signature=[
            tf.TensorSpec([1, None], tf.float32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.int32),
        ]
    )
    def embed_piece(waveform: tf.Tensor, skip: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
        return embed(front_end(waveform)[:, skip : skip + frames], training=False)

    def describe(waveform: tf.Tensor) -> tf.Tensor:
        waveform = tf.convert_to_tensor(waveform)
        waveform = tf.pad(waveform, [[0, 0], [0, max(0, shortest - waveform.shape[1])]])
        frames = int(front_end.compute_output_shape(tuple(waveform.shape))[1] or 0)
        windows = max(frames // WINDOW_FRAMES, 1)
        total = np.zeros(embed.output_shape[1:])
        for begin in range(0, windows, piece_windows):
            count = min(piece_windows, windows - begin)
            first, length = begin * WINDOW_FRAMES, min(count * WINDOW_FRAMES, frames)
            skip = min(first, reach)
            piece = waveform[:, (first - skip) * hop : (first + length + reach) * hop]
            total += count * embed_piece(piece, tf.constant(skip), tf.constant(length)).numpy()[0]
        return tf.constant((total / windows)[np.newaxis], tf.float32)

    return describe


def _build(settings: Settings, num_classes: int) -> keras.Model:
    return build_audio_classifier(settings.model, num_classes, build_front_end(settings))


def _version(front_end: LogMelSpectrogram, model: keras.Model) -> str:
    """A digest of what an embedding depends on besides the waveform."""
    digest = hashlib.sha256(json.dumps([type(front_end).__name__, front_end.settings], sort_keys=True).encode())
    for weight in backbone_weights(model):
        digest.update(weight.numpy().astype("<f4").tobytes())
    return digest.hexdigest()
