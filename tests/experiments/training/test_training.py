"""The main job from MP3s to scores: every file of a run, repeats, resumption, and the ways it can go wrong."""

import csv
import json
import re
import resource
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.kill_training import differences, interrupt, train_command
from support.places import ROOT
from support.scripts import as_flags, run_script
from support.small_run import AUGMENTATION, SMALL_RUN

from experiments.builders.data import prepare
from experiments.builders.model import build_model
from experiments.evaluation import evaluation
from experiments.runs.run import Run
from experiments.settings import Settings
from experiments.training import loop as training
from experiments.training.checkpoint import EpochSums, TrainingState, restore_checkpoint, save_checkpoint
from experiments.training.epoch import DivergedError
from pipeline.dataset import eval_dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(small_fma) -> Settings:
    return Settings(dataset="fma", data_dir=str(small_fma), **SMALL_RUN)


@pytest.fixture(scope="module", params=["cnn2d", "cnn2d_bn"])
def run(request, settings, tmp_path_factory) -> tuple[Path, Settings, dict]:
    """A trained run of each of two networks; test_contract.py has them all."""
    own = replace(settings, model=request.param)
    run_dir = tmp_path_factory.mktemp("run") / "nested" / request.param
    return run_dir, own, training.train(own, run_dir)


def test_a_run_holds_everything(run):
    run_dir, own, metrics = run
    assert json.loads((run_dir / "metrics.json").read_text()) == metrics
    assert set(metrics) == {"validation", "test"}
    for split in metrics.values():
        assert set(split) == {"clip", "crop", "failures"}
        assert split["clip"]["n"] == 6 and split["crop"]["n"] >= 6 * 5 and split["failures"] == 0
        for scores in (split["clip"], split["crop"]):
            assert set(scores) == {"accuracy", "balanced_accuracy", "n", "ci95", "per_class"}
            assert set(scores["per_class"]) == {"Hip-Hop", "Instrumental", "Rock"}
            assert scores["ci95"][0] <= scores["accuracy"] <= scores["ci95"][1]
    assert json.loads((run_dir / "settings.json").read_text())["model"] == own.model
    history = pd.read_csv(run_dir / "history.csv")
    assert len(history) == 1 and np.isfinite(history.to_numpy()).all()
    assert 0 <= history["wait_seconds"][0] <= history["seconds"][0]
    assert list((run_dir / "tensorboard").glob("events.*"))
    assert not list(run_dir.glob(".*")), "temporary files are left"
    for name in ("curves.png", "confusion_matrix.png"):
        with Image.open(run_dir / name) as image:
            assert min(image.size) > 300 and len(image.getcolors(1 << 24) or []) > 10


def test_predictions_are_the_models_own(run):
    run_dir, own, metrics = run
    table = pd.read_csv(run_dir / "predictions.csv")
    assert table.columns.tolist() == [
        *("track_id", "path", "split", "label", "predicted"),
        *("probability_Hip-Hop", "probability_Instrumental", "probability_Rock"),
    ]
    assert table["split"].value_counts().to_dict() == {"validation": 6, "test": 6}
    probabilities = table.iloc[:, 5:].to_numpy()
    labels = ["Hip-Hop", "Instrumental", "Rock"]
    assert table["predicted"].tolist() == [labels[i] for i in probabilities.argmax(axis=1)]
    test = table[table["split"] == "test"]
    assert (test["label"] == test["predicted"]).mean() == pytest.approx(metrics["test"]["clip"]["accuracy"])
    # From the saved model alone, clip by clip.
    model = keras.models.load_model(run_dir / "model.keras", compile=False)
    _, ledger = prepare(own)
    for path, expected in zip(table["path"][:4], probabilities, strict=False):
        ((waveforms, _),) = eval_dataset([path], ledger, sample_rate_hz=8000, crop_seconds=2, batch_size=64)
        np.testing.assert_allclose(model(waveforms).numpy().mean(axis=0), expected, atol=1e-5)


def test_failures_are_named_once_with_their_label(run):
    run_dir, _, _ = run
    with open(run_dir / "failures.csv", newline="") as file:
        (failure,) = csv.DictReader(file)
    assert (failure["split"], failure["label"]) == ("training", "Rock")
    assert failure["track_id"] == str(int(Path(failure["path"]).stem))
    assert failure["reason"] and int(failure["occurrences"]) >= 1


