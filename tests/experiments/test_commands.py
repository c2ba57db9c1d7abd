"""The commands as a user meets them: help, mistakes, a quiet terminal, and everything that the README shows."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import tensorflow as tf
from support.audio import without_length_tag
from support.places import ROOT
from support.scripts import as_flags, run_script
from support.small_run import SMALL_RUN

from experiments.runs.run import Run
from pipeline.decoding.soundfile_decoder import decode_crop

pytestmark = pytest.mark.slow

SCRIPTS = (
    *("train", "evaluate", "probe_audio", "make_demo_data", "export_saved_model", "predict", "benchmark_pipeline"),
    *(
        "audit_data",
        "compare_models",
        "explore_features",
        "fetch_weights",
        "report",
        "show_augmentation",
        "download_fma",
        "pack_records",
    ),
    "data_service",
)
REQUIRED = {
    "audit_data": ["--output_dir=out"],
    "export_saved_model": ["--export_dir=out"],
    "show_augmentation": ["--output_dir=out"],
    "download_fma": ["--data_dir=out"],
    "data_service": ["--role=worker"],
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_explains_and_stray_arguments_are_refused(script: str):
    command = [sys.executable, "-m", f"experiments.{script}", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    assert f"python -m experiments.{script}" in shown
    assert len(re.findall(r"^  --", shown, re.M)) >= 2
    if script != "predict":  # which takes files
        stray = run_script(script, *REQUIRED.get(script, []), "stray", check=False)
        assert stray.returncode != 0 and "received 'stray'" in stray.stderr + stray.stdout
    wrong = run_script(script, "--no_such_flag=1", check=False)
    assert wrong.returncode != 0 and "no_such_flag" in wrong.stderr + wrong.stdout


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("train", ["--dataset=fma", "--data_dir=/nowhere"]),
        ("train", ["--batch_size=0"]),
        ("evaluate", ["--run_dir=/nowhere"]),
        ("probe_audio", ["--dataset=folders", "--data_dir=/nowhere"]),
        ("audit_data", ["--output_dir=out", "--checks=labels,looks"]),
        ("make_demo_data", [f"--data_dir={ROOT}"]),
        ("export_saved_model", ["--run_dir=/nowhere", "--export_dir=/tmp/nowhere"]),
        ("predict", ["--saved_model=/nowhere", "song.mp3"]),
        ("benchmark_pipeline", ["--dataset=folders", "--data_dir=/nowhere"]),
        ("compare_models", ["--models=cnn2d,cnn3d"]),
        ("explore_features", ["--dataset=folders", "--data_dir=/nowhere"]),
        ("report", ["--run_dir=/nowhere"]),
        ("download_fma", ["--data_dir=out", "--base_url=ftp://nowhere"]),
        ("pack_records", ["--output_dir=/nowhere", "--verify"]),
        ("data_service", ["--role=worker", "--dispatcher=somewhere"]),
    ],
)
def test_a_mistake_is_one_message_without_a_traceback(script: str, flags: list[str]):
    result = run_script(script, *flags, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: expected") and "Traceback" not in result.stderr
    if script == "make_demo_data":  # the quickest
        assert "Traceback" in run_script(script, *flags, "--verbosity=1", check=False).stderr


def test_decoder_complaints_stay_off_the_terminal(clips, tmp_path: Path, capfd):
    data = without_length_tag(clips[1].read_bytes())
    noisy = tmp_path / "noisy.mp3"
    noisy.write_bytes(data[:3000] + b"\0junk" * 100 + data[3000:])
    decode_crop(noisy, 22050, 0)
    assert "Illegal" in capfd.readouterr().err, "not a file that libmpg123 complains about"
    (tmp_path / "table.csv").write_text("path,label,split\nnoisy.mp3,a,training\nmissing.mp3,a,training\n")
    result = run_script(
        "probe_audio", "--dataset=csv", f"--data_dir={tmp_path / 'table.csv'}", f"--output={tmp_path / 'probe.csv'}"
    )
    assert result.stderr == ""
    assert "2 files, 1 undecodable" in result.stdout and "missing.mp3: file not found" in result.stdout


def test_training_prints_nothing_but_its_own_lines(small_fma, tmp_path: Path):
    changes = {"dataset": "fma", "data_dir": small_fma, "genres": "rock, 21", "max_failure_rate": 0.1}
    flags = as_flags(**SMALL_RUN | changes, output_dir=tmp_path / "run")
    result = run_script("train", *flags)
    assert result.stderr == ""
    assert re.search(r"^1 file could not be decoded \(Rock 1\): see .*failures\.csv", result.stdout, re.M)
    assert re.search(r"^epoch +1/1  loss ", result.stdout, re.M)
    assert re.search(r"^test: accuracy \d\.\d+ by clip", result.stdout, re.M)
    assert Run(tmp_path / "run").settings.genres == ("rock", "21")
    shown = run_script("evaluate", f"--run_dir={tmp_path / 'run'}", "--split=validation")
    assert "validation: accuracy" in shown.stdout and shown.stderr == ""
    assert (tmp_path / "run" / "evaluation_validation" / "confusion_matrix.png").exists()


# In the order in which a reader may follow them: what one makes the next may use.
READMES = ("README.md", *(f"{name}/README.md" for name in ("pipeline", "layers", "experiments", "experiments/export")))


def readme_blocks(*languages: str) -> list[tuple[str, str]]:
    """(language, contents) of the READMEs' code blocks, in their order."""
    pattern = rf"^```({'|'.join(languages)})\n(.*?)^```"
    return re.findall(pattern, "\n".join((ROOT / name).read_text() for name in READMES), re.M | re.S)


