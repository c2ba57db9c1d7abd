"""Scripts run with their own settings of Keras; the library says which it requires."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pandas as pd
import pytest
from support.places import ROOT
from support.scripts import as_flags
from support.small_run import SMALL_RUN

import layers
from experiments.runs.run import Run
from layers.keras_settings import require_tensorflow

pytestmark = pytest.mark.slow

OTHERS = {"floatx": "float64", "epsilon": 0.1, "backend": "torch", "image_data_format": "channels_first"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a user who otherwise works with other settings."""
    home = tmp_path / "keras"
    home.mkdir()
    (home / "keras.json").write_text(json.dumps(OTHERS))
    home.chmod(0o500)
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: tkagg\n")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("KERAS_")}
    return ours | {
        "PYTHONPATH": str(ROOT),
        "KERAS_HOME": str(home),
        "KERAS_BACKEND": "jax",
        "KERAS_MAX_EPOCHS": "0",
        "KERAS_MAX_STEPS_PER_EPOCH": "0",
        "TF_USE_LEGACY_KERAS": "1",
    }


def run(arguments: list[str], environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def test_a_script_does_not_notice_its_user_s_settings(environment, small_fma, small_run, tmp_path: Path):
    flags = as_flags(dataset="fma", data_dir=small_fma, **SMALL_RUN, output_dir=tmp_path / "run")
    result = run(["-m", "experiments.train", *flags], environment, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    histories = [pd.read_csv(folder / "history.csv") for folder in (tmp_path / "run", small_run)]
    ours, expected = (history.drop(columns=["seconds", "wait_seconds"]) for history in histories)
    # Float32 sums in an order that depends on the threads: observed 1e-7. Float64 or another epsilon are 1e-3 off.
    pd.testing.assert_frame_equal(ours, expected, rtol=0, atol=1e-5)
    assert {variable.dtype for variable in Run(tmp_path / "run").model().weights} <= {"float32", "uint32"}
    flags = [f"--run_dir={tmp_path / 'run'}", f"--export_dir={tmp_path / 'export'}", "--tflite"]
    result = run(["-m", "experiments.export_saved_model", *flags], environment, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads((tmp_path / "keras" / "keras.json").read_text()) == OTHERS


@pytest.mark.parametrize(
    ("name", "backend", "found"),
    [
        ("layers", "jax", "but Keras cannot be imported: No module named 'jax'"),
        ("layers.front_ends.log_mel", "no_such", "but Keras cannot be imported: Unable to import backend : no_such"),
    ],
)
def test_the_layers_name_the_backend_that_they_require(
    environment, name: str, backend: str, found: str, tmp_path: Path
):
    """Neither of which is there."""
    result = run(["-c", f"from {name} import *"], environment | {"KERAS_BACKEND": backend}, tmp_path)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith(
        f"ImportError: expected Keras on the backend tensorflow, which these layers require, {found}; set KERAS_BACKEND"
    )


def test_they_refuse_another_that_is_there(monkeypatch):
    require_tensorflow()
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ImportError, match="which these layers require, found jax; set KERAS_BACKEND=tensorflow"):
        require_tensorflow()


def test_networks_name_the_order_of_axes_that_they_require():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(
            ValueError, match=r"image_data_format as channels_last, .*, found channels_first; call keras"
        ):
            layers.build_audio_classifier("cnn2d", 2, layers.LogMelSpectrogram())
    finally:
        keras.config.set_image_data_format("channels_last")
