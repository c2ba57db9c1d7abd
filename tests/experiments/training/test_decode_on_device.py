"""`--decode_on_device`: the same training, with the waveforms made in its step."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from support.small_run import AUGMENTATION, SMALL_RUN

from experiments.builders.model import build_model
from experiments.builders.training_data import training_stream
from experiments.settings import Settings
from experiments.training import loop as training
from experiments.training.baselines import train_baseline
from experiments.training.hosts import Cluster
from experiments.training.step import make_train_step
from pipeline.decoding.line_batches import line_specs
from pipeline.mp3.native.line_crops import PLACE_IS_WAVEFORM

SETTINGS = SMALL_RUN | AUGMENTATION | {"sample_rate_hz": 22050, "crop_seconds": 1.0, "learning_rate": 1e-4}


@pytest.fixture(scope="module")
def settings(small_fma: Path) -> Settings:
    return Settings(dataset="fma", data_dir=str(small_fma), **SETTINGS, decode_on_device=True)


@pytest.fixture(scope="module")
def run_dir(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs."""
    directory = tmp_path_factory.mktemp("lines") / "run"
    training.train(replace(settings, epochs=2), directory)
    return directory


def columns(run_dir: Path) -> np.ndarray:
    return pd.read_csv(run_dir / "history.csv")[["loss", "accuracy", "val_loss", "val_accuracy"]].to_numpy()


@pytest.mark.slow
def test_trains_as_on_waveforms(run_dir: Path, settings: Settings, tmp_path: Path):
    """All augmentations on; the files have several rates, and one of them is broken. Equal but for rounding."""
    training.train(replace(settings, epochs=2, decode_on_device=False), tmp_path / "run")
    np.testing.assert_allclose(columns(run_dir), columns(tmp_path / "run"), rtol=2e-3)
    failures = [pd.read_csv(run / "failures.csv")[["track_id", "reason"]] for run in (run_dir, tmp_path / "run")]
    pd.testing.assert_frame_equal(*failures)
    assert len(failures[0]) == 1


@pytest.mark.slow
def test_goes_on_where_it_stopped(run_dir: Path, settings: Settings, tmp_path: Path):
    training.train(settings, tmp_path / "run")
    training.train(replace(settings, epochs=2), tmp_path / "run")
    np.testing.assert_allclose(columns(tmp_path / "run"), columns(run_dir), rtol=1e-5)
    with pytest.raises(ValueError, match="decode_on_device: True there, False now"):
        training.train(replace(settings, decode_on_device=False), tmp_path / "run")


def test_batches_are_lines(settings: Settings):
    from experiments.builders.data import prepare

    catalog, ledger = prepare(settings)
    dataset, steps = training_stream(catalog, settings, ledger, epoch=0)
    specs = line_specs(22050)
    assert {name: (spec.shape[1:], spec.dtype) for name, spec in dataset.element_spec[0].items()} == {
        name: (spec.shape[1:], spec.dtype) for name, spec in specs.items()
    }
    batches = list(dataset)
    assert len(batches) == steps and sum(len(labels) for _, labels in batches) == 12
    is_waveform = np.concatenate([crops["places"][:, PLACE_IS_WAVEFORM] for crops, _ in batches])
    assert 0 < is_waveform.sum() < 12  # files of 48 kHz and others are among them


class Copies(Cluster):
    """Two copies of the model, of which this process has the first alone."""

    replicas = 2


def test_a_copy_of_the_model_without_an_example_changes_nothing():
    settings = Settings(**SETTINGS, decode_on_device=True)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    cluster = Copies(strategy)
    with strategy.scope():
        model = build_model(settings, 3)
    cluster.synchronise_batch_norm(model)
    step = make_train_step(model, settings, cluster=cluster)
    before = [weight.numpy() for weight in model.weights]
    nothing = {name: tf.zeros([0, *spec.shape[1:]], spec.dtype) for name, spec in line_specs(22050).items()}
    assert [float(number) for number in step(nothing, tf.zeros([0], tf.int32))] == [0, 0, 0]
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "soundfile"}, "expected decoder auto for lines of MP3s, received 'soundfile'"),
        ({"sample_rate_hz": 44100}, "received 44100; choose another one, or leave --decode_on_device out"),
        ({"crop_seconds": 0.0}, "received 0, whole clips"),
        ({"data_service": "grpc://localhost:1"}, "expected no --data_service with --decode_on_device"),
    ],
)
def test_what_does_not_go_together(settings: Settings, options: dict, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        training.train(replace(settings, **options), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="expected a network with --decode_on_device, received mfcc_svm"):
        train_baseline(replace(settings, model="mfcc_svm"), tmp_path / "run")
