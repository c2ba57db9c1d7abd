"""Settings: what they may be, in Python, as flags and in a settings.json that was written, damaged or edited."""

import dataclasses
import json
from pathlib import Path

import pytest
from absl import flags

from experiments import settings_flags
from experiments.settings import Settings, differences, settings_from_json
from layers.front_ends import registry as front_ends
from pipeline.catalogs.registry import SOURCES

PATH = Path("run", "settings.json")


def test_round_trip():
    settings = Settings(genres=("a", "b"), fmax_hz=8000.0)
    assert settings_from_json(settings.as_json(), PATH) == settings
    assert differences(settings, Settings(genres=("a", "b"), decode_workers=2)) == ["fmax_hz: 8000.0 there, None now"]


def test_a_setting_that_an_older_version_did_not_have_takes_its_default():
    older = json.loads(Settings(n_mels=64, replicas=3).as_json())
    del older["replicas"]
    assert settings_from_json(json.dumps(older), PATH) == Settings(n_mels=64)


@pytest.mark.parametrize("text", ["{", "", "[]", "3", "null"])
def test_damage(text: str):
    with pytest.raises(ValueError, match=r"expected .*settings .*run.settings\.json"):
        settings_from_json(text, PATH)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_mels", "128", r"expected n_mels as int in .*settings\.json, found '128'; mend it"),
        ("n_mels", True, "n_mels as int"),
        ("n_mels", 0, r"expected n_mels of at least 1 in .*settings\.json, found 0; mend it"),
        ("epochs", 3.5, "epochs as int"),
        ("learning_rate", "fast", "learning_rate as float"),
        ("learning_rate", float("nan"), "learning_rate as a finite number above 0"),
        ("deterministic", 1, "deterministic as bool"),
        ("model", None, "model as str"),
        ("genres", "Rock", r"genres as tuple\[str, \.\.\.\]"),
        ("genres", ["Rock", 3], r"genres as tuple\[str, \.\.\.\]"),
        ("decoder", "ffmpeg", "decoder as one of auto, soundfile, tfio"),
        ("colour", "red", "the settings of this version in .*; these are unknown: colour"),
    ],
)
def test_settings_that_were_edited_by_hand(name: str, value: object, message: str):
    edited = json.loads(Settings().as_json()) | {"fmax_hz": None, "learning_rate": 1, name: value}
    with pytest.raises(ValueError, match=message):
        settings_from_json(json.dumps(edited), PATH)


@pytest.mark.parametrize(
    ("name", "values", "others"),
    [
        ("batch_size", [0, -1, 2.0, True, 10**9], [1, 4096]),
        ("crop_seconds", [-0.1, float("nan"), float("inf"), None, 1e9, 601], [0, 0.0, 600]),
        ("epochs", [0, -1, 10**9], [1, 10**6]),
        ("decode_workers", [-3, 10**6], [0, 64]),
        ("max_failure_rate", [-0.1, 1.1, float("nan")], [0, 1, 0.5]),
        ("plateau_factor", [1, 1.0, 0.0, -0.1], [0.001, 0.999]),
        ("learning_rate", [0, 0.0, float("-inf")], [1e-30, 1e30]),
        ("fmax_hz", [0, float("inf")], [None, 1e-3]),
        ("noise_snr_db_min", [float("-inf"), float("nan")], [None, -100]),
        ("seed", [-1, 2**32], [0, 2**32 - 1]),
        ("genres", [["Rock"], "Rock", (3,)], [(), ("Rock",)]),
        ("pad_mode", ["", "Reflect", None], ["constant"]),
    ],
)
def test_values_out_of_range(name: str, values: list, others: list):
    for value in values:
        with pytest.raises(ValueError, match=rf"^expected {name} .*, received .*; choose another --{name}$"):
            Settings(**{name: value})
    for value in others:
        assert getattr(Settings(**{name: value}), name) == value


def test_flags_show_and_have_the_same_ranges():
    values = flags.FlagValues()
    settings_flags.define_flags("training", flag_values=values)
    assert values["batch_size"].help.endswith("Range: at least 1.")
    assert values["label_smoothing"].help.endswith("Range: at least 0 and below 1.")
    with pytest.raises(
        flags.IllegalFlagValueError,
        match=r"^expected batch_size of at least 1, received 0; choose another --batch_size$",
    ):
        values(["program", "--batch_size=0"])
    values(["program", "--batch_size=2"])
    assert settings_flags.settings_from_flags(values).batch_size == 2


def test_a_run_may_be_given_more_epochs_or_patience_and_its_data_another_name(tmp_path: Path):
    (tmp_path / "weights.h5").touch()
    (tmp_path / "link.h5").symlink_to("weights.h5")
    old = Settings(
        epochs=3, early_stopping_patience=5, data_dir="base", pretrained_weights=str(tmp_path / "weights.h5")
    )
    more = {"epochs": 9, "early_stopping_patience": 6, "data_dir": "/elsewhere/base/", "probe_csv": "probe.csv"}
    assert differences(old, dataclasses.replace(old, **more, pretrained_weights=str(tmp_path / "link.h5"))) == []
    fewer = dataclasses.replace(old, early_stopping_patience=4, pretrained_weights="other.h5")
    assert len(differences(old, fewer)) == 2


def test_choices_are_those_of_the_registries():
    choices = {field.name: field.metadata["choices"] for field in dataclasses.fields(Settings)}
    assert choices["frontend"] == tuple(front_ends.FRONT_ENDS)
    assert choices["dataset"] == tuple(SOURCES)
