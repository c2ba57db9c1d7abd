"""A run's best model, exported: written under another name, checked as its users will load it, then renamed."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow as tf

from experiments.export.check import (
    HALF_TOLERANCE,
    TOLERANCE,
    check,
    check_mp3,
    clips_to_check,
    find_mp3s,
    predict_in_fresh_process,
)
from experiments.export.endpoints import AudioClassifier
from experiments.export.formats import write_mp3_saved_model, write_onnx, write_saved_model, write_tflite
from experiments.prediction.exported import METADATA_FILE
from experiments.runs.description import describe_run
from experiments.runs.run import Run
from layers.front_ends.musicnn_mel import MusicnnMelSpectrogram
from layers.front_ends.registry import find_front_end
from layers.networks.registry import get_network
from pipeline.decoding.registry import get_decoder
from pipeline.decoding.tfio_package import require_tensorflow_io

# Name: what is appended to the export directory's name, and the writer.
FORMATS: dict[str, tuple[str, Callable[[AudioClassifier, dict[str, Any], Path], None]]] = {
    "saved_model": ("", write_saved_model),
    "mp3": ("-mp3", write_mp3_saved_model),
    "tflite": (".tflite", write_tflite),
    "onnx": (".onnx", write_onnx),
}
SUFFIXES = (".tflite", ".onnx")


def export_run(
    run_dir: Path, export_dir: Path, formats: Sequence[str] = ("saved_model",), overwrite: bool = False
) -> dict[str, Path]:
    """Exports a run's best model and checks each export in a fresh process on real clips.

    Args:
        run_dir: of a finished run.
        export_dir: the SavedModel; other formats are written beside it.
        formats: names in `FORMATS`, "saved_model" among them.
        overwrite: whether earlier exports of the same names are replaced.

    Returns:
        The path of each format.

    Raises:
        ValueError: the run cannot be exported, or something else is in the place.
        OSError: it cannot be written.
        ExportCheckError: an export differs from the run; nothing is left of it.
    """
    if "mp3" in formats:
        require_tensorflow_io("--mp3", "leave --mp3 out: predict decodes MP3s for the other exports")
    export_dir = export_dir.absolute()
    if export_dir.suffix in SUFFIXES:
        raise ValueError(
            f"expected --export_dir as the name of a directory, received {export_dir.name}; leave {export_dir.suffix} out: "
            "it is appended to the file of that format"
        )
    targets = {name: export_dir.with_name(export_dir.name + FORMATS[name][0]) for name in formats}
    staging = export_dir.with_name(f".{export_dir.name}.partial")
    for target in targets.values():
        _put_back(staging / "replaced" / target.name, target)  # from an export that was killed half-way
        _check_place(target, overwrite)
    run = Run(run_dir)
    settings = run.settings
    get_decoder(settings.decoder).check_package(
        f"a run that was trained with --decoder={settings.decoder}", "train another with the default decoder"
    )
    classifier, clips = load_classifier(run), clips_to_check(run)
    if "mp3" in formats:
        find_mp3s(clips)
    metadata = describe_run(run, classifier.model)
    tolerance = HALF_TOLERANCE if settings.mixed_precision else TOLERANCE
    names = ", ".join(target.name for target in targets.values())
    print(f"writing {names}, and checking on {len(clips)} clips in fresh processes …", flush=True)
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "replaced").mkdir(parents=True)
    try:
        # Two checks at a time, while the next format is being written: most of their time is starting TensorFlow.
        with ThreadPoolExecutor(2) as pool:
            checks = {}
            for name, target in targets.items():
                try:
                    FORMATS[name][1](classifier, metadata, staging / target.name)
                except (OSError, tf.errors.OpError) as error:
                    reason = (
                        error.strerror
                        if isinstance(error, OSError)
                        else error.message.rpartition("; ")[2].partition(" [Op:")[0]
                    )
                    raise OSError(
                        f"expected to write {target}, received: {reason}; earlier exports are unharmed. Make room, or "
                        "choose another --export_dir, and run the same command again"
                    ) from error
                paths = clips["path"].tolist()
                checks[name] = pool.submit(predict_in_fresh_process, staging / target.name, paths, settings.decoder)
        expected = clips
        # One step of the float16 to which musicnn's mel is rounded is more than what other arithmetic changes.
        rounds = isinstance(find_front_end(classifier.model), MusicnnMelSpectrogram)
        for name, target in targets.items():
            predicted = checks[name].result()
            if name == "mp3":
                note = check_mp3(target, clips, predicted)
            else:
                note = check(target, expected, predicted, tolerance)
            if name == "saved_model":
                expected, tolerance = (
                    predicted,
                    HALF_TOLERANCE if rounds else TOLERANCE,
                )  # the formats below are converted from the same model
            print(f"{target}: {note}", flush=True)
        _publish({staging / target.name: target for target in targets.values()}, staging / "replaced")
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    for name in FORMATS.keys() - targets.keys():
        other = export_dir.with_name(export_dir.name + FORMATS[name][0])
        if other.exists():
            print(f"note: {other} is of an earlier export, and was left as it is")
    return targets


def load_classifier(run: Run) -> AudioClassifier:
    """Loads a run's best model with what it takes to use it on any audio.

    Raises:
        ValueError: it cannot be read.
    """
    settings, labels, model = run.settings, run.labels, run.model()
    front_end, min_size = find_front_end(model), get_network(model.name).min_size
    min_samples = front_end.shortest_waveform(min_size) if front_end else min_size
    return AudioClassifier(model, list(labels), settings.sample_rate_hz, settings.crop_seconds, min_samples)


def _publish(written: dict[Path, Path], aside: Path) -> None:
    """Renames all exports to their places, or none: earlier ones are put back if one fails."""
    try:
        for source, target in written.items():
            if target.exists():
                os.replace(target, aside / target.name)
            os.replace(source, target)
    except BaseException:
        for source, target in written.items():
            if target.exists() and not source.exists():
                os.replace(target, source)
            _put_back(aside / target.name, target)
        raise


def _put_back(aside: Path, target: Path) -> None:
    if aside.exists() and not target.exists():
        os.replace(aside, target)


def _check_place(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if not _is_export(target):
        raise ValueError(
            f"expected nothing or an earlier export at {target}, found something else; choose another --export_dir"
        )
    if not overwrite:
        raise ValueError(
            f"expected nothing at {target}, found an earlier export; add --overwrite, or choose another --export_dir"
        )


def _is_export(path: Path) -> bool:
    """Whether a path holds what this module writes under such a name."""
    if path.suffix == ".tflite":
        return zipfile.is_zipfile(path)
    if path.suffix == ".onnx":
        return path.is_file() and METADATA_FILE.encode() in path.read_bytes()
    return (path / "assets.extra" / METADATA_FILE).is_file()
