"""Exported models of every format behind one interface, as their users load them: without any code that trains."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from experiments.prediction.other_models import METADATA_FILE, refusal
from pipeline.decoding.tfio_package import require_tensorflow_io

_NEEDED = ("labels", "sample_rate_hz", "crop_seconds")  # of the metadata, whatever the format

# waveforms float32 [batch, samples] -> probabilities [batch, classes]
Classify = Callable[[np.ndarray], np.ndarray]
# contents of files [batch] -> probabilities [batch, classes], reasons of failure and remarks [batch], "" where there is none
ClassifyMp3 = Callable[[Sequence[bytes]], tuple[np.ndarray, list[str], list[str]]]


@dataclasses.dataclass(frozen=True)
class ExportedModel:
    """A loaded export; one of its two functions is there.

    Attributes:
        metadata: the contents of metadata.json.
        classify: from waveforms.
        classify_mp3: from the contents of MP3 files.
    """

    metadata: dict[str, Any]
    classify: Classify | None = None
    classify_mp3: ClassifyMp3 | None = None

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in order."""
        return self.metadata["labels"]

    @property
    def thresholds(self) -> np.ndarray | None:
        """Of clips that may have several labels: from which probability on they have each [classes]."""
        thresholds = self.metadata.get("thresholds")
        return None if thresholds is None else np.array(thresholds)


def load_exported(path: str | Path) -> ExportedModel:
    """Loads what export_saved_model wrote: a SavedModel (of waveforms or MP3s), a .tflite or an .onnx file.

    Raises:
        ValueError: there is no such thing, or it cannot be read.
    """
    path = Path(path)
    loaders = {".tflite": _load_tflite, ".onnx": _load_onnx}
    if refused := refusal(path):
        raise ValueError(refused)
    try:
        model = loaders.get(path.suffix.lower() if path.is_file() else "", _load_saved_model)(path)
        if missing := [name for name in _NEEDED if name not in model.metadata]:
            raise LookupError(f"its metadata has no {', '.join(missing)}")
        return model
    except (
        OSError,
        LookupError,
        RuntimeError,
        TypeError,
        UnicodeDecodeError,
        zipfile.BadZipFile,
        json.JSONDecodeError,
        tf.errors.OpError,
    ) as error:
        raise ValueError(
            f"expected a model written by export_saved_model at {path}, but it cannot be read: {error!r}; export it again"
        ) from error


def _load_saved_model(path: Path) -> ExportedModel:
    metadata = json.loads((path / "assets.extra" / METADATA_FILE).read_text(encoding="utf-8"))
    if metadata["input"] == "mp3":
        require_tensorflow_io(f"{path}, a SavedModel of MP3s", "load the one of waveforms, which was exported with it")
        from pipeline.decoding.tfio_decoder import load_ops

        load_ops()
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]

    def classify(waveforms: np.ndarray) -> np.ndarray:
        return signature(waveform=tf.constant(waveforms))["probabilities"].numpy()

    def classify_mp3(contents: Sequence[bytes]) -> tuple[np.ndarray, list[str], list[str]]:
        outputs = signature(mp3=tf.constant(list(contents)))
        remarks = outputs.get("remark", tf.fill([len(contents)], ""))  # older exports have none
        errors, remarks = ([text.decode() for text in texts.numpy()] for texts in (outputs["error"], remarks))
        return outputs["probabilities"].numpy(), errors, remarks

    if metadata["input"] == "mp3":
        return ExportedModel(metadata, classify_mp3=classify_mp3)
    return ExportedModel(metadata, classify)


def _load_tflite(path: Path) -> ExportedModel:
    try:
        with zipfile.ZipFile(path) as archive:
            metadata = json.loads(archive.read(METADATA_FILE))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(_of_others(path)) from error
    interpreter = _tflite_interpreter()(str(path), num_threads=os.cpu_count())
    run = interpreter.get_signature_runner("serving_default")
    return ExportedModel(metadata, lambda waveforms: run(waveform=waveforms)["probabilities"])


def _tflite_interpreter() -> Any:
    """Returns the class that runs TFLite models: ai-edge-litert's, or TensorFlow's own, which is announced to go."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return tf.lite.Interpreter
    return Interpreter


def _load_onnx(path: Path) -> ExportedModel:
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(f"expected the package onnxruntime, to run {path}; install it with pip ({error})") from error
    # Its errors share no base class but Exception.
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(
            f"expected an ONNX model at {path}, but onnxruntime cannot read it: {error}; export the run again with --onnx"
        ) from error
    properties = session.get_modelmeta().custom_metadata_map
    if METADATA_FILE not in properties:
        raise ValueError(_of_others(path))
    metadata = json.loads(properties[METADATA_FILE])
    return ExportedModel(metadata, lambda waveforms: session.run(["probabilities"], {"waveform": waveforms})[0])


def _of_others(path: Path) -> str:
    return (
        f"expected a {path.suffix} file that export_saved_model wrote, with the labels inside, found none in {path}: it was "
        f"made by other means, or is cut off; export the run again with --{path.suffix[1:].lower()}"
    )
