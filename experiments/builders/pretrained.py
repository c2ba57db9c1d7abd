"""Weights that a model starts from: fetched by name, of keras.applications, or of an earlier run."""

from __future__ import annotations

import keras

from experiments.pretrained.cache import PRETRAINED, weights_path
from experiments.settings import Settings
from layers.networks.imagenet import load_backbone_weights
from layers.networks.musicnn import load_musicnn_weights


def load_pretrained(model: keras.Model, settings: Settings) -> None:
    """Loads the weights that `pretrained_weights` names into a new model; its last dense layer stays new.

    Args:
        model: from `build_audio_classifier`, for these settings.
        settings: of the run.

    Raises:
        ValueError: there are no such weights, or they are of another network.
    """
    name = settings.pretrained_weights
    if name in PRETRAINED:
        wanted = PRETRAINED[name].network
        if model.name != wanted:
            raise ValueError(
                f"expected --model={wanted} with --pretrained_weights={name}, received --model={model.name}; choose that "
                "model, or leave --pretrained_weights out"
            )
        load_musicnn_weights(model, weights_path(name))
    else:
        load_backbone_weights(model, name)
