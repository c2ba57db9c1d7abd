"""Exports as their users meet them: loaded without this project, against the run, soundfile's audio and each other."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf
from support.audio import music, write_mp3
from support.places import ROOT
from support.small_run import SMALL_FEATURES, SMALL_RUN
from support.tensorflow_io import needs_tensorflow_io

from experiments.export.check import ExportCheckError, clips_to_check
from experiments.export.endpoints import AudioClassifier
from experiments.export.export import _publish, export_run, load_classifier
from experiments.export.formats import write_saved_model, write_tflite
from experiments.prediction.exported import load_exported
from experiments.runs.run import Run
from experiments.settings import Settings
from experiments.training import loop as training
from pipeline.dataset import eval_dataset
from pipeline.failures import FailureLedger

pytestmark = pytest.mark.slow

RATE_HZ, CROP = SMALL_FEATURES["sample_rate_hz"], 16000
SHAPES = [(1, CROP), (5, CROP), (2, 20001), (3, 5000), (2, 1)]


@pytest.fixture(scope="module")
def model(small_run) -> keras.Model:
    return Run(small_run).model()


@pytest.fixture(scope="module")
def signatures(exported) -> dict:
    return tf.saved_model.load(str(exported["saved_model"])).signatures


def padded(waveform: np.ndarray) -> np.ndarray:
    return np.pad(waveform, ((0, 0), (0, max(0, CROP - waveform.shape[1]))))


def test_metadata_is_in_every_format(exported, small_run, signatures, model):
    described = json.loads((exported["saved_model"] / "assets.extra" / "metadata.json").read_text())
    assert json.loads(signatures["metadata"]()["json"].numpy()) == described
    metrics = json.loads((small_run / "metrics.json").read_text())
    assert described["test"]["clip"]["ci95"] == metrics["test"]["clip"]["ci95"]
    assert described["labels"] == ["Hip-Hop", "Instrumental", "Rock"]
    assert (described["sample_rate_hz"], described["crop_seconds"]) == (RATE_HZ, 2.0)
    assert described["front_end"] == {"class": "LogMelSpectrogram", **model.get_layer("log_mel").settings}
    assert described["training_data"]["dataset"] == "fma" and described["training_data"]["subset"] == "small"
    assert {"python", "tensorflow", "keras", "kapre", "numpy"} <= set(described["libraries"])
    weights = b"".join(variable.numpy().astype("<f4").tobytes() for variable in model.weights)
    assert described["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    with zipfile.ZipFile(exported["tflite"]) as archive:
        assert json.loads(archive.read("metadata.json")) == described
    for name in exported.keys() & {"mp3", "onnx"}:
        assert load_exported(exported[name]).metadata == described | {"input": "mp3" if name == "mp3" else "waveform"}
    assert sorted(path.name for path in exported["saved_model"].parent.iterdir()) == sorted(
        path.name for path in exported.values()
    )


FOREIGN_PROCESS = """
import sys
for name in ("kapre", "tensorflow_io", "soundfile", "layers", "pipeline", "experiments"):
    sys.modules[name] = None  # importing it raises
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
outputs = {}
with np.load(sys.argv[2]) as waveforms:
    for name, waveform in waveforms.items():
        answer = model.signatures["serving_default"](waveform=tf.constant(waveform))
        outputs |= {f"{name}_{key}": value.numpy() for key, value in answer.items() if key != "labels"}
