"""A model of our own as the beginning of another: everything but its last dense layer, whose labels are others."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

from experiments.runs.run import Run
from experiments.settings import fields
from layers import load_model
from layers.front_ends.registry import find_front_end

HEAD = "logits"  # the last dense layer, as `build_audio_classifier` names it
_OWN_LAYERS = {"waveform", "embedding", HEAD}


def find_own_model(path: str | Path) -> Path | None:
    """Finds the model of ours that a path names.

    Args:
        path: a run directory, a `.keras` file, or anything else.

    Returns:
        A directory, or a `.keras` file that `train` wrote; None for anything else, such as the weights of keras.applications.
    """
    path = Path(path)
    if path.is_dir():
        return path
    if path.suffix != ".keras" or not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        names = {layer["config"]["name"] for layer in layers}
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError):
        return None
    return path if names >= _OWN_LAYERS else None


def own_model_name(path: Path) -> str:
    """Returns the network of a model of ours, without loading it.

    Args:
        path: from `find_own_model`.

    Raises:
        ValueError: it cannot be read.
    """
    file = path / "model.keras" if path.is_dir() else path
    try:
        with zipfile.ZipFile(file) as archive:
            return str(json.loads(archive.read("config.json"))["config"]["name"])
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"expected a Keras model at {file}, but it cannot be read: {error}") from error


def load_own_backbone(model: keras.Model, path: Path, sample_rate_hz: int) -> None:
    """Copies all weights but those of the last dense layer from a model of ours into another one.

    Labels, their number, and whether a clip may have several, need not be the same.

    Args:
        model: from `build_audio_classifier`.
        path: from `find_own_model`.
        sample_rate_hz: of the waveforms that `model` is for.

    Raises:
        ValueError: there is no model, or its network, its front end or the settings of that are not those of `model`.
    """
    source = read_own_model(path)
    _check_fits(source, model, path, sample_rate_hz)
    new, old = backbone_weights(model), backbone_weights(source)
    if [tuple(weight.shape) for weight in new] != [tuple(weight.shape) for weight in old]:
        raise ValueError(
            f"expected the {len(new)} weights of this version's {model.name} in {path}, found {len(old)} or others; train that "
            "run again"
        )
    for weight, value in zip(new, old, strict=True):
        weight.assign(value)


def backbone_weights(model: keras.Model) -> list[keras.Variable]:
    """Returns the weights of a model of ours without those of its last dense layer, in the order of `model.weights`."""
    head = {id(weight) for weight in model.get_layer(HEAD).weights}
    return [weight for weight in model.weights if id(weight) not in head]


def read_own_model(path: Path) -> keras.Model:
    """Loads a model of ours.

    Args:
        path: from `find_own_model`.

    Raises:
        ValueError: it cannot be read.
    """
    if path.is_dir():
        return Run(path).model()
    try:
        return load_model(path, compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"expected a Keras model at {path}, but it cannot be read: {error}") from error


def _check_fits(source: keras.Model, model: keras.Model, path: Path, sample_rate_hz: int) -> None:
    if source.name != model.name:
        raise ValueError(
            f"expected a {model.name} in --pretrained_weights={path}, found a {source.name}; choose --model={source.name}, or "
            "another run"
        )
    theirs, ours = (_features(each) for each in (source, model))
    if path.is_dir() and not theirs:  # whose network takes the waveform itself
        theirs, ours = ({"sample_rate_hz": rate} for rate in (Run(path).settings.sample_rate_hz, sample_rate_hz))
    differing = [name for name in theirs if theirs[name] != ours.get(name)]
    if differing:
        needed, received = (
            " ".join(f"--{name}={values[name]}" for name in differing if values.get(name) is not None)
            for values in (theirs, ours)
        )
        raise ValueError(
            f"expected the features that {path} was trained on, {needed or 'the defaults'}, received "
            f"{received or 'the defaults'}; give {needed or 'none of these flags'}"
        )


def _features(model: keras.Model) -> dict[str, Any]:
    """A model's front end and its settings, by the names of their flags; none where the network takes the waveform."""
    front_end = find_front_end(model)
    if front_end is None:
        return {}
    known = fields("features")
    return {"frontend": front_end.name} | {name: value for name, value in front_end.settings.items() if name in known}
