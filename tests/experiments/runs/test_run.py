"""A run's files: what is written is what is read, and a damaged file is one message that names it and the remedy."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from support.audio import music, write_mp3
from support.places import ROOT

from experiments.runs.identity import data_identity, same_data
from experiments.runs.run import Run
from experiments.settings import Settings
from pipeline.catalogs.catalog import Catalog
from pipeline.failures import FailureLedger

HISTORY = [
    {"epoch": 1, "loss": 1 / 3, "accuracy": 0.1 + 0.2, "val_loss": 2 / 3, "val_accuracy": 0.5, "seconds": 1e-17},
    {"epoch": 2, "loss": 1e300, "accuracy": 1.0, "val_loss": np.nan, "val_accuracy": 0.5, "seconds": 12.0},
]
METRICS = {"test": {"clip": {"accuracy": 2 / 3}}}


@pytest.fixture
def catalog() -> Catalog:
    tracks = pd.DataFrame(
        {
            "track_id": ["7", "=1+1", "NA"],
            "path": ["a.mp3", "name\udce9.mp3", "c, d.mp3"],  # file names need not be text
            "label": ["Rock", "NA", "Rock"],
            "split": ["training", "validation", "test"],
        }
    )
    return Catalog(tracks, ("NA", "Rock"))


@pytest.fixture
def run(catalog: Catalog, tmp_path: Path) -> Run:
    run = Run(tmp_path / "new" / "run")
    run.begin(Settings(seed=3), catalog)
    return run


def test_every_file_comes_back_as_it_was_written(run: Run, catalog: Catalog):
    assert run.settings == Settings(seed=3) and run.labels == ("NA", "Rock")
    assert run.data["clips"] == {"training": 1, "validation": 1, "test": 1}
    run.write_history(HISTORY)
    pd.testing.assert_frame_equal(run.history, pd.DataFrame(HISTORY), check_exact=True)
    run.write_thresholds(run.labels, np.array([1 / 3, 0.5]))
    assert run.thresholds.tolist() == [1 / 3, 0.5]
    assert run.baseline is None
    run.write_baseline({"latency_ms": 1 / 3})
    assert run.baseline == {"latency_ms": 1 / 3}
    assert not run.is_finished
    run.write_metrics(METRICS)
    assert run.metrics == METRICS and run.is_finished
    table = catalog.tracks[["track_id", "path", "split", "label"]].assign(predicted="NA", probability_NA=0.25)
    run.write_predictions(table)
    pd.testing.assert_frame_equal(run.predictions(("path", "probability_NA")), table)
    assert not list(run.directory.glob(".*"))


def test_a_model_comes_back_with_its_weights(run: Run, rng):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam")
    run.write_model(model)
    again, inputs = run.model(), rng.standard_normal((4, 3)).astype(np.float32)
    np.testing.assert_array_equal(again(inputs), model(inputs))
    assert getattr(again, "optimizer", None) is None


def test_failures_come_back_unless_their_files_are_repaired(run: Run, tmp_path: Path):
    repaired, gone = str(write_mp3(tmp_path / "a.mp3", music(1, 16_000), 16_000)), str(tmp_path / "gone.mp3")
    tracks = pd.DataFrame({"track_id": [1, 2], "path": [repaired, gone], "label": "=A,\n", "split": "training"})
    ledger = FailureLedger(2, 1.0)
    ledger.record(repaired, "file not found", 3)
    ledger.record(gone, "a reason\nof two lines", 2)
    run.write_failures(ledger, Catalog(tracks, ("=A,\n",)))
    assert [(row["path"], row["label"], row["reason"], row["occurrences"]) for row in run.failures] == [
        (repaired, "=A,\n", "file not found", "3"),
        (gone, "=A,\n", "a reason\nof two lines", "2"),
    ]
    for paths, expected in (([repaired, gone], {gone: 2}), ([repaired, "elsewhere.mp3"], {})):
        ledger = FailureLedger(2, 1.0)
        run.restore_failures(ledger, paths)
        assert {path: failure.occurrences for path, failure in ledger.failures.items()} == expected
    assert Run(tmp_path).failures == []


@pytest.mark.parametrize(
    ("name", "damaged", "read", "message"),
    [
        ("settings.json", "{", "settings", r"settings as JSON in .*settings\.json, but it cannot be read"),
        ("settings.json", None, "settings", r"a run directory with settings\.json, found no .*; train first"),
        ("data.json", "[]", "labels", r"the run's data description at .*data\.json, but it cannot be read"),
        (
            "data.json",
            '{"labels": "Rock"}',
            "data",
            "the run's data description at .*: ValueError.*labels is not a list",
        ),
        ("data.json", None, "data", r"the run's data description at .*data\.json"),
        ("model.keras", "garbage", "model", r"a Keras model at .*model\.keras, but it cannot be read"),
        ("model.keras", None, "model", r"a trained model at .*, found none; let the training finish an epoch first"),
        ("history.csv", "epoch\n1\n", "history", r"history of the training in .*its columns are epoch; let the train"),
        ("history.csv", "", "history", r"history of the training in .*history\.csv, but it cannot be read"),
        ("history.csv", None, "history", r"history of the training in .*; let the training finish"),
        (
            "predictions.csv",
            "a,b\n1,2\n",
            "predictions",
            r"the run's predictions in .*predictions\.csv, .*: no column path",
        ),
        (
            "predictions.csv",
            None,
            "predictions",
            r"the run's predictions in .*predictions\.csv.*; let the training finish",
        ),
        (
            "metrics.json",
            "{}",
            "metrics",
            r"test scores of a finished run in .*metrics\.json.*; let the training finish",
        ),
        ("metrics.json", None, "metrics", r"test scores of a finished run in .*metrics\.json"),
        ("thresholds.json", '{"Rock": 0.5}', "thresholds", r"thresholds of a finished run in .*thresholds\.json.*'NA'"),
        ("thresholds.json", None, "thresholds", r"thresholds of a finished run in .*; let the training finish"),
    ],
)
def test_a_missing_or_damaged_file_is_one_message(run: Run, name: str, damaged: str | None, read: str, message: str):
    run.path(name).unlink(missing_ok=True)
    if damaged is not None:
        run.path(name).write_text(damaged)
    with pytest.raises(ValueError, match=f"^expected (the )?{message}"):
        value = run.predictions(["path"]) if read == "predictions" else getattr(run, read)
        value()  # the model is read by a method


def test_other_settings_and_other_data_are_refused(run: Run, catalog: Catalog):
    run.begin(Settings(seed=3, decode_workers=2), catalog)  # no difference to the result
    with pytest.raises(ValueError, match=r"n_mels: 128 there, 40 now\nUse these settings again"):
        run.check(Settings(seed=3, n_mels=40), catalog)
    others = dataclasses.replace(catalog, tracks=catalog.tracks.iloc[:2])
    with pytest.raises(ValueError, match=r"clips: .*'test': 1.* there, .*'test': 0.* now"):
        run.check(Settings(seed=3), others)
    assert run.settings == Settings(seed=3, decode_workers=2)


def test_more_epochs_unfinish_a_run_and_fewer_than_it_has_had_are_refused(run: Run, catalog: Catalog):
    run.write_metrics(METRICS)
    run.checkpoints.mkdir()
    (run.checkpoints / "epoch-0003.npz").touch()
    own = Settings(seed=3)
    run.begin(own, catalog)
    assert run.is_finished_with(own) and not run.is_finished_with(dataclasses.replace(own, epochs=40))
    with pytest.raises(
        ValueError, match=r"--epochs of at least the 3 that .* has had, received 2; choose as many or more"
    ):
        run.check(dataclasses.replace(own, epochs=2), catalog)
    run.begin(dataclasses.replace(own, epochs=40), catalog)
    assert not run.is_finished and run.settings.epochs == 40


@pytest.mark.parametrize("places", [("/a/{}/x.mp3", "/new/home/{}/x.mp3"), ("{}/x.mp3", "{}/x.mp3")])
def test_moved_files_are_the_same_data(places: tuple[str, str], catalog: Catalog):
    old, new = (
        dataclasses.replace(catalog, tracks=catalog.tracks.assign(track_id=[place.format(i) for i in range(3)]))
        for place in places
    )
    assert same_data(data_identity(old), data_identity(new))
    before = {name: value for name, value in data_identity(old).items() if name != "moved_sha256"}
    assert same_data(before, data_identity(old)), "a run of an older version"
    other = dataclasses.replace(new, tracks=new.tracks.iloc[::-1])
    assert not same_data(data_identity(old), data_identity(other))


def test_one_process_at_a_time_writes_a_run(run: Run):
    with (
        run.locked(),
        pytest.raises(ValueError, match=r"alone in .*run, found another training or evaluation"),
        run.locked(),
    ):
        pass


def test_a_directory_of_something_else_is_refused(catalog: Catalog, tmp_path: Path):
    (tmp_path / "cat.jpg").touch()
    with pytest.raises(ValueError, match="found other files; choose another --output_dir"):
        Run(tmp_path).begin(Settings(), catalog)
    assert [path.name for path in tmp_path.iterdir()] == ["cat.jpg"]


def test_a_run_that_was_killed_while_it_began_or_wrote_goes_on(catalog: Catalog, tmp_path: Path):
    run = Run(tmp_path)
    run.path(".settings.partial.json").write_bytes(b"half")
    run.begin(Settings(), catalog)
    run.path("data.json").unlink()  # written after settings.json
    run.checkpoints.mkdir()
    (run.checkpoints / ".epoch-0001.partial.npz").write_bytes(b"half")
    run.begin(Settings(), catalog)
    assert json.loads(run.path("data.json").read_text()) == run.data
    assert not [*run.directory.rglob(".*")]


def test_reading_a_run_needs_no_tensorflow(run: Run):
    code = (
        "import sys; from experiments.runs.run import Run; run = Run(sys.argv[1]); run.settings, run.labels\n"
        "print([name for name in ('tensorflow', 'keras', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, run.directory]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "contents", "read", "message"),
    [
        ("failures.csv", "a,b\n1,2\n", lambda run: run.failures, "undecodable files in .*no column track_id"),
        ("baseline.json", "{", lambda run: run.baseline, "expected a baseline in .*baseline.json"),
        (
            "history.csv",
            "epoch,loss,accuracy,val_loss,val_accuracy,seconds\n1,1,1,high,1,1\n",
            lambda run: run.history,
            "history of the training",
        ),
    ],
)
def test_damage_is_one_message(tmp_path: Path, name: str, contents: str, read, message: str):
    (tmp_path / name).write_text(contents)
    with pytest.raises(ValueError, match=message):
        read(Run(tmp_path))
