"""A trained model written in each of the formats that it can be used in elsewhere."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.lite.python.convert import ConverterError

from experiments.export.endpoints import AudioClassifier, Endpoint
from experiments.prediction.exported import METADATA_FILE
from layers.front_ends.registry import find_front_end
from layers.portable import convolution_power_spectrum, portable_classifier, rfft_power_spectrum

_WAVEFORM = tf.TensorSpec([None, None], tf.float32, "waveform")
_ONNX_OPSET = 17


def write_saved_model(classifier: AudioClassifier, metadata: dict[str, Any], path: Path) -> None:
    """Writes the SavedModel that takes waveforms: `serving_default`, `track`, `metadata`."""
    metadata = {"input": "waveform", **metadata}
    _write_saved_model(classifier.model, classifier.endpoints(_as_json(metadata)), metadata, path)


def write_mp3_saved_model(classifier: AudioClassifier, metadata: dict[str, Any], path: Path) -> None:
    """Writes the SavedModel that takes the bytes of MP3s, and needs tensorflow-io to be loaded."""
    metadata = {"input": "mp3", **metadata}
    _write_saved_model(classifier.model, classifier.mp3_endpoints(_as_json(metadata)), metadata, path)


def write_tflite(classifier: AudioClassifier, metadata: dict[str, Any], path: Path) -> None:
    """Writes a TFLite model of built-in operations, for any batch and length, with its metadata as a zip at its end.

    A zip at the end is how TFLite models carry files: readers of the model ignore it, `unzip` reads it.

    Raises:
        ValueError: the network cannot be converted.
    """
    n_fft = getattr(find_front_end(classifier.model), "n_fft", 1)
    power_spectrum = rfft_power_spectrum if n_fft & (n_fft - 1) == 0 else convolution_power_spectrum
    function = portable_classifier(classifier.model, power_spectrum, classifier.shortest)
    with tempfile.TemporaryDirectory() as folder:
        _write_saved_model(classifier.model, {"serving_default": (function, [_WAVEFORM])}, {}, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        try:
            path.write_bytes(converter.convert())
        except ConverterError as error:
            raise ValueError(
                f"expected a network that TFLite's built-in operations can express, received {classifier.model.name!r} "
                f"(recurrent layers, for one, they cannot at any batch size): leave --tflite out. {str(error)[:300]}"
            ) from error
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA_FILE, _as_json({"input": "waveform", **metadata}))


def write_onnx(classifier: AudioClassifier, metadata: dict[str, Any], path: Path) -> None:
    """Writes an ONNX model of opset 17 for any batch and length, with its metadata as a property.

    Raises:
        ValueError: the packages that it takes are not installed.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise ValueError(
            f"expected tf2onnx and onnx for --onnx, but {error}; install them with: pip install -e '.[onnx]'"
        ) from error
    function = portable_classifier(classifier.model, convolution_power_spectrum, classifier.shortest)
    graph = tf.function(function, input_signature=[_WAVEFORM], autograph=False)
    model, _ = tf2onnx.convert.from_function(graph, input_signature=[_WAVEFORM], opset=_ONNX_OPSET)
    onnx.helper.set_model_props(model, {METADATA_FILE: _as_json({"input": "waveform", **metadata})})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _write_saved_model(
    model: keras.Model, endpoints: dict[str, Endpoint], metadata: dict[str, Any], path: Path
) -> None:
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, (function, signature) in endpoints.items():
        archive.add_endpoint(name, function, input_signature=signature)
    archive.write_out(str(path), verbose=False)
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / METADATA_FILE).write_text(_as_json(metadata), encoding="utf-8")


def _as_json(metadata: dict[str, Any]) -> str:
    return json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"
