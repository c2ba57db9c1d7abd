"""A run's best model, exported: written under another name, checked as its users will load it, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from experiments.conversion import write_mp3_saved_model, write_onnx, write_saved_model, write_tflite
from experiments.evaluation import load_model
from experiments.export_check import check, check_mp3, clips_to_check, predict_in_fresh_process
from experiments.export_metadata import describe_run
from experiments.run_dir import read_data
from experiments.serving import AudioClassifier
from experiments.settings import read_settings
from layers.log_mel import LogMelSpectrogram
from layers.models import get_network

# Name: what is appended to the export directory's name, and the writer.
FORMATS: dict[str, tuple[str, Callable[[AudioClassifier, dict[str, Any], Path], None]]] = {
    "saved_model": ("", write_saved_model),
    "mp3": ("-mp3", write_mp3_saved_model),
    "tflite": (".tflite", write_tflite),
    "onnx": (".onnx", write_onnx),
}


def export_run(
    run_dir: Path, export_dir: Path, formats: Sequence[str] = ("saved_model",), overwrite: bool = False
) -> dict[str, Path]:
    """Exports a run's best model and checks each export in a fresh process on real clips.

    Args:
        run_dir: of a finished run.
        export_dir: the SavedModel; other formats stand beside it.
        formats: names in `FORMATS`, "saved_model" among them.
        overwrite: whether earlier exports of the same names are replaced.

    Returns:
        The path of each format.

    Raises:
        ValueError: the run cannot be exported, or something else stands in the place.
        ExportCheckError: an export differs from the run; nothing is left of it.
    """
    targets = {name: export_dir.with_name(export_dir.name + FORMATS[name][0]) for name in formats}
    for target in targets.values():
        _check_place(target, overwrite)
    classifier, clips = load_classifier(run_dir), clips_to_check(run_dir)
    metadata = describe_run(run_dir, classifier.model)
    names = ", ".join(target.name for target in targets.values())
    print(f"writing {names}, and checking on {len(clips)} clips in fresh processes …", flush=True)
    staging = export_dir.with_name(f".{export_dir.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "replaced").mkdir(parents=True)
    try:
        # Two checks at a time, while the next format is being written: most of their time is starting TensorFlow.
        with ThreadPoolExecutor(2) as pool:
            checks = {}
            for name, target in targets.items():
                FORMATS[name][1](classifier, metadata, staging / target.name)
                checks[name] = pool.submit(predict_in_fresh_process, staging / target.name, clips["path"].tolist())
        expected = clips
        for name, target in targets.items():
            predicted = checks[name].result()
            note = check_mp3(target, clips, predicted) if name == "mp3" else check(target, expected, predicted)
            if name == "saved_model":
                expected = predicted  # for the formats converted from the same model
            print(f"{target}: {note}", flush=True)
        for target in targets.values():
            _publish(staging / target.name, target, staging / "replaced" / target.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return targets


def load_classifier(run_dir: Path) -> AudioClassifier:
    """Loads a run's best model with what it takes to use it on any audio.

    Raises:
        ValueError: it cannot be read.
    """
    settings, labels = read_settings(run_dir / "settings.json"), read_data(run_dir)["labels"]
    model = load_model(run_dir)
    front_end = next(layer for layer in model.layers if isinstance(layer, LogMelSpectrogram))
    min_samples = front_end.shortest_waveform(get_network(settings.model).min_size)
    return AudioClassifier(model, labels, settings.sample_rate_hz, settings.crop_seconds, min_samples)


def _publish(written: Path, target: Path, aside: Path) -> None:
    """Renames an export to its place; an earlier one there is put back if that fails."""
    if target.exists():
        os.replace(target, aside)
    try:
        os.replace(written, target)
    except BaseException:
        if aside.exists():
            os.replace(aside, target)
        raise


def _check_place(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise ValueError(
            f"expected nothing at {target}, found an earlier export; add --overwrite, or choose another --export_dir"
        )
    if target.is_dir() and any(target.iterdir()) and not (target / "saved_model.pb").is_file():
        raise ValueError(
            f"expected an earlier export at {target} to overwrite, found other files; choose another --export_dir"
        )
