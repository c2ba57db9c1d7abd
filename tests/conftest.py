"""Fixtures: real MP3s that the tests make themselves, and the shared real data where it is present."""

import os
import subprocess
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import soundfile
from preloaded import ROOT, run_preloaded

SHARED_DATA = ROOT.parent / "shared" / "data"


def shared(name: str) -> Path:
    """A folder of the shared real data, or a skip that says why."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"the shared data set {name} is not beside this checkout")
    return path


def music(seconds: float, sample_rate_hz: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """A reproducible piece [samples, channels]: gliding tones and clicks, different at every moment and channel."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    columns = []
    for _ in range(channels):
        start_hz, end_hz = rng.uniform(200, 800), rng.uniform(800, 3000)
        tone = 0.3 * np.sin(2 * np.pi * (start_hz * time + (end_hz - start_hz) * time**2 / (2 * max(seconds, 1e-9))))
        clicks = np.where(rng.random(len(time)) < 20 / sample_rate_hz, rng.uniform(-0.5, 0.5, len(time)), 0)
        columns.append(tone + clicks + 0.01 * rng.standard_normal(len(time)))
    return np.stack(columns, axis=1).astype(np.float32)


def write_mp3(path: Path, audio: np.ndarray, sample_rate_hz: int, variable: bool = False, quality: float = 0.5) -> Path:
    """Encodes [samples, channels] with LAME."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(
        path,
        audio,
        sample_rate_hz,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE" if variable else "CONSTANT",
        compression_level=quality,
    )
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260901)


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


# Few, small and quick: what the commands do does not depend on these.
SMALL_FEATURES = {"sample_rate_hz": 8000, "n_fft": 512, "hop_length": 256, "n_mels": 32, "crop_seconds": 2.0}
SMALL_RUN = SMALL_FEATURES | {"crops_per_clip": 1, "batch_size": 8, "epochs": 1, "max_failure_rate": 0.05}
# Every augmentation at once.
AUGMENTATION = {
    "spec_augment_time_masks": 2,
    "spec_augment_mel_masks": 1,
    "mixup_alpha": 0.4,
    "time_shift_seconds": 0.5,
    "random_eq_db": 6.0,
    "gain_db": 6.0,
    "polarity_inversion": True,
    "noise_snr_db_min": 10.0,
    "noise_snr_db_max": 30.0,
}


@pytest.fixture(scope="session")
def small_fma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo data set of 24 clips and a broken one, laid out as FMA is."""
    from pipeline.demo import write_demo_data

    folder = tmp_path_factory.mktemp("small_fma") / "fma"
    return write_demo_data(folder, seed=1, tracks_per_split={"training": 4, "validation": 2, "test": 2})


@pytest.fixture(scope="session")
def small_run(small_fma, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on it."""
    from experiments import training
    from experiments.settings import Settings

    run_dir = tmp_path_factory.mktemp("small_run") / "run"
    training.train(Settings(dataset="fma", data_dir=str(small_fma), **SMALL_RUN), run_dir)
    return run_dir


@pytest.fixture(scope="session")
def exported(small_run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """That run, exported in every format."""
    from experiments.export import FORMATS, export_run

    return export_run(small_run, tmp_path_factory.mktemp("exports") / "model", list(FORMATS))


def as_flags(**values: object) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def run_script(name: str, *flags: str, cwd: Path = ROOT, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs `python -m experiments.<name>` as a user would, but for the seconds in which TensorFlow is imported."""
    result = run_preloaded(f"experiments.{name}", list(flags), cwd)
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result
