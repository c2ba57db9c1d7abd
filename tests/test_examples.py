"""Every example of a docstring runs, and shows what it says."""

import csv
import doctest
import importlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from support.audio import music, write_mp3
from support.places import ROOT

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("pipeline", "layers")
    for path in (ROOT / package).glob("**/*.py")
)
# What a user of the library calls: each has an example.
LIBRARY = {
    "pipeline.catalogs.folders": ("load_folders",),
    "pipeline.catalogs.table": ("load_csv",),
    "pipeline.catalogs.fma": ("load_fma",),
    "pipeline.catalogs.records": ("load_records",),
    "pipeline.dataset": ("train_dataset", "eval_dataset"),
    "pipeline.decoding.mp3_synthesis": ("Mp3Synthesis",),
    "pipeline.directory": ("audio_dataset_from_directory",),
    "pipeline.failures": ("FailureLedger",),
    "pipeline.decoding.soundfile_decoder": ("decode_crop", "read_info"),
    "layers.classifier": ("build_audio_classifier",),
    "layers.public": ("load_model",),
    "layers.front_ends.log_mel": ("LogMelSpectrogram",),
    "layers.front_ends.learnable_mel": ("TrainableMelSpectrogram", "PcenMelSpectrogram"),
    "layers.front_ends.leaf": ("Leaf",),
    "layers.front_ends.musicnn_mel": ("MusicnnMelSpectrogram",),
    "layers.front_ends.pcen": ("Pcen",),
    "layers.front_ends.mfcc": ("mfcc",),
    "layers.augmentation.spec_augment": ("SpecAugment",),
    "layers.networks.musicnn": ("load_musicnn_weights", "musicnn_tagger"),
}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory, small_fma: Path) -> dict[str, Any]:
    """What examples may use: three MP3s of 6 s in stereo, and the same music as folders, as a table and as FMA has it."""
    from pipeline.catalogs.fma import load_fma
    from pipeline.catalogs.pack import pack_records
    from pipeline.failures import FailureLedger

    root = tmp_path_factory.mktemp("examples")
    folders = root / "folders"
    paths = [
        write_mp3(folders / label / f"{i}.mp3", music(6, 44100, 2, seed=10 * j + i), 44100)
        for j, label in enumerate(("Jazz", "Rock"))
        for i in range(3)
    ]
    table = root / "table.csv"
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *((path, path.parent.name) for path in paths)])
    catalog = load_fma(str(small_fma), "small")
    pack_records(catalog, str(root / "records"), 2, {}, FailureLedger(len(catalog.tracks), 0.2))
    sizes = {len(soundfile.read(path)[0]) for path in paths}
    assert sizes == {6 * 44100}
    return {
        "paths": [str(path) for path in paths[:3]],
        "path": str(paths[0]),
        "fma_dir": str(small_fma),
        "folders_dir": str(folders),
        "csv_path": str(table),
        "records_dir": str(root / "records"),
        "model_path": str(root / "model.keras"),
        "weights_path": str(root / "tagger.weights.h5"),
        "np": np,
        "tf": tf,
        "keras": keras,
    }


def examples(module: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module))
    return [test for test in found if test.examples]


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module: str, request: pytest.FixtureRequest):
    for test in examples(module):
        test.globs |= request.getfixturevalue("names")
        messages: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        runner.run(test, out=messages.append)
        assert not runner.failures, "".join(messages)


@pytest.mark.parametrize("module", LIBRARY)
def test_what_a_library_user_calls_has_an_example(module: str):
    having = {test.name.removeprefix(module + ".") for test in examples(module)}
    assert set(LIBRARY[module]) <= having