np.savez(sys.argv[3], **outputs)
"""


def test_loads_in_a_fresh_process_with_tensorflow_alone(exported, model, tmp_path: Path, rng):
    waveforms = {str(i): 0.1 * rng.standard_normal(shape).astype(np.float32) for i, shape in enumerate(SHAPES)}
    np.savez(tmp_path / "in.npz", **waveforms)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", FOREIGN_PROCESS, exported["saved_model"], "in.npz", "out.npz"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=300)
    embedder = keras.Model(model.input, model.get_layer("embedding").output)
    with np.load(tmp_path / "out.npz") as outputs:
        for name, waveform in waveforms.items():
            np.testing.assert_allclose(outputs[f"{name}_probabilities"], model(padded(waveform)), atol=1e-5)
            np.testing.assert_allclose(outputs[f"{name}_embedding"], embedder(padded(waveform)), atol=1e-4)


@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_converted_models_equal_the_saved_model(name: str, exported, signatures, rng):
    if name == "onnx":
        pytest.importorskip("onnxruntime")
    converted = load_exported(exported[name])
    for shape in SHAPES:
        waveform = 0.1 * rng.standard_normal(shape).astype(np.float32)
        expected = signatures["serving_default"](waveform=tf.constant(waveform))["probabilities"]
        np.testing.assert_allclose(converted.classify(waveform), expected, atol=1e-5)


def test_tflite_has_built_in_operations_only(exported):
    from tensorflow.lite.python import schema_py_generated as schema

    codes = schema.ModelT.InitFromPackedBuf(exported["tflite"].read_bytes(), 0).operatorCodes
    assert len(codes) > 10 and all(code.customCode is None for code in codes)


def test_onnx_opset(exported):
    onnx = pytest.importorskip("onnx")
    loaded = onnx.load(exported["onnx"])
    assert [entry.version for entry in loaded.opset_import if entry.domain == ""] == [17]
    assert [value.name for value in loaded.graph.input] == ["waveform"]


def test_track_has_the_windows_of_evaluation(exported, signatures, small_run, clips, tmp_path: Path):
    flac = tmp_path / "long.flac"
    soundfile.write(flac, music(9.3, RATE_HZ, seed=5), RATE_HZ)
    for path in [flac, *clips]:
        audio, sample_rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        outputs = signatures["track"](waveform=tf.constant(audio.mean(axis=1)), sample_rate=tf.constant(sample_rate_hz))
        ((waveforms, _),) = eval_dataset(
            [str(path)], FailureLedger(1), sample_rate_hz=RATE_HZ, crop_seconds=2.0, batch_size=99
        )
        expected = signatures["serving_default"](waveform=waveforms)["probabilities"].numpy()
        # The same audio to the sample; where it is resampled, by another filter.
        tolerance = 1e-5 if sample_rate_hz == RATE_HZ else 5e-3
        np.testing.assert_allclose(outputs["window_probabilities"], expected, atol=tolerance)
        np.testing.assert_allclose(outputs["probabilities"], expected.mean(axis=0), atol=tolerance)
        seconds = len(audio) / sample_rate_hz
        starts = np.linspace(0, max(seconds - 2, 0), len(expected))
        np.testing.assert_allclose(outputs["window_start_seconds"], starts, atol=1e-3)
        assert outputs["labels"].numpy().tolist() == [b"Hip-Hop", b"Instrumental", b"Rock"]
    assert len(outputs["window_probabilities"]) > 1


def test_track_of_many_windows_is_the_same_in_batches(signatures):
    waveform = music(95, RATE_HZ)[:, 0]
    outputs = signatures["track"](waveform=tf.constant(waveform), sample_rate=tf.constant(RATE_HZ))
    assert outputs["window_probabilities"].shape == (48, 3)
    for i in (0, 9, 10, 47):
        start = round(float(outputs["window_start_seconds"][i]) * RATE_HZ)
        alone = signatures["serving_default"](waveform=tf.constant(waveform[np.newaxis, start : start + CROP]))
        np.testing.assert_allclose(outputs["window_probabilities"][i], alone["probabilities"][0], atol=1e-5)


@pytest.mark.parametrize(
    ("signature", "arguments", "message"),
    [
        ("serving_default", {"waveform": [[]]}, "expected a waveform of at least one sample"),
        ("serving_default", {"waveform": np.zeros((0, 100))}, "expected a waveform of at least one sample"),
        ("serving_default", {"waveform": [[0.1, np.nan]]}, "expected waveform samples that are finite"),
        ("serving_default", {"waveform": [[0.1], [-np.inf]]}, "expected waveform samples that are finite"),
        ("serving_default", {"waveform": [[0.1, -1e29, 0.1]]}, r"finite numbers within 1e\+10"),
        ("track", {"waveform": [0.0] * 50000 + [1e20], "sample_rate": 44100}, r"within 1e\+10"),
        ("track", {"waveform": [], "sample_rate": 44100}, "expected a waveform of at least one sample"),
        ("track", {"waveform": [0.0] * 50000 + [np.inf], "sample_rate": 44100}, "samples that are finite"),
        ("track", {"waveform": [0.1], "sample_rate": 0}, "expected sample_rate as a positive number of hertz"),
        ("track", {"waveform": [0.1], "sample_rate": -44100}, "expected sample_rate as a positive number"),
    ],
)
def test_bad_input_is_named_in_the_graph(signatures, signature: str, arguments: dict, message: str):
    tensors = {
        name: tf.constant(value, tf.int32 if name == "sample_rate" else tf.float32) for name, value in arguments.items()
    }
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signatures[signature](**tensors)


@pytest.mark.parametrize("sample_rate_hz", [1, 100, 8000, 44100, 192000])
def test_one_sample_of_any_rate_is_enough(signatures, sample_rate_hz: int):
    outputs = signatures["track"](waveform=tf.constant([0.5]), sample_rate=tf.constant(sample_rate_hz))
    assert np.isfinite(outputs["probabilities"]).all() and outputs["window_start_seconds"].numpy().tolist() == [0]


def test_tensorflow_servings_json(signatures, model, rng):
    """What its REST API does with a request in the column format, as text on both sides."""
    waveform = 0.1 * rng.standard_normal((2, 17000)).astype(np.float32)
    request = json.loads(json.dumps({"signature_name": "serving_default", "inputs": {"waveform": waveform.tolist()}}))
    signature = signatures[request["signature_name"]]
    specification = signature.structured_input_signature[1]
    tensors = {name: tf.constant(value, specification[name].dtype) for name, value in request["inputs"].items()}
    answer = {
        name: [label.decode() for label in value.numpy()] if value.dtype == tf.string else value.numpy().tolist()
        for name, value in signature(**tensors).items()
    }
    outputs = json.loads(json.dumps({"outputs": answer}))["outputs"]
    assert set(outputs) == {"probabilities", "labels", "embedding"}
    assert outputs["labels"] == ["Hip-Hop", "Instrumental", "Rock"]
    np.testing.assert_allclose(outputs["probabilities"], model(waveform), atol=1e-5)


def test_saved_model_cli(exported, tmp_path: Path, rng, model):
    waveform = 0.1 * rng.standard_normal((2, CROP)).astype(np.float32)
    np.save(tmp_path / "waveform.npy", waveform)
    command = [Path(sys.executable).with_name("saved_model_cli"), "run", "--dir", exported["saved_model"]]
    command += ["--tag_set", "serve", "--signature_def", "serving_default", "--inputs", "waveform=waveform.npy"]
    subprocess.run([*command, "--outdir", "out"], cwd=tmp_path, check=True, capture_output=True, timeout=300)
    np.testing.assert_allclose(np.load(tmp_path / "out" / "probabilities.npy"), model(waveform), atol=1e-5)


@needs_tensorflow_io
def test_mp3_batch_with_undecodable_items(exported, small_run, tmp_path: Path):
    predictions = pd.read_csv(small_run / "predictions.csv")
    good = [Path(path).read_bytes() for path in predictions["path"][:4]]
    truncated = write_mp3(tmp_path / "a.mp3", music(5, 44100), 44100).read_bytes()[:20000]
    load_exported(exported["mp3"])  # loads tensorflow-io's ops
    signature = tf.saved_model.load(str(exported["mp3"])).signatures["serving_default"]
    outputs = signature(mp3=tf.constant([good[0], b"", good[1], b"not music", truncated, good[2], good[3]]))
    assert outputs["ok"].numpy().tolist() == [True, False, True, False, False, True, True]
    errors = [error.decode() for error in outputs["error"].numpy()]
    for error, beginning in zip(errors, ["", "empty", "", "not recognised", "truncated", "", ""], strict=True):
        assert error.startswith(beginning) and bool(error) == bool(beginning)
    assert not outputs["probabilities"].numpy()[~outputs["ok"].numpy()].any()
    expected = predictions.filter(like="probability_").to_numpy()[:4]
    np.testing.assert_allclose(outputs["probabilities"].numpy()[outputs["ok"].numpy()], expected, atol=0.01)
    assert outputs["embedding"].shape == (7, 128) and outputs["labels"].shape == (3,)
    assert signature(mp3=tf.constant([], tf.string))["probabilities"].shape == (0, 3)


def test_existing_exports_are_kept_unless_overwritten(exported, small_run, tmp_path: Path, capsys):
    place = tmp_path / "model"
    shutil.copytree(exported["saved_model"], place)
    with pytest.raises(ValueError, match=r"found an earlier export; add --overwrite"):
        export_run(small_run, place)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"found something else; choose another --export_dir"):
            export_run(small_run, tmp_path / "photos", overwrite=overwrite)
        with pytest.raises(ValueError, match=r"found something else; choose another --export_dir"):
            export_run(small_run, tmp_path / "photos" / "cat.jpg", overwrite=overwrite)
    with pytest.raises(ValueError, match=r"received m\.onnx; leave \.onnx out"):
        export_run(small_run, tmp_path / "m.onnx")
    before = (place / "fingerprint.pb").read_bytes()
    tampered = copy_of(small_run, tmp_path / "tampered")
    table = pd.read_csv(tampered / "predictions.csv")
    table.loc[3, ["probability_Rock", "probability_Hip-Hop"]] += [1e-4, -1e-4]
    table.to_csv(tampered / "predictions.csv", index=False)
    with pytest.raises(ExportCheckError, match=r"1 of 12 clips differ, by up to 0\.0001, such as .*\.mp3"):
        export_run(tampered, place, overwrite=True)
    assert (place / "fingerprint.pb").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"model", "photos", "tampered"}
    metadata = place / "assets.extra" / "metadata.json"
    metadata.write_text("{}")
    capsys.readouterr()
    export_run(small_run, place, overwrite=True)
    assert "checked in a fresh process on 12 clips: same labels" in capsys.readouterr().out
    assert json.loads(metadata.read_text())["name"] == "melstream"


def test_all_formats_are_published_or_none(tmp_path: Path, monkeypatch):
    aside, staging, place = tmp_path / "aside", tmp_path / "staging", tmp_path / "place"
    for folder in (aside, staging, place):
        folder.mkdir()
    for name in ("m", "m.tflite", "m.onnx"):
        (staging / name).write_text("new")
    for name in ("m", "m.tflite"):
        (place / name).write_text("old")
    replace_file, calls = os.replace, []

    def interrupted(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 4:  # the second export's own rename
            raise KeyboardInterrupt
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _publish({staging / name: place / name for name in ("m", "m.tflite", "m.onnx")}, aside)
    assert {path.name: path.read_text() for path in place.iterdir()} == {"m": "old", "m.tflite": "old"}
    monkeypatch.undo()
    _publish({staging / name: place / name for name in ("m", "m.tflite", "m.onnx")}, aside)
    assert {path.read_text() for path in place.iterdir()} == {"new"} and len(list(place.iterdir())) == 3


def test_tflite_of_other_fft_lengths(tmp_path: Path, rng):
    settings = replace(Settings(**SMALL_RUN), n_fft=400, hop_length=200)
    model = training.build_model(settings, 2)
    metadata = {"labels": ["a", "b"], "sample_rate_hz": RATE_HZ, "crop_seconds": 2.0}
    write_tflite(AudioClassifier(model, ["a", "b"], RATE_HZ, 2.0, 4000), metadata, tmp_path / "m.tflite")
    waveform = 0.1 * rng.standard_normal((2, CROP)).astype(np.float32)
    np.testing.assert_allclose(load_exported(tmp_path / "m.tflite").classify(waveform), model(waveform), atol=1e-5)


def test_exporting_needs_neither_scikit_learn_nor_matplotlib(small_run):
    """Keras imports both where it can, so that they are hidden here instead of looked for afterwards."""
    code = """if True:
        import sys
        sys.modules["sklearn"] = sys.modules["matplotlib"] = None  # importing them fails
        import experiments.export.export as export
        from experiments.runs.run import Run
        run = Run(sys.argv[1])
        classifier = export.load_classifier(run)
        export.describe_run(run, classifier.model)
        print(len(run.predictions()), len(run.history), len(run.failures))
    """
    result = subprocess.run([sys.executable, "-c", code, small_run], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "12 1 1\n"


def copy_of(run_dir: Path, place: Path) -> Path:
    place.mkdir()
    for name in ("settings.json", "data.json", "model.keras", "metrics.json", "predictions.csv"):
        shutil.copy(run_dir / name, place)
    return place


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("settings.json", None, r"expected a run directory with settings\.json"),
        ("model.keras", None, r"expected a trained model at .*; let the training finish an epoch first"),
        ("predictions.csv", None, r"expected the run's predictions in .*; let the training finish"),
        ("metrics.json", "{}", r"expected the test scores of a finished run"),
        (
            "predictions.csv",
            "path,split,predicted,probability_a\n/gone.mp3,test,a,1\n",
            r"found none of 1, such as /gone\.mp3; run from the directory",
        ),
        pytest.param(
            *(
                "predictions.csv",
                "path,split,predicted,probability_a\n{clip}.wav,test,a,1\n",
                r"expected MP3 clips .* found none",
            ),
            marks=needs_tensorflow_io,
        ),
    ],
)
def test_unfinished_or_damaged_runs(small_run, clips, tmp_path: Path, name: str, contents: str | None, message: str):
    run_dir = copy_of(small_run, tmp_path / "run")
    (run_dir / name).unlink()
    formats = ["saved_model"]
    if contents is not None:
        shutil.copy(clips[0], tmp_path / "clip.wav")
        (run_dir / name).write_text(contents.replace("{clip}", str(tmp_path / "clip")))
        formats = ["mp3"] if "wav" in contents else formats
    with pytest.raises(ValueError, match=message):
        export_run(run_dir, tmp_path / "model", formats)
    assert {path.name for path in tmp_path.iterdir()} <= {"run", "clip.wav"}


def test_at_most_200_clips_are_checked(clips, tmp_path: Path):
    paths = [*map(str, clips), *(str(tmp_path / f"{i}.mp3") for i in range(300))]
    for path in paths[12:]:
        Path(path).touch()
    table = pd.DataFrame({"path": [*paths, "gone"], "predicted": "NA", "probability_NA": 1.0})
    table.to_csv(tmp_path / "predictions.csv", index=False)
    checked = clips_to_check(Run(tmp_path))
    assert len(checked) == 200 and checked["path"].iloc[0] == paths[0] and checked["path"].iloc[-1] == paths[-1]
    assert set(checked["predicted"]) == {"NA"}


@pytest.mark.parametrize(
    "changes",
    [{"model": "cnn2d"}, {"crop_seconds": 0.0}, {"mixed_precision": True}, {"pad_mode": "constant"}],
    ids=lambda changes: next(iter(changes)),
)
def test_other_models(changes: dict, small_run, tmp_path: Path, rng):
    settings = replace(Settings(**SMALL_RUN), **changes)
    try:
        keras.config.set_dtype_policy("mixed_bfloat16" if settings.mixed_precision else "float32")
        model = training.build_model(settings, 2)
    finally:
        keras.config.set_dtype_policy("float32")
    shortest = load_classifier(Run(small_run)).min_samples
    assert shortest < CROP
    classifier = AudioClassifier(model, ["a", "b"], RATE_HZ, settings.crop_seconds, shortest)
    write_saved_model(classifier, {}, tmp_path / "model")
    signatures = tf.saved_model.load(str(tmp_path / "model")).signatures
    waveforms = 0.1 * rng.standard_normal((16, 24000)).astype(np.float32)
    outputs = signatures["serving_default"](waveform=tf.constant(waveforms))
    assert outputs["embedding"].dtype == tf.float32
    # In half precision the result depends on the batch that it is computed in.
    tolerance = 1e-3 if settings.mixed_precision else 1e-5
    np.testing.assert_allclose(outputs["probabilities"][:3], model(waveforms[:3]), atol=tolerance)
    assert np.isfinite(signatures["serving_default"](waveform=tf.constant([[0.1]]))["probabilities"]).all()
    if not settings.crop_seconds:
        track = signatures["track"](waveform=tf.constant(waveforms[0]), sample_rate=tf.constant(RATE_HZ))
        np.testing.assert_allclose(track["probabilities"], outputs["probabilities"][0], atol=1e-5)
        assert len(track["window_probabilities"]) == 1
    if settings.mixed_precision:
        with pytest.raises(ValueError, match=r"computes in float32, received one in bfloat16; train without"):
            write_tflite(classifier, {}, tmp_path / "model.tflite")


def test_a_full_disk_harms_no_earlier_export(exported, small_run, tmp_path: Path):
    shutil.copytree(exported["saved_model"], tmp_path / "model")
    before = {path: path.read_bytes() for path in (tmp_path / "model").rglob("*") if path.is_file()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)  # stands in for the disk's size
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"expected to write .*File too large; earlier exports are unharmed"):
            export_run(small_run, tmp_path / "model", ["saved_model"], overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in (tmp_path / "model").rglob("*") if path.is_file()} == before
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]
