"""What a run says of itself, where its directory is out of reach: in the metadata of an export, and in a report."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import keras

from experiments import __version__
from experiments.pretrained.cache import FETCHED, PRETRAINED, describe_weights, is_fetched
from experiments.runs.run import Run
from layers.front_ends.registry import find_front_end
from pipeline.catalogs.registry import SOURCES

_LIBRARIES = ("tensorflow", "keras", "kapre", "numpy", "soundfile", "soxr")


def describe_run(run: Run, model: keras.Model) -> dict[str, Any]:
    """Describes a finished run: its labels, data, front end, network, scores and libraries.

    Args:
        run: a finished one.
        model: its best model.

    Returns:
        What the metadata.json of an export holds, except `input`, which differs between the formats.

    Raises:
        ValueError: the run is not finished or cannot be read.
    """
    settings, data, test = run.settings, run.data, run.metrics["test"]
    front_end = find_front_end(model)
    return {
        "name": "melstream",
        "version": __version__,
        "exported_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "labels": data["labels"],
        # Of clips that may have several labels: from which probability on they have each; None where they have one.
        "thresholds": run.thresholds.tolist() if settings.multi_label else None,
        "sample_rate_hz": settings.sample_rate_hz,
        "crop_seconds": settings.crop_seconds,
        # None where the network takes the waveform itself.
        "front_end": front_end and {"class": type(front_end).__name__, **front_end.settings},
        "network": settings.model,
        "parameters": model.count_params(),
        # Whose weights the training started from, with their licence and what to cite.
        "pretrained_weights": _describe_pretrained(settings.pretrained_weights),
        "training_data": {
            "dataset": settings.dataset,
            "subset": settings.subset if SOURCES[settings.dataset].has_subsets else None,
            "genres": list(settings.genres),
            "clips": data["clips"],
            "catalog_sha256": data["sha256"],
        },
        "test": {
            level: {name: score for name, score in test[level].items() if name != "per_class"}
            for level in ("clip", "crop")
        },
        "libraries": {"python": platform.python_version()}
        | {library: importlib.metadata.version(library) for library in _LIBRARIES},
        "weights_sha256": weights_sha256(model),
    }


def _describe_pretrained(name: str) -> list[dict[str, Any]]:
    """What is known of the weights that a run started from; nothing: it started from nothing."""
    if name in PRETRAINED:
        return [describe_weights(part) for part in PRETRAINED[name][1]] if is_fetched(name) else [_from_registry(name)]
    if not name:
        return []
    path = Path(name)
    earlier = Run(path).settings.pretrained_weights if (path / "settings.json").is_file() else ""
    return [{"name": path.name}, *_describe_pretrained(earlier)]


def _from_registry(name: str) -> dict[str, Any]:
    """What is known of weights that are not on this machine."""
    parts = [FETCHED[part] for part in PRETRAINED[name][1]]
    return {
        "name": name,
        "package": f"{parts[0].package} {parts[0].version}",
        "trained_on": "; ".join(part.trained_on for part in parts),
        "citation": parts[0].citation,
    }


def weights_sha256(model: keras.Model) -> str:
    """Returns the SHA-256 of all weights' values in the order of `model.weights`, as little-endian float32 in C order."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(weights.astype("<f4").tobytes())
    return digest.hexdigest()