def test_evaluation_of_a_saved_run_repeats_its_figures(run, tmp_path: Path):
    run_dir, own, metrics = run
    again = evaluation.evaluate_run(run_dir, own, "test", tmp_path / "again")
    assert again == metrics["test"]
    assert json.loads((tmp_path / "again" / "metrics.json").read_text()) == {"test": again}
    theirs = pd.read_csv(run_dir / "predictions.csv").query("split == 'test'").reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "again" / "predictions.csv"), theirs, atol=1e-6)


@pytest.mark.parametrize("run", ["cnn2d_bn"], indirect=True)
def test_evaluation_on_another_data_set(run, tmp_path: Path):
    run_dir, own, _ = run
    table = pd.read_csv(run_dir / "predictions.csv")[["path", "label"]]
    table.iloc[:4].to_csv(tmp_path / "mine.csv", index=False)  # fewer labels than the model knows, and no split
    others = replace(own, dataset="csv", data_dir=str(tmp_path / "mine.csv"))
    with pytest.raises(ValueError, match="at least 3"):
        evaluation.evaluate_run(run_dir, others, "test", tmp_path / "out")
    table.iloc[:4].assign(split="test").to_csv(tmp_path / "mine.csv", index=False)
    assert evaluation.evaluate_run(run_dir, others, "all", tmp_path / "out")["clip"]["n"] == 4
    table.iloc[:4].assign(split="test", label="Polka").to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(ValueError, match=r"labels that the model knows .* found Polka"):
        evaluation.evaluate_run(run_dir, others, "test", tmp_path / "out")
    with pytest.raises(ValueError, match="clips in the validation split"):
        evaluation.evaluate_run(run_dir, others, "validation", tmp_path / "out")


def test_finished_run_is_not_trained_again_and_other_settings_are_refused(run, capsys):
    run_dir, own, metrics = run
    before = (run_dir / "history.csv").read_bytes()
    assert training.train(own, run_dir) == metrics
    assert (run_dir / "history.csv").read_bytes() == before
    training.train(replace(own, decode_workers=3), run_dir)  # no difference to the result
    with pytest.raises(ValueError, match=r"n_mels: 32 there, 40 now\nUse these settings again"):
        training.train(replace(own, n_mels=40), run_dir)
    with pytest.raises(ValueError, match="clips: "):
        training.train(own, _with_other_data(run_dir))


def _with_other_data(run_dir: Path) -> Path:
    other = run_dir.with_name(run_dir.name + "_other")
    other.mkdir(exist_ok=True)
    (other / "settings.json").write_bytes((run_dir / "settings.json").read_bytes())
    (other / "data.json").write_text('{"labels": ["Rock"], "clips": {}, "sha256": ""}')
    return other


