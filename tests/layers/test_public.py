"""The package as one import: nothing is loaded before it is asked for, and saved models load."""

import pydoc
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from support.places import ROOT

import layers
import layers.public


def run(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_nothing_is_loaded_before_a_name_is_asked_for():
    shown = run("import sys, layers; dir(layers), layers.__all__; print(*sorted(sys.modules))").split()
    assert not {"tensorflow", "keras", "numpy", "kapre"} & set(shown)


def test_every_name_is_there_and_described():
    assert (
        layers.__all__ == layers.public.__all__ == sorted(layers.__all__, key=lambda name: (name[1:2].islower(), name))
    )
    text = pydoc.render_doc(layers, renderer=pydoc.plaintext)
    for name in layers.__all__:
        assert getattr(layers, name) is getattr(layers.public, name)
        assert name in dir(layers) and name in text
    assert layers.front_ends.registry.FRONT_ENDS is layers.FRONT_ENDS
    with pytest.raises(AttributeError, match="module 'layers' has no attribute 'no_such'"):
        layers.no_such  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import layers; layers.load_model(sys.argv[1])",
        "import keras; import layers; keras.models.load_model(sys.argv[1])",
        "from layers import Pcen; import keras; keras.models.load_model(sys.argv[1])",
    ],
)
def test_a_saved_model_loads_in_a_fresh_process(code: str, tmp_path: Path):
    front_end = layers.build_front_end("leaf", sample_rate_hz=8000, hop_length=256, n_mels=16)
    model = layers.build_audio_classifier("cnn2d_bn", 2, front_end, image_augmentations=[layers.SpecAugment()])
    model.save(tmp_path / "model.keras")
    run(f"import sys; {code}", tmp_path / "model.keras")


def test_a_file_that_is_no_model_is_one_sentence(tmp_path: Path):
    assert isinstance(keras.saving.get_custom_objects()["melstream>Leaf"], type)
    with pytest.raises(ValueError, match="File not found"):
        layers.load_model(tmp_path / "none.keras")
