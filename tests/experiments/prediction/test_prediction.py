"""The predict command: against the run's own predictions, in each format, with files that cannot be read."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image
from support.audio import music, write_mp3
from support.places import ROOT, shared
from support.scripts import run_script
from support.tensorflow_io import needs_tensorflow_io

from experiments.prediction.exported import load_exported
from experiments.prediction.output import _timeline_path
from experiments.prediction.plots import plot_timeline
from experiments.prediction.prediction import FilePrediction, expand, predict_files, window_edges
from pipeline.catalogs.probe import probe_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(exported):
    return load_exported(exported["saved_model"])


@pytest.mark.parametrize("name", ["saved_model", "tflite", "onnx"])
def test_predictions_are_the_runs_own(name: str, exported, small_run):
    table = pd.read_csv(small_run / "predictions.csv")
    loaded = load_exported(exported[name])
    predictions = list(predict_files(loaded, table["path"].tolist()))
    assert [prediction.path for prediction in predictions] == table["path"].tolist()
    probabilities = np.array([prediction.probabilities for prediction in predictions])
    np.testing.assert_allclose(probabilities, table.filter(like="probability_"), atol=1e-5)
    assert [loaded.labels[i] for i in probabilities.argmax(axis=1)] == table["predicted"].tolist()


def test_a_bad_file_is_a_line_and_the_others_go_on(exported, small_run, tmp_path: Path):
    good = pd.read_csv(small_run / "predictions.csv")["path"].tolist()
    folder = tmp_path / "music" / "nested"
    folder.mkdir(parents=True)
    shutil.copy(good[0], folder / "b.mp3")
    strange = os.fsdecode(os.fsencode(folder) + b"/\xe9.mp3")  # not UTF-8
    shutil.copy(good[0], strange)
    (folder / "c.mp3").write_bytes(b"nothing of the kind")
    (folder / "notes.txt").write_text("not audio")
    soundfile.write(folder / "a.flac", music(3, 96000, 3), 96000)
    arguments = [str(tmp_path / "music"), "/gone.mp3", good[1], good[1]]
    model = f"--saved_model={exported['saved_model']}"

    table = run_script("predict", model, *arguments, check=False)
    assert table.returncode == 1
    assert table.stderr == "error: 2 of 6 files could not be predicted\n"
    header, *lines = table.stdout.splitlines()
    assert header.split() == ["file", "label", "probability", "runner-up", "probability"]
    assert [Path(line.split()[0]).name for line in lines] == [
        "a.flac",
        "b.mp3",
        "c.mp3",
        Path(strange).name,
        "gone.mp3",
        Path(good[1]).name,
    ]
    assert lines[2].endswith("error: not recognised as audio") and lines[4].endswith("error: file not found")

    (tmp_path / "out").mkdir()
    as_json = run_script("predict", model, "--format=json", *arguments, check=False)
    rows = json.loads(as_json.stdout)
    (folder / "song.m4a").touch()
    files = [f"--output={tmp_path / 'out' / 'p.csv'}", f"--left_out={tmp_path / 'left' / 'out.csv'}"]
    told = run_script("predict", model, *files, *arguments, check=False).stderr
    assert (
        f"note: left out: 1 .m4a file (libsndfile does not read it), 1 other file (1 .txt); see {tmp_path}/left" in told
    )
    left_out = list(csv.DictReader((tmp_path / "left" / "out.csv").read_text().splitlines()))
    assert [Path(row["path"]).name for row in left_out] == ["notes.txt", "song.m4a"] and left_out[1]["reason"]
    written = list(csv.DictReader(io.StringIO((tmp_path / "out" / "p.csv").read_text(errors="surrogateescape"))))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["p.csv"]
    labels = ["Hip-Hop", "Instrumental", "Rock"]
    assert list(written[0]) == [
        *("path", "label", "probability", "runner_up", "runner_up_probability", "error"),
        *(f"probability_{label}" for label in labels),
        "remark",
    ]
    for line, row, record in zip(lines, rows, written, strict=True):
        assert row["path"] == record["path"] == line.split("  ")[0].strip()
        assert (row["error"] or "") == record["error"]
        if row["error"]:
            assert row["label"] is None and record["label"] == "" and row["probabilities"] is None
            continue
        ranked = sorted(row["probabilities"].items(), key=lambda item: -item[1])
        assert [(row["label"], row["probability"]), (row["runner_up"], row["runner_up_probability"])] == ranked[:2]
        assert (record["label"], record["runner_up"]) == (row["label"], row["runner_up"])
        assert [float(record[f"probability_{label}"]) for label in labels] == pytest.approx(
            list(row["probabilities"].values()), rel=1e-8
        )
        assert row["label"] in line and f"{row['probability']:.3f}" in line


def test_files_without_sound_or_in_parts_are_marked(model, tmp_path: Path):
    audio = music(6, 44100, 1)
    first = write_mp3(tmp_path / "sound.mp3", audio, 44100).read_bytes()
    (tmp_path / "joined.mp3").write_bytes(first + write_mp3(tmp_path / "b.mp3", audio[: 48000 * 2], 48000).read_bytes())
    write_mp3(tmp_path / "opposite.mp3", np.concatenate([audio, -audio], axis=1), 44100)
    soundfile.write(tmp_path / "silent.flac", np.zeros(44100 * 6), 44100)
    soundfile.write(tmp_path / "one.wav", audio[5000:5001], 44100)
    absurd = audio.copy()
    absurd[1000] = 1e29
    soundfile.write(tmp_path / "absurd.wav", absurd, 44100, subtype="FLOAT")
    paths = [
        str(tmp_path / name)
        for name in ("opposite.mp3", "silent.flac", "one.wav", "sound.mp3", "joined.mp3", "absurd.wav")
    ]
    *marked, sound, joined, bad = predict_files(model, paths)
    assert [item.remark.split(":")[0] for item in marked] == ["no sound"] * 3 and not any(item.error for item in marked)
    assert sound.remark == "" and "2.0" in joined.remark and "not used" in joined.remark
    assert "no sound" in bad.error and len(bad.windows) == 0
    probed = [probe_file(path) for path in paths]
    assert [row.remark for row in probed[:5]] == [item.remark for item in (*marked, sound, joined)]
    assert [row.decodable for row in probed] == [1, 1, 1, 1, 1, 0] and probed[5].reason == bad.error


def test_timelines(exported, small_run, tmp_path: Path):
    clip = pd.read_csv(small_run / "predictions.csv")["path"][0]
    output, folder = tmp_path / "p.json", tmp_path / "plots"
    flags = [f"--saved_model={exported['saved_model']}", f"--output={output}", f"--timeline_dir={folder}"]
    run_script("predict", *flags, "--timeline", clip)
    (row,) = json.loads(output.read_text())
    starts = [window["start_seconds"] for window in row["windows"]]
    assert starts[0] == 0 and len(starts) == np.ceil(soundfile.info(clip).duration / 2)
    means = np.mean([list(window["probabilities"].values()) for window in row["windows"]], axis=0)
    np.testing.assert_allclose(means, list(row["probabilities"].values()), atol=1e-6)
    (plot,) = folder.iterdir()
    assert plot.name.startswith(Path(clip).stem)
    assert _timeline_path(folder, "a/b_c.mp3") != _timeline_path(folder, "a_b/c.mp3")
    assert len(_timeline_path(folder, "ж" * 300 + ".mp3").name.encode()) < 255
    with Image.open(plot) as image:
        assert min(image.size) > 300


@needs_tensorflow_io
def test_timeline_needs_a_model_of_waveforms(exported, clips, tmp_path: Path):
    flags = [f"--saved_model={exported['mp3']}", "--timeline", str(clips[0])]
    refused = run_script("predict", *flags, cwd=tmp_path, check=False)
    assert refused.returncode == 1 and "error: expected a model of waveforms for --timeline" in refused.stderr
    assert not (tmp_path / "timelines").exists()


def test_timeline_of_many_labels_and_strange_names(tmp_path: Path, rng):
    windows = rng.dirichlet([50.0, *np.ones(29)], 50).astype(np.float32)
    edges = np.append(np.linspace(0, 595, 50), 600)
    plot_timeline(edges, windows, ["$^$", *(f"label {i}" for i in range(29))], "A$AP $_{x}$.mp3", tmp_path / "t.png")
    assert (tmp_path / "t.png").stat().st_size > 5000


@needs_tensorflow_io
def test_mp3_model_names_what_it_cannot_read(exported, small_run, tmp_path: Path):
    table = pd.read_csv(small_run / "predictions.csv")
    (tmp_path / "bad.mp3").write_bytes(b"bad")
    paths = [*table["path"], str(tmp_path / "bad.mp3"), "/gone.mp3"]
    write_mp3(tmp_path / "silent.mp3", np.zeros((44100, 1)), 44100)
    paths.append(str(tmp_path / "silent.mp3"))
    *good, bad, gone, silent = predict_files(load_exported(exported["mp3"]), paths)
    assert silent.remark == "no sound: silent" and not any(item.remark for item in good)
    assert bad.error.startswith("not recognised as MP3") and gone.error == "cannot be read: No such file or directory"
    assert bad.windows.shape == (0, 3)
    probabilities = np.array([prediction.probabilities for prediction in good])
    np.testing.assert_allclose(probabilities, table.filter(like="probability_"), atol=0.01)


def test_every_file_bad_in_any_order(model, clips, tmp_path: Path):
    for name in "xyz":
        (tmp_path / name).write_bytes(b"bad")
    paths = [str(tmp_path / "x"), str(clips[0]), str(tmp_path / "y"), str(clips[1]), str(tmp_path / "z")]
    assert [bool(prediction.error) for prediction in predict_files(model, paths)] == [True, False, True, False, True]
    assert [prediction.error for prediction in predict_files(model, paths[::2])] == [
        "not decodable: Format not recognised"
    ] * 3


def test_expand(tmp_path: Path):
    (tmp_path / "b").mkdir()
    for name in ("b/2.MP3", "b/1.ogg", "b/.hidden.mp3", "b/cover.jpg", "odd.bin"):
        (tmp_path / name).touch()
    found, left_out = expand([str(tmp_path / "odd.bin"), str(tmp_path / "b"), str(tmp_path / "b" / "2.MP3")])
    assert [Path(path).name for path in found] == ["odd.bin", "1.ogg", "2.MP3"]
    assert [Path(item.path).name for item in left_out] == [".hidden.mp3", "cover.jpg"]
    (tmp_path / "b" / "again.ogg").symlink_to("1.ogg")
    (tmp_path / "b" / "3.m4a").touch()
    found, left_out = expand([f"{tmp_path}/b/../b/2.MP3", str(tmp_path / "b")])
    assert found == [f"{tmp_path}/b/../b/2.MP3", f"{tmp_path}/b/1.ogg"]
    assert {Path(item.path).name for item in left_out} == {".hidden.mp3", "cover.jpg", "again.ogg", "3.m4a", "2.MP3"}
    (tmp_path / "b" / "1.ogg").unlink()
    (tmp_path / "b" / "2.MP3").unlink()
    with pytest.raises(ValueError, match=r"found none in .*1 \.m4a file .*1 hidden file.*; files read: .*\.mp3"):
        expand([str(tmp_path / "b")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"expected audio files or folders that hold some, found none in .*empty"):
        expand([str(tmp_path / "empty")])


def test_window_edges_span_the_file(clips):
    duration = soundfile.info(clips[3]).duration
    np.testing.assert_allclose(window_edges(str(clips[3]), 3, 2.0), [0, (duration - 2) / 2, duration - 2, duration])
    np.testing.assert_allclose(window_edges(str(clips[0]), 1, 60.0), [0, soundfile.info(clips[0]).duration])


def test_probabilities_are_the_mean_of_the_windows():
    windows = np.array([[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]], np.float32)
    np.testing.assert_allclose(FilePrediction("a", windows).probabilities, [0.5, 0.5])


@pytest.mark.parametrize("name", ["folder", "folder.onnx", "m.tflite", "m.onnx", "gone", "cut"])
def test_what_is_no_export_is_refused(name: str, exported, tmp_path: Path):
    if name == "cut":
        shutil.copytree(exported["saved_model"], tmp_path / name)
        with open(tmp_path / name / "variables" / "variables.data-00000-of-00001", "r+b") as file:
            file.truncate(1000)
    elif name.startswith("folder"):
        (tmp_path / name).mkdir()
    elif name != "gone":
        (tmp_path / name).write_bytes(b"garbage")
    with pytest.raises(ValueError, match=r"expected an? .*"):
        load_exported(tmp_path / name)


def test_it_does_not_load_what_trains():
    code = (
        "import sys, experiments.predict, experiments.prediction.output, experiments.prediction.exported\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('layers', 'kapre', 'tensorflow_io')"
        " or name in ('experiments.training.loop', 'experiments.evaluation.evaluation', 'experiments.settings')])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_no_arguments_is_refused(exported):
    result = run_script("predict", f"--saved_model={exported['saved_model']}", check=False)
    assert result.returncode != 0 and "expected FILE_OR_FOLDER beside the flags" in result.stderr + result.stdout


def test_a_real_clip(model):
    (prediction,) = predict_files(model, [str(shared("fma_small") / "000" / "000002.mp3")])
    assert prediction.windows.shape == (15, 3)