def test_repeats_and_resumption_are_exact(small_fma, tmp_path: Path):
    """In processes of their own: a run of four workers, and one of one worker, stopped by Ctrl-C and by kill -9."""
    common = SMALL_RUN | {"dataset": "fma", "data_dir": small_fma, "epochs": 3, "model": "cnn2d", "seed": 5}
    common |= AUGMENTATION | {"checkpoint_steps": 1, "keep_checkpoints": 9}
    flags = [*as_flags(**common), "--deterministic"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    # Not forked from the process that the last one is forked from: the order of sets must differ.
    subprocess.run([*train_command(flags, whole), "--decode_workers=4"], cwd=ROOT, check=True, capture_output=True)
    flags.append("--decode_workers=1")
    command = train_command(flags, stopped)
    within, after = (stopped / "checkpoints" / f"epoch-{name}.npz" for name in ("0000-step-000001", "0002"))
    assert interrupt(command, within.exists, signal.SIGINT) == 130
    assert interrupt(command, after.exists, signal.SIGKILL) == -signal.SIGKILL
    assert after.exists() and not (stopped / "metrics.json").exists()
    assert "after epoch 2" in run_script("train", *flags, f"--output_dir={stopped}").stdout
    assert differences(stopped, whole) == []
    assert len(pd.read_csv(whole / "history.csv")) == 3


def test_more_epochs_of_moved_data_are_those_of_a_longer_run(small_fma, tmp_path: Path):
    (tmp_path / "link").symlink_to(small_fma)
    flags = [*as_flags(**SMALL_RUN | {"dataset": "fma", "model": "cnn2d"}), "--deterministic"]
    given, whole = f"--output_dir={tmp_path / 'given'}", f"--output_dir={tmp_path / 'whole'}"
    run_script("train", *flags, f"--data_dir={small_fma}", given, "--epochs=1")
    more = run_script("train", *flags, "--data_dir=link/", given, "--epochs=2", cwd=tmp_path)
    assert "after epoch 1" in more.stdout
    run_script("train", *flags, f"--data_dir={small_fma}", whole, "--epochs=2")
    tables = [pd.read_csv(tmp_path / name / "history.csv")[["loss", "val_loss"]] for name in ("given", "whole")]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert Run(tmp_path / "given").settings.epochs == 2
    fewer = run_script("train", *flags, f"--data_dir={small_fma}", given, "--epochs=1", check=False)
    assert fewer.returncode == 1 and fewer.stderr.startswith("error: expected --epochs of at least the 2 that")


def test_a_second_trainer_is_refused(settings, tmp_path: Path):
    with (
        Run(tmp_path / "run").locked(),
        pytest.raises(ValueError, match="found another training or evaluation at work"),
    ):
        training.train(settings, tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_schedule_of_a_continued_run_is_that_of_an_uninterrupted_one(settings):
    history = [
        {"epoch": i + 1, "val_loss": loss} for i, loss in enumerate([1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8])
    ]
    own = replace(settings, early_stopping_patience=4)

    def walk(model: keras.Model, rows: list[dict], done: list[dict]) -> list[tuple[float, bool]]:
        schedule, seen = training._schedule(model, own, done), []
        for row in rows:
            schedule.on_epoch_end(row["epoch"] - 1, dict(row))
            seen.append((float(model.optimizer.learning_rate), model.stop_training))
        return seen

    whole = walk(build_model(own, 3), history, [])
    assert whole[-1][1] and not whole[-2][1] and whole[-1][0] < own.learning_rate
    for k in range(1, 9):
        model = build_model(own, 3)
        model.optimizer.learning_rate = whole[k - 1][0]  # as the checkpoint restores it
        assert walk(model, history[k:], history[:k]) == whole[k:]


@pytest.fixture(scope="module")
def small_model(settings) -> keras.Model:
    return build_model(replace(settings, model="cnn2d_bn"), 3)


def save_three(directory: Path, model: keras.Model, **options) -> list[Path]:
    for epoch in (1, 2, 3):
        state = TrainingState([{"val_loss": 1.0 / i} for i in range(1, epoch + 1)], model.get_weights())
        save_checkpoint(directory, model, state, **options)
    return sorted(directory.iterdir())


def other_shapes(path: Path) -> bytes:
    """An undamaged checkpoint of another model."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    save_checkpoint(path.parent / "other", model, TrainingState([{"val_loss": 1.0}], model.get_weights()))
    return (path.parent / "other" / "epoch-0001.npz").read_bytes()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.read_bytes()[:5000], "its digest"),
        (lambda path: b"", "its digest"),
        (lambda path: b"garbage" * 1000, "its digest"),
        (lambda path: path.read_bytes()[:9000] + b"?" + path.read_bytes()[9001:], "its digest"),
        (lambda path: path.read_bytes()[:-1] + b"x", "its digest"),
        (other_shapes, "expected .* of shape"),
    ],
)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(small_model, tmp_path, damage, reason, capsys):
    files = save_three(tmp_path / "c", small_model)
    assert [file.name for file in files] == ["epoch-0002.npz", "epoch-0003.npz"]
    files[1].write_bytes(damage(files[1]))
    before = small_model.get_weights()
    assert len(restore_checkpoint(tmp_path / "c", small_model).history) == 2
    assert re.search(rf"warning: .*epoch-0003\.npz cannot be used \({reason}", capsys.readouterr().out)
    for ours, theirs in zip(small_model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert restore_checkpoint(tmp_path / "none", small_model).history == []


def test_a_checkpoint_within_an_epoch_stands_before_the_epochs_end(small_model, tmp_path: Path):
    files = save_three(tmp_path / "c", small_model, keep=3)
    assert len(files) == 3
    sums = EpochSums(steps=7, examples=50, loss=0.1 + 0.2, correct=20)
    save_checkpoint(tmp_path / "c", small_model, TrainingState([{"val_loss": 1.0}] * 3, small_model.weights, sums), 3)
    names = [file.name for file in sorted((tmp_path / "c").iterdir())]
    assert names == ["epoch-0002.npz", "epoch-0003-step-000007.npz", "epoch-0003.npz"]
    assert restore_checkpoint(tmp_path / "c", small_model).epoch_sums == sums


def test_a_full_disk_harms_no_checkpoint(small_model, tmp_path: Path):
    files = save_three(tmp_path / "c", small_model)
    contents = [file.read_bytes() for file in files]
    state = TrainingState([{"val_loss": 1.0}] * 4, small_model.get_weights())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(contents[0]) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match=r"expected room to write .*epoch-0004\.npz, found none .* Make room and run"):
            save_checkpoint(tmp_path / "c", small_model, state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted((tmp_path / "c").iterdir()) == files
    assert [file.read_bytes() for file in files] == contents


def test_diverging_training_stops_and_says_so(settings, tmp_path: Path):
    with pytest.raises(DivergedError, match=r"not in epoch 1; lower --learning_rate \(now 1e\+30\)"):
        training.train(replace(settings, learning_rate=1e30, epochs=3), tmp_path / "run")


def test_whole_clips(settings, tmp_path: Path):
    metrics = training.train(replace(settings, crop_seconds=0.0), tmp_path / "run")
    assert metrics["test"]["crop"]["n"] == metrics["test"]["clip"]["n"] == 6


def test_mixed_precision_and_xla(settings, tmp_path: Path):
    augmented = replace(settings, **AUGMENTATION)
    try:
        metrics = training.train(replace(augmented, mixed_precision=True), tmp_path / "half")
        assert metrics["test"]["clip"]["n"] == 6
    finally:
        keras.config.set_dtype_policy("float32")
    assert training.train(replace(augmented, jit_compile=True), tmp_path / "xla")["test"]["clip"]["n"] == 6


def test_too_many_failures_stop_the_run_and_are_written_down(settings, small_fma, tmp_path: Path):
    with pytest.raises(ValueError, match=r"at most 0 undecodable files of 25 \(max_failure_rate=0\.01\), found 1"):
        training.train(replace(settings, max_failure_rate=0.01), tmp_path / "run")
    assert len((tmp_path / "run" / "failures.csv").read_text().splitlines()) == 2
    # The message's own remedy: the same run goes on with a larger budget.
    training.train(settings, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_seconds": 0.05}, "at least n_fft=512 samples, received 400"),
        ({"n_fft": 32000}, "at least n_fft=32000 samples, received 16000"),
        ({"crop_seconds": 0.3}, "at least 16 frames, received 10; use a longer crop_seconds"),
        ({"n_mels": 8}, "at least 16 mel bands"),
        ({"model": "cnn3d"}, "received 'cnn3d'; choose one of: cnn2d, "),
        ({"model": "sample_cnn", "crop_seconds": 0.5}, "at least 6561 samples, received 4000; use a longer"),
        ({"model": "sample_cnn", "frontend": "pcen"}, "takes the waveform itself, received pcen; leave it out"),
        ({"frontend": "leaf", "crop_seconds": 0.02}, r"at least [0-9]+ samples, received 160"),
        ({"frontend": "pcen", "scaling": "unit"}, "'standardized', 'raw'"),
        (
            {"pretrained_weights": "x.h5"},
            "at x.h5 to load into cnn2d_bn, found none; check --pretrained_weights, or leave it out",
        ),
        ({"genres": ("Rock",)}, "at least 2 labels"),
        ({"genres": ("Rock", "Hip Hop")}, "received 'Hip Hop'; choose from: Hip-Hop"),
        ({"data_dir": ""}, "--data_dir"),
        ({"data_dir": "/nonexistent"}, "found no tracks.csv"),
        ({"dataset": "folders", "data_dir": "/nonexistent"}, "check --data_dir"),
        ({"dataset": "csv", "data_dir": "/nonexistent.csv"}, "found nothing there"),
        ({"probe_csv": "/nonexistent.csv"}, "found nothing there"),
        ({"max_failure_rate": 7.0}, "max_failure_rate between 0 and 1, received 7.0"),
        ({"gain_db": -1.0}, "gain_db of at least 0"),
        ({"spec_augment_mel_masks": -1}, "mel_masks of at least 0"),
        ({"keep_checkpoints": 0}, "keep_checkpoints of at least 1"),
        ({"checkpoint_steps": -1}, "checkpoint_steps of at least 0"),
        ({"shuffle_clips": -1}, "shuffle_clips of at least 0"),
        ({"batch_size": 0}, "batch_size of at least 1"),
        ({"crops_per_clip": 0}, "crops_per_clip of at least 1"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(settings, tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        training.train(replace(settings, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_foreign_or_unwritable_output_dir(settings, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(ValueError, match="found other files; choose another --output_dir"):
        training.train(settings, tmp_path / "photos")
    with pytest.raises(OSError, match=r"cat\.jpg"):
        training.train(settings, tmp_path / "photos" / "cat.jpg" / "run")


def test_missing_files_are_counted_and_all_missing_is_refused(settings, tmp_path: Path, capsys):
    rows = [
        {"path": f"{label}{split}{i}.mp3", "label": label, "split": split}
        for label in "ab"
        for split in ("training", "validation", "test")
        for i in range(3)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    own = replace(settings, dataset="csv", data_dir=str(tmp_path / "t.csv"))
    with pytest.raises(ValueError, match="found none of 18, such as"):
        prepare(own)
    for row in rows[1:]:
        (tmp_path / row["path"]).touch()
    with pytest.raises(ValueError, match=r"found 1:\n.*atraining0.mp3: file not found"):
        prepare(replace(own, max_failure_rate=0.01))
    catalog, ledger = prepare(replace(own, max_failure_rate=0.1))
    assert len(catalog.tracks) == 18 and len(ledger.failures) == 1
    assert "1 clips will be skipped" in capsys.readouterr().out
    Run(tmp_path).write_failures(ledger, catalog)
    (failure,) = csv.DictReader((tmp_path / "failures.csv").read_text().splitlines())
    assert (failure["split"], failure["label"], failure["reason"]) == ("training", "a", "file not found")


def test_artist_leak_stops_the_run_unless_allowed(settings, tmp_path: Path):
    rows = [
        {"path": f"{split}.mp3", "label": label, "split": split, "artist": "Same Band"}
        for label in "ab"
        for split in ("training", "validation", "test")
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    for row in rows:
        (tmp_path / row["path"]).touch()
    own = replace(settings, dataset="csv", data_dir=str(tmp_path / "t.csv"))
    with pytest.raises(ValueError, match=r"in several \(6 tracks\): Same Band; .* --allow_artist_leak"):
        prepare(own)
    prepare(replace(own, allow_artist_leak=True))


def test_unreadable_run_directories(settings, tmp_path: Path):
    with pytest.raises(ValueError, match=r"data description at .*data\.json"):
        evaluation.evaluate_run(tmp_path, settings, "test", tmp_path / "out")
    (tmp_path / "data.json").write_text('{"labels": ["a"]}')
    with pytest.raises(ValueError, match=r"a trained model at .*model\.keras, found none"):
        evaluation.evaluate_run(tmp_path, settings, "test", tmp_path / "out")
    (tmp_path / "model.keras").write_bytes(b"garbage")
    with pytest.raises(ValueError, match=r"a Keras model at .* cannot be read"):
        evaluation.evaluate_run(tmp_path, settings, "test", tmp_path / "out")


def test_settings_build_the_model_that_they_describe():
    assert build_model(Settings(model="sample_cnn"), 3).layers[1].name.startswith("reshape")  # no front end
    front_end = build_model(Settings(frontend="pcen", n_mels=40, fmin_hz=20.0), 3).get_layer("pcen")
    assert (front_end.n_mels, front_end.fmin_hz, front_end.scaling) == (40, 20.0, "standardized")
