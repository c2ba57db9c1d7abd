"""Weights that a model starts from: fetched by name, of keras.applications, or of an earlier run."""

from __future__ import annotations

import keras

from experiments.builders.backbone import find_own_model, load_own_backbone
from experiments.pretrained.cache import PRETRAINED, weights_paths
from experiments.settings import Settings
from layers.networks.imagenet import has_application_weights, load_backbone_weights
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
        wanted, _ = PRETRAINED[name]
        if model.name != wanted:
            raise ValueError(
                f"expected --model={wanted} with --pretrained_weights={name}, received --model={model.name}; choose that "
                "model, or leave --pretrained_weights out"
            )
        load_musicnn_weights(model, weights_paths(name))
    elif own := find_own_model(name):
        load_own_backbone(model, own, settings.sample_rate_hz)
        print(f"note: begins with {own}: scores of clips or artists that it was trained on would be too good")
    elif has_application_weights(model):
        load_backbone_weights(model, name)
    else:
        weights = ", ".join(known for known, (network, _) in PRETRAINED.items() if network == model.name)
        raise ValueError(
            f"expected {f'{weights}, or ' * bool(weights)}a run directory or the model.keras of one at {name} to load into "
            f"{model.name}, found none; check --pretrained_weights, or leave it out"
        )
