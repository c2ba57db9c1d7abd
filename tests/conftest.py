"""Fixtures: real MP3s that the tests make themselves, and the shared real data where it is present."""

import os
from collections.abc import Iterator
from pathlib import Path

from support.audio import music, write_mp3
from support.small_run import SMALL_RUN
from support.tensorflow_io import HAS_TENSORFLOW_IO

from experiments.keras_settings import use_own_keras_settings
from pipeline.decoding.native_decoder import compile_kernels

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

use_own_keras_settings()  # before a test imports Keras


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260901)


@pytest.fixture(scope="session", autouse=True)
def _no_fetched_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test depends on the pretrained weights that the machine has; subprocesses inherit this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELSTREAM_WEIGHTS", str(tmp_path_factory.mktemp("weights")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _compiled_kernels() -> None:
    """No script whose output a test looks at announces that it compiles, as the first after a change of a kernel would."""
    compile_kernels()


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve MP3s of 2 to 5 s, of several rates, modes and numbers of channels."""
    folder = tmp_path_factory.mktemp("clips")
    rates_hz = (44100, 48000, 22050, 32000, 16000, 44100)
    return [
        write_mp3(
            folder / f"{i:02d}.mp3",
            music(2 + i % 4, rates_hz[i % 6], channels=1 + i % 2, seed=i),
            rates_hz[i % 6],
            variable=i % 3 == 0,
        )
        for i in range(12)
    ]


@pytest.fixture(scope="session")
def small_fma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo data set of 24 clips and a broken one, laid out as FMA is."""
    from pipeline.demo.dataset import write_demo_data

    folder = tmp_path_factory.mktemp("small_fma") / "fma"
    return write_demo_data(folder, seed=1, tracks_per_split={"training": 4, "validation": 2, "test": 2})


@pytest.fixture(scope="session")
def small_run(small_fma, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on it."""
    from experiments.settings import Settings
    from experiments.training import loop as training

    run_dir = tmp_path_factory.mktemp("small_run") / "run"
    training.train(Settings(dataset="fma", data_dir=str(small_fma), **SMALL_RUN), run_dir)
    return run_dir


@pytest.fixture(scope="session")
def exported(small_run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """That run, exported in every format that this Python has the packages for."""
    from experiments.export.export import FORMATS, export_run

    formats = [name for name in FORMATS if name != "mp3" or HAS_TENSORFLOW_IO]
    return export_run(small_run, tmp_path_factory.mktemp("exports") / "model", formats)
