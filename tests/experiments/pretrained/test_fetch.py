"""Fetching pretrained weights: from a package like the original's to the cache, and what is said when that fails."""

import dataclasses
import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from support.musicnn import KERNELS, LICENCE, NORMALIZED, TAGS, make_checkpoint, write_wheel
from support.scripts import as_flags

from experiments import fetch_weights
from experiments.builders.model import build_model
from experiments.builders.model_settings import settings_for_model
from experiments.pretrained import cache, fetch
from experiments.pretrained.cache import FETCHED, describe_weights, is_fetched, weights_folder, weights_path
from experiments.settings import Settings
from layers.networks.musicnn import BACKBONE, musicnn_tagger


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("MELSTREAM_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture(scope="module")
def checkpoints() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(6)
    return {"MSD": make_checkpoint(rng), "MTT": make_checkpoint(rng)}


@pytest.fixture(scope="module")
def made_wheel(checkpoints, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("wheel") / "musicnn-0.1.0-py3-none-any.whl", checkpoints)


@pytest.fixture
def wheel(made_wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel like the original's, which is taken for it."""
    expect(made_wheel, monkeypatch)
    return made_wheel


def expect(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for name, weights in FETCHED.items():
        monkeypatch.setitem(FETCHED, name, dataclasses.replace(weights, sha256=digest))


def assert_weights_are(path: Path, checkpoint: dict[str, np.ndarray]) -> None:
    tagger = musicnn_tagger()
    tagger.load_weights(path)
    backbone = tagger.get_layer(BACKBONE)
    count = 0
    for name, shape in KERNELS.items():
        layer = tagger.get_layer(name) if name == "dense_1" else backbone.get_layer(name)
        kernel = checkpoint[f"{name}/kernel"]
        if name in ("conv2d_5", "conv2d_6", "conv2d_7"):
            kernel = kernel[:, :, 0, :]  # of images one band high, to convolutions over time
        assert checkpoint[f"{name}/kernel"].shape == shape
        np.testing.assert_array_equal(layer.kernel, kernel)
        np.testing.assert_array_equal(layer.bias, checkpoint[f"{name}/bias"])
        count += kernel.size + layer.bias.shape[0]
    for name in NORMALIZED:
        for weight in ("gamma", "beta", "moving_mean", "moving_variance"):
            expected = checkpoint[f"{name}/{weight}"]
            np.testing.assert_array_equal(getattr(backbone.get_layer(name), weight), expected)
            count += expected.size
    assert count == tagger.count_params(), "no weight is left out"


def test_every_weight_lands_in_its_layer(wheel: Path, checkpoints, folder: Path):
    for name, letters in (("musicnn_msd", "MSD"), ("musicnn_mtt", "MTT")):
        path = fetch.convert_wheel(name, wheel)
        assert path == weights_path(name) and path.parent == folder
        assert_weights_are(path, checkpoints[letters])
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        f"{name}{suffix}" for name in FETCHED for suffix in (".json", ".weights.h5")
    ), "nothing is left behind"
    description = describe_weights("musicnn_mtt")
    assert description["tags"] == TAGS and description["licence"] == LICENCE
    assert description["package"] == "musicnn 0.1.0" and "arXiv:1909.06654" in description["citation"]
    assert description["sha256"] == FETCHED["musicnn_mtt"].sha256 and "MagnaTagATune" in description["trained_on"]
    settings = settings_for_model(Settings(model="musicnn_pair", pretrained_weights="musicnn_both"))
    model = build_model(settings, 3)
    for number, letters in enumerate(("MSD", "MTT")):
        dense = model.get_layer(f"{BACKBONE}_{number}").get_layer("dense")
        np.testing.assert_array_equal(dense.kernel, checkpoints[letters]["dense/kernel"])


def run_command(**values: object) -> None:
    with flagsaver.flagsaver():
        fetch_weights.main(flags.FLAGS(["fetch_weights", *as_flags(**values)]))


def test_the_command_downloads_once_and_shows_licence_and_citation(wheel: Path, monkeypatch, capsys):
    commands: list[list[str]] = []

    def download(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        target = Path(command[command.index("--dest") + 1]) / wheel.name
        target.write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetch.subprocess, "run", download)
    run_command()
    (command,) = commands
    assert command[1:4] == ["-m", "pip", "download"] and command[-1] == "musicnn==0.1.0"
    assert {"--no-deps", "--only-binary=:all:"} <= set(command), "nothing of it is built or run"
    out = capsys.readouterr().out
    for text in (
        "please cite: Jordi Pons and Xavier Serra",
        LICENCE,
        "trained on MagnaTagATune",
        "--pretrained_weights=",
    ):
        assert text in out
    run_command()
    assert len(commands) == 1, "what is there is not fetched again"
    before = weights_path("musicnn_msd").stat().st_mtime_ns
    run_command(weights="musicnn_msd", again=True, wheel=wheel)
    assert len(commands) == 1 and weights_path("musicnn_msd").stat().st_mtime_ns > before


def test_unknown_weights_are_refused():
    for weights, received in (("musicnn_mds", "musicnn_mds"), ("musicnn_msd,vggish", "vggish"), ("", "nothing")):
        with pytest.raises(ValueError, match=f"expected --weights among musicnn_msd, musicnn_mtt, received {received}"):
            run_command(weights=weights)


@pytest.mark.parametrize(
    ("stderr", "code", "last"),
    [
        ("WARNING: retrying\nERROR: No matching distribution found for musicnn==0.1.0\n", 1, "ERROR: No matching dist"),
        ("", 1, "nothing was downloaded"),
        ("", 0, "nothing was downloaded"),
    ],
)
def test_without_a_network(stderr: str, code: int, last: str, monkeypatch, folder: Path):
    monkeypatch.setattr(
        fetch.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, code, "", stderr)
    )
    with pytest.raises(ValueError, match=rf"by pip, received: {last}.*; try again .* give the file as --wheel=FILE"):
        run_command()
    assert not folder.exists()


def test_a_wrong_or_missing_file(made_wheel: Path, tmp_path: Path, folder: Path):
    digest = hashlib.sha256(made_wheel.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=f"SHA-256 f38a4890.*, received .*{made_wheel.name} with {digest}; download"):
        run_command(wheel=made_wheel)
    with pytest.raises(ValueError, match=r"expected a wheel at .*none.whl, but it cannot be read: No such file"):
        run_command(wheel=tmp_path / "none.whl")
    assert not folder.exists()


def test_another_version_of_the_package(checkpoints, tmp_path: Path, monkeypatch, folder: Path):
    wheel = write_wheel(tmp_path / "other.whl", {"MSD": checkpoints["MSD"]}, tags_of="TAGS")
    expect(wheel, monkeypatch)
    with pytest.raises(ValueError, match="expected MSD_LABELS in the package's configuration, found none"):
        fetch.convert_wheel("musicnn_msd", wheel)
    assert not folder.exists()


def test_what_is_not_fetched_is_one_sentence(folder: Path):
    assert not is_fetched("musicnn_both")
    with pytest.raises(
        ValueError,
        match=r"experiments\.fetch_weights \(29 MB\)\. Without a network: .* --wheel=FILE",
    ) as caught:
        weights_path("musicnn_mtt")
    assert str(folder) in str(caught.value)
    settings = settings_for_model(Settings(model="musicnn", pretrained_weights="musicnn_msd"))
    with pytest.raises(ValueError, match=r"expected the weights musicnn_msd in .*, found none; fetch them by"):
        build_model(settings, 3)
    with pytest.raises(ValueError, match=r"expected --model=musicnn with .*musicnn_msd, received --model=musicnn_pair"):
        build_model(dataclasses.replace(settings, model="musicnn_pair"), 3)


def test_a_damaged_description_is_one_sentence(folder: Path):
    folder.mkdir()
    (folder / "musicnn_msd.weights.h5").write_bytes(b"")
    assert not is_fetched("musicnn_msd"), "the description is written last"
    (folder / "musicnn_msd.json").write_text(json.dumps({"name": "musicnn_msd"})[:-1])
    assert is_fetched("musicnn_msd")
    with pytest.raises(ValueError, match=r"description of .* in .*musicnn_msd.json, but .*; fetch them again"):
        describe_weights("musicnn_msd")


def test_where_they_are_kept(monkeypatch, tmp_path: Path):
    assert weights_folder() == tmp_path / "weights"
    monkeypatch.delenv("MELSTREAM_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert weights_folder() == tmp_path / "xdg" / "melstream" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights_folder() == tmp_path / ".cache" / "melstream" / "weights"
    assert cache.expected_path("musicnn_msd").parent == weights_folder()
