"""The cache of pretrained weights: which there are, where they lie, and what their authors ask for."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

_CITATION = (
    "Jordi Pons and Xavier Serra, musicnn: pre-trained convolutional neural networks for music audio tagging, 2019, "
    "arXiv:1909.06654"
)


@dataclasses.dataclass(frozen=True)
class PretrainedWeights:
    """Weights that can be fetched.

    Attributes:
        network: which they belong to, in `layers.networks.registry`.
        trained_on: the data set that its authors trained it on.
        package: the package on PyPI that carries them.
        version: of the package.
        sha256: of the package's wheel.
        checkpoint: the folder of the wheel in which TensorFlow's checkpoint lies.
        tags: name of the list of its tags, in the wheel's configuration.
        citation: of the paper that users are asked to cite.
    """

    network: str
    trained_on: str
    package: str
    version: str
    sha256: str
    checkpoint: str
    tags: str
    citation: str


def _musicnn(trained_on: str, letters: str) -> PretrainedWeights:
    return PretrainedWeights(
        network="musicnn",
        trained_on=trained_on,
        package="musicnn",
        version="0.1.0",
        sha256="f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa",
        checkpoint=f"musicnn/{letters}_musicnn/",
        tags=f"{letters}_LABELS",
        citation=_CITATION,
    )


FETCHED: dict[str, PretrainedWeights] = {
    "musicnn_msd": _musicnn("the Million Song Dataset, 50 tags", "MSD"),
    "musicnn_mtt": _musicnn("MagnaTagATune, 50 tags", "MTT"),
}
# What settings may name: the network, and the fetched weights that it takes, one for each of its backbones.
PRETRAINED: dict[str, tuple[str, tuple[str, ...]]] = {
    **{name: (weights.network, (name,)) for name, weights in FETCHED.items()},
    "musicnn_both": ("musicnn_pair", ("musicnn_msd", "musicnn_mtt")),
}


def weights_folder() -> Path:
    """Returns where weights are kept: MELSTREAM_WEIGHTS, or else below XDG_CACHE_HOME or ~/.cache."""
    if chosen := os.environ.get("MELSTREAM_WEIGHTS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "melstream" / "weights"


def expected_path(name: str) -> Path:
    """Returns where the weights of this name lie, or would lie."""
    return weights_folder() / f"{name}.weights.h5"


def is_fetched(name: str) -> bool:
    """Returns whether the weights of this name, one of `PRETRAINED`, are in the cache."""
    try:
        return all(expected_path(part).is_file() and _description_path(part).is_file() for part in PRETRAINED[name][1])
    except (OSError, RuntimeError):  # a folder that is closed to us, or no home
        return False


def weights_paths(name: str) -> list[Path]:
    """Returns the files of the weights of this name, one of `PRETRAINED`, for each backbone of its network.

    Raises:
        ValueError: they have not been fetched.
    """
    return [weights_path(part) for part in PRETRAINED[name][1]]


def weights_path(name: str) -> Path:
    """Returns the file of the weights of this name, one of `FETCHED`.

    Raises:
        ValueError: they are not there; the message says how they are fetched, with a network and without.
    """
    if not is_fetched(name):
        package = FETCHED[name]
        raise ValueError(
            f"expected the weights {name} in {weights_folder()}, found none; fetch them by python -m "
            f"experiments.fetch_weights (29 MB). Without a network: on another machine, pip download "
            f"--no-deps {package.package}=={package.version}, and then here the same command with --wheel=FILE"
        )
    return expected_path(name)


def describe_weights(name: str) -> dict[str, Any]:
    """Returns what is known of weights in `FETCHED`: name, package, sha256, trained_on, tags, licence, citation.

    Raises:
        ValueError: they have not been fetched, or their description is damaged.
    """
    weights_path(name)
    path = _description_path(name)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"expected the description of the weights {name} in {path}, but it cannot be read: {error}; fetch them again"
        ) from error


def _description_path(name: str) -> Path:
    return weights_folder() / f"{name}.json"
