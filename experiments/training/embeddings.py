"""A network's embedding as the features of a clip, and the network with the classifier of them as its head."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import keras
import tensorflow as tf

from experiments.builders.backbone import HEAD, backbone_weights, find_own_model, own_model_name
from experiments.builders.model import build_front_end
from experiments.builders.pretrained import load_pretrained
from experiments.pretrained.cache import PRETRAINED
from experiments.settings import Settings
from experiments.training.classifiers import FittedBaseline
from experiments.training.features import ClipFeatures
from layers.classifier import build_audio_classifier
from layers.front_ends.registry import FrontEnd

_EPSILON = 1e-12
_NETWORKS = ("musicnn", "musicnn_pair")


def make_musicnn_features(settings: Settings) -> ClipFeatures:
    """Makes musicnn's embedding of the windows that evaluation cuts from a clip: 200 numbers for each of its backbones.

    Args:
        settings: of the run; `pretrained_weights` are those of the network.

    Raises:
        ValueError: weights are missing or do not fit.
    """
    settings = dataclasses.replace(settings, model=embedding_network(settings.pretrained_weights))
    model = build_audio_classifier(settings.model, 2, build_front_end(settings))
    load_pretrained(model, settings)
    front_end = build_front_end(settings)
    embed = keras.Model(model.input, model.get_layer("embedding").output)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)], autograph=False)
    def describe(waveform: tf.Tensor) -> tf.Tensor:
        return embed(waveform, training=False)

    def with_head(fitted: FittedBaseline) -> keras.Model:
        kernel, bias = fitted.dense_layer()
        scaler = fitted.pipeline[0]
        # Two layers beyond what a trained network has. Not `Normalization`, whose constants ONNX's converter takes for inputs.
        standardize = keras.layers.BatchNormalization(
            epsilon=_EPSILON, center=False, scale=False, trainable=False, name="standardize"
        )
        logits = keras.layers.Dense(len(bias), dtype="float32", name=HEAD)
        vector = keras.layers.UnitNormalization(name="unit_length")(standardize(model.get_layer("embedding").output))
        probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(logits(vector))
        logits.set_weights([kernel, bias])
        standardize.set_weights([scaler.mean_, scaler.scale_**2 - _EPSILON])
        return keras.Model(model.input, probabilities, name=model.name)

    version = _version(front_end, model, settings.crop_seconds)
    return ClipFeatures(describe, embed.output_shape[1], settings.crop_seconds, version, with_head)


def embedding_network(weights: str) -> str:
    """Returns the network that weights are for: that of `PRETRAINED`, or that of a run of ours.

    Raises:
        ValueError: they are not musicnn's.
    """
    if weights in PRETRAINED:
        return PRETRAINED[weights][0]
    own = find_own_model(weights)
    name = own_model_name(own) if own else ""
    if name not in _NETWORKS:
        found = f"one of {name}" if name else "none"
        raise ValueError(
            f"expected {', '.join(PRETRAINED)}, or a run of {' or '.join(_NETWORKS)} at {weights}, found {found}; check "
            "--pretrained_weights"
        )
    return name


def _version(front_end: FrontEnd, model: keras.Model, crop_seconds: float) -> str:
    """A digest of what the embeddings of a clip depend on besides its waveform."""
    parts = [type(front_end).__name__, front_end.settings, crop_seconds]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for weight in backbone_weights(model):
        digest.update(weight.numpy().astype("<f4").tobytes())
    return digest.hexdigest()
