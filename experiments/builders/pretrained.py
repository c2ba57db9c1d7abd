"""Weights that a model begins with, as --pretrained_weights names them."""

from __future__ import annotations

import keras

from experiments.builders.backbone import find_own_model, load_own_backbone
from experiments.settings import Settings
from layers.networks.imagenet import has_application_weights, load_backbone_weights


def load_pretrained(model: keras.Model, settings: Settings) -> None:
    """Loads the weights that the settings name into a model; its last dense layer stays new.

    Args:
        model: from `build_audio_classifier`.
        settings: of the run; `pretrained_weights` may be empty, and nothing is loaded.

    Raises:
        ValueError: the weights are missing, or do not fit the model.
    """
    if not settings.pretrained_weights:
        return
    if own := find_own_model(settings.pretrained_weights):
        load_own_backbone(model, own, settings.sample_rate_hz)
    elif has_application_weights(model):
        load_backbone_weights(model, settings.pretrained_weights)
    else:
        raise ValueError(
            f"expected a run directory or the model.keras of one at {settings.pretrained_weights} to load into {model.name}, "
            "found none; check --pretrained_weights, or leave it out"
        )
