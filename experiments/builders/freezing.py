"""Layers that are not trained (--freeze): what an earlier training has made of them stays as it is."""

from __future__ import annotations

from collections.abc import Iterator

import keras

from experiments.builders.backbone import HEAD
from experiments.settings import Settings

_DROPOUT = (keras.layers.Dropout, keras.layers.GaussianDropout, keras.layers.AlphaDropout)


def check_transfer(settings: Settings) -> None:
    """Refuses settings of a network's transfer that make no sense, before anything is read or written.

    Raises:
        ValueError: the settings do not fit together.
    """
    if settings.freeze != "none" and not settings.pretrained_weights:
        raise ValueError(
            f"expected --pretrained_weights with --freeze={settings.freeze}, received none: layers that nobody has trained "
            "would stay random; name weights or a run, or leave --freeze out"
        )
    if settings.freeze == "all" and settings.backbone_learning_rate is not None:
        raise ValueError(
            f"expected no --backbone_learning_rate with --freeze=all, received {settings.backbone_learning_rate:g}: only the "
            "last dense layer is trained; leave one of the two out"
        )
    if settings.cache_embeddings:
        raise ValueError(
            f"expected --model=musicnn_logistic with --cache_embeddings, received {settings.model}: a network hears other crops of "
            "a clip each epoch, so that no embedding would be used twice; leave --cache_embeddings out, or train musicnn_logistic"
        )


def freeze_layers(model: keras.Model, freeze: str) -> None:
    """Takes layers of a model out of its training. Call it before the model is compiled.

    A frozen layer keeps its weights; one of batch normalisation keeps its moving statistics too, and normalises by them in
    training as in inference. Dropout that stands before the last frozen layer is switched off, because it would only make
    features noisy that do not adapt to it; what stands after that layer, such as the dropout before the last dense layer,
    regularises what is trained, and stays on. Masks of SpecAugment, which are data, stay on too.

    Args:
        model: from `build_audio_classifier`.
        freeze: "none"; "all" but the last dense layer; or how many of the layers with weights, a number as text. These are
            counted from the waveform on, through models inside the model; a front end that is trained counts.

    Raises:
        ValueError: the model has fewer layers.
    """
    if freeze == "none":
        return
    layers = [layer for layer in _walk(model) if layer.name != HEAD]
    weighted = [place for place, layer in enumerate(layers) if layer.weights]
    number = len(weighted) if freeze == "all" else int(freeze)
    if number > len(weighted):
        raise ValueError(
            f"expected --freeze as at most {len(weighted)}, the layers with weights of {model.name} before its last dense layer, "
            f"received {freeze}; choose fewer, or all"
        )
    last = weighted[number - 1]
    for place in weighted[:number]:
        layers[place].trainable = False
    for layer in layers[: last + 1]:
        for part in (layer, *layer._flatten_layers(include_self=False)):  # such as the dropout of an attention layer
            _switch_dropout_off(part)


def _walk(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields the layers of a model and of the models inside it, in order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _walk(layer)
        else:
            yield layer


def _switch_dropout_off(layer: keras.layers.Layer) -> None:
    if isinstance(layer, _DROPOUT):
        layer.rate = 0.0
    elif type(layer).__name__ == "StochasticDepth":  # of keras.applications' ConvNeXt, which does not make it public
        layer.drop_path_rate = 0.0