def test_readme_runs(small_fma, tmp_path: Path):
    """Every command and snippet of the READMEs, in their order; sizes and places alone are replaced."""
    music, more_music = tmp_path / "music", tmp_path / "more_music"
    for i, row in pd.read_csv(small_fma / "fma_metadata" / "tracks.csv", header=[0, 1], index_col=0).iterrows():
        source = small_fma / "fma_small" / f"{i:06d}"[:3] / f"{i:06d}.mp3"
        (music / row["track", "genre_top"]).mkdir(parents=True, exist_ok=True)
        shutil.copy(source, music / row["track", "genre_top"])
    more_music.mkdir()
    song = next(path for path in sorted((music / "Rock").iterdir()) if path.name != "011491.mp3")
    decodable = shutil.copytree(small_fma, tmp_path / "fma")
    for path in (decodable / "fma_small" / "011" / "011491.mp3", music / "Rock" / "011491.mp3"):
        shutil.copy(song, path)
    shutil.copy(song, more_music)
    shutil.copy(song, tmp_path / "song.mp3")
    collection = shutil.copytree(music, tmp_path / "collection")
    rows = [f"{path.relative_to(collection)},{path.stem}" for path in sorted(collection.glob("*/*.mp3"))]
    (collection / "metadata.csv").write_text("\n".join(["path,artist", *rows]))
    places = {
        "/data/collection": collection,
        "/data/fma": small_fma,
        "/data/music": music,
        "/data/more_music": more_music,
        "/data/records": tmp_path / "records",
    }
    small, tolerant = as_flags(**SMALL_RUN), as_flags(max_failure_rate=SMALL_RUN["max_failure_rate"])
    ran = set()

    def run_command(command: str) -> None:
        words = shlex.split(command.split(" #")[0])
        if words[:1] == ["make"]:
            subprocess.run([*words, "--dry-run"], cwd=ROOT, check=True, capture_output=True)
        elif words[:2] == ["python", "-m"]:
            script = words[2].removeprefix("experiments.")
            if script in ("make_demo_data", "download_fma"):  # which take longer than this test should
                words = [*words[:3], *(word.replace("data/demo", "data/unused") for word in words[3:]), "--help"]
            if script == "fetch_weights" or any("musicnn" in word for word in words):
                words.append("--help")  # needs a network, or what it has fetched
            if script == "data_service" or any(word.startswith("--data_service=") for word in words):
                words.append("--help")  # tests/pipeline/service/test_service.py runs servers
            few = [*small, *as_flags(clips=12, repeats=1, rounds=1, batch_size=4)]
            extra = {
                "train": small,
                "audit_data": as_flags(folds=2),
                "compare_models": [*small, *as_flags(models="mfcc_logistic", seeds=0)],
                "evaluate": tolerant,
                "explore_features": as_flags(max_failure_rate=0.1),
                "benchmark_pipeline": few,
                "show_augmentation": small,
                "pack_records": tolerant,
            }.get(script, [])
            run_script(script, *words[3:], *extra, cwd=tmp_path, check="--help" not in words)
            ran.add(script)
        elif words[:1] == ["saved_model_cli"]:
            words[0] = str(Path(sys.executable).with_name(words[0]))
            subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, timeout=300)
        else:
            assert words[:1] in ([], ["git"], ["cd"], ["tensorboard"], ["export"]), (
                f"a README command that no test runs: {command}"
            )

    for language, contents in readme_blocks("sh", "python"):
        for place, own in places.items():
            contents = contents.replace(place, str(own))
        if language == "sh":
            for command in contents.replace("\\\n", " ").splitlines():
                run_command(command)
        else:
            # A library's user has music without a broken clip, of which one would be too many of so few.
            code = contents.replace(str(small_fma), str(decodable))
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=300)
    assert ran == set(SCRIPTS)


def test_readme_json_is_a_request(exported):
    ((_, contents),) = readme_blocks("json")
    request = json.loads(contents)
    signature = tf.saved_model.load(str(exported["saved_model"])).signatures[request["signature_name"]]
    outputs = signature(**{name: tf.constant(value) for name, value in request["inputs"].items()})
    assert outputs["probabilities"].shape == (2, 3)
