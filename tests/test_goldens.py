"""What earlier code wrote still loads and repeats: runs, checkpoints, exports, records, and the place of every crop.

The goldens stand in tests/goldens and come from `make_goldens.py` there, which says with which versions. They were
written on another machine than yours, and bit for bit is only what one machine repeats. So integers are compared exactly
(order, starts, lengths, rows), and everything that is computed within a tolerance whose reason stands beside it.
"""

import functools
import hashlib
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from support.scripts import run_script
from support.tensorflow_io import DECODER_PARAMS

from experiments.evaluation.evaluation import evaluate_run
from experiments.prediction.exported import load_exported
from experiments.prediction.prediction import predict_files
from experiments.runs.run import Run
from pipeline.catalogs.pack import pack_records, verify_records
from pipeline.catalogs.records import load_records
from pipeline.catalogs.table import load_csv
from pipeline.dataset import eval_dataset, iterate, train_dataset
from pipeline.decoding import tfio_decoder
from pipeline.decoding.registry import DECODERS
from pipeline.failures import FailureLedger
from pipeline.order import Order
from pipeline.storage.clips import read_clip

pytestmark = pytest.mark.slow

GOLDENS = Path(__file__).resolve().parent / "goldens"
CLIPS = ("maxstack-nebula", "sectoid-metal-madness", "obsidian-shell-wings-of-cruelty")  # in tests/goldens/music
PATHS = [str(GOLDENS / "music" / f"{name}.mp3") for name in CLIPS]
CLIP_RATES_HZ = (44100, 44100, 22050)
GOLDEN_DECODERS = ("soundfile", "tfio")
SAMPLE_RATE_HZ, CROP_SECONDS, CROPS_PER_CLIP, SEED = 22050, 2.0, 3, 7
EPOCHS = (0, 1)
# Building tfio's graph takes seconds a data set, so that it has fewer: both epochs' starts, and the first one's batches.
BATCHED_EPOCHS = {"auto": EPOCHS, "soundfile": EPOCHS, "tfio": EPOCHS[:1]}
_EVERY_LENGTH = {"evaluation": CROP_SECONDS, "evaluation_whole": 0.0}
EVALUATIONS = {"auto": _EVERY_LENGTH, "soundfile": _EVERY_LENGTH, "tfio": {"evaluation": CROP_SECONDS}}
# The native decoder is held to what libsndfile and soxr gave: the same places, samples but for a resampler of its own at half the
# file's rate (-97 dB, below 1e-4 here), and what the network makes of those (observed: 1.1e-4).
GOLDEN_OF = {"auto": "soundfile"}
CHECKPOINT = "epoch-0001-step-000004.npz"  # the interrupted run's only one: an epoch of eight steps, and four more

# libmpg123, soxr and oneDNN choose their code by the processor, which adds in another order, in single precision, samples within
# -1...1. Observed: 4e-7 between oneDNN for AVX-512, AVX2 and SSE4.1, and without it; 2e-7 between libmpg123 and tfio's decoder.
SAMPLE_TOLERANCE = 1e-5
# At half rate, where the two resamplers let pass a little more or less just below 11,025 Hz. Observed: 2e-4.
NATIVE_SAMPLE_TOLERANCE = 1e-3
# The same, through the network. Observed in those cases: 7e-7.
PROBABILITY_TOLERANCE = 1e-4
NATIVE_PROBABILITY_TOLERANCE = 1e-3
# Four steps of Adam at a rate of 0.003 move a weight by up to 0.012 or so, in a direction that twelve steps of moments make
# steady: what rounding changes in it is of the order of a gradient's own rounding, 1e-6. Observed in those cases: weights 3e-7,
# losses 7e-8, probabilities 6e-7. A resumption that loses the moments or dropout's seeds, or repeats a batch, is 0.01 to 0.3
# off in each.
RESUMED_TOLERANCE = 1e-4


def describe_crops(decoder: str) -> dict[str, np.ndarray]:
    """The crops of two training passes and of an evaluation, and the whole clips: where each lies, and pieces of it."""
    wholes = [_decode(decoder, PATHS[clip], CLIP_RATES_HZ[clip], 0.0, 0.0) for clip in range(len(CLIPS))]
    found = _pieces(f"{decoder}/whole", wholes)
    for epoch in EPOCHS:
        order = Order(len(CLIPS), CROPS_PER_CLIP, SEED, epoch)
        drawn = [order.draw(tf.constant(place, tf.int64)) for place in range(order.examples)]
        clips, positions = (np.array(column) for column in zip(*drawn, strict=True))
        starts = [
            _find(_decode(decoder, PATHS[clip], CLIP_RATES_HZ[clip], CROP_SECONDS, position), wholes[clip])
            for clip, position in zip(clips, positions, strict=True)
        ]
        name = f"{decoder}/epoch_{epoch}"
        found |= {f"{name}/clip": clips, f"{name}/position": positions, f"{name}/start": np.array(starts)}
    for epoch in BATCHED_EPOCHS[decoder]:
        dataset = train_dataset(
            PATHS,
            range(len(CLIPS)),  # each clip its own class, by which it is known below
            _ledger(),
            sample_rate_hz=SAMPLE_RATE_HZ,
            crop_seconds=CROP_SECONDS,
            crops_per_clip=CROPS_PER_CLIP,
            batch_size=4,
            epoch=epoch,
            seed=SEED,
            decoder=decoder,
        )
        waveforms, clips = _collect(dataset)
        name = f"{decoder}/epoch_{epoch}/batched"
        found |= _pieces(name, waveforms) | {f"{name}/clip": clips}
    for evaluation, crop_seconds in EVALUATIONS[decoder].items():
        dataset = eval_dataset(
            PATHS,
            _ledger(),
            sample_rate_hz=SAMPLE_RATE_HZ,
            crop_seconds=crop_seconds,
            batch_size=4,
            decoder=decoder,
        )
        waveforms, clips = _collect(dataset)
        name = f"{decoder}/{evaluation}"
        found |= _pieces(name, waveforms) | {f"{name}/clip": clips}
    return found


def describe_tracks(decoder: str) -> dict[str, np.ndarray]:
    """What the exported model's `track` says of each clip, whole and at its own rate."""
    track = tf.saved_model.load(str(GOLDENS / "export")).signatures["track"]
    found = {}
    for clip, name in enumerate(CLIPS):
        waveform = tf.constant(_decode(decoder, PATHS[clip], CLIP_RATES_HZ[clip], 0.0, 0.0))
        outputs = track(waveform=waveform, sample_rate=tf.constant(CLIP_RATES_HZ[clip]))
        assert [label.decode() for label in outputs["labels"].numpy()] == ["Electronic", "Rock"]
        for key in ("window_start_seconds", "window_probabilities", "probabilities"):
            found[f"{decoder}/track/{name}/{key}"] = outputs[key].numpy()
    return found


@pytest.fixture
def expected_crops() -> dict[str, np.ndarray]:
    with np.load(GOLDENS / "crops.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def in_goldens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paths in the goldens are relative to their folder."""
    monkeypatch.chdir(GOLDENS)


def read_predictions(run_dir: Path) -> pd.DataFrame:
    return pd.read_csv(run_dir / "predictions.csv", dtype={"track_id": str}).set_index("path")


def assert_same_predictions(actual: pd.DataFrame, expected: pd.DataFrame, tolerance: float) -> None:
    pd.testing.assert_frame_equal(actual, expected, check_exact=False, rtol=0, atol=tolerance)  # texts exactly


@pytest.mark.parametrize("decoder", DECODER_PARAMS)
def test_every_crop_lies_where_it_did(decoder, expected_crops):
    found = _as_golden(decoder, describe_crops(decoder))
    expected = {
        name: array
        for name, array in expected_crops.items()
        if name.startswith(f"{GOLDEN_OF.get(decoder, decoder)}/") and "/track/" not in name
    }
    tolerance = NATIVE_SAMPLE_TOLERANCE if decoder in GOLDEN_OF else SAMPLE_TOLERANCE
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        if name.endswith(("/first", "/middle", "/last")):
            np.testing.assert_allclose(found[name], array, rtol=0, atol=tolerance, err_msg=name)
        else:  # integers, and positions, which are drawn from integers
            np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("decoder", DECODER_PARAMS)
def test_the_exported_model_hears_tracks_as_it_did(decoder, expected_crops):
    found = _as_golden(decoder, describe_tracks(decoder))
    golden = GOLDEN_OF.get(decoder, decoder)
    expected = {name: array for name, array in expected_crops.items() if name.startswith(f"{golden}/track/")}
    allowed = PROBABILITY_TOLERANCE if golden == decoder else NATIVE_PROBABILITY_TOLERANCE
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        # A window's start is a whole number of samples, divided by the rate.
        tolerance = 0 if name.endswith("/window_start_seconds") else allowed
        np.testing.assert_allclose(found[name], array, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_run_is_evaluated_as_it_was(split, in_goldens, tmp_path: Path):
    run = GOLDENS / "run"
    metrics = evaluate_run(run, Run(run).settings, split, tmp_path)
    # Counts of clips and crops on the right side, none of which is near the middle.
    assert metrics == json.loads((run / "metrics.json").read_text())[split]
    expected = read_predictions(run).query("split == @split")
    assert_same_predictions(read_predictions(tmp_path), expected, PROBABILITY_TOLERANCE)


def test_an_export_predicts_what_it_did(in_goldens):
    model = load_exported(GOLDENS / "export")
    expected = read_predictions(GOLDENS / "run")
    predictions = list(predict_files(model, expected.index.tolist()))
    assert [prediction.path for prediction in predictions] == expected.index.tolist()
    assert not any(prediction.error for prediction in predictions)
    probabilities = np.stack([prediction.probabilities for prediction in predictions])
    columns = expected[[f"probability_{label}" for label in model.labels]]
    np.testing.assert_allclose(probabilities, columns, rtol=0, atol=NATIVE_PROBABILITY_TOLERANCE)


def test_a_saved_model_has_the_weights_that_its_export_names():
    model = keras.models.load_model(GOLDENS / "run" / "model.keras", compile=False)
    weights = b"".join(array.astype("<f4").tobytes() for array in model.get_weights())
    assert hashlib.sha256(weights).hexdigest() == load_exported(GOLDENS / "export").metadata["weights_sha256"]


def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path: Path):
    """As a command, because a deterministic run changes its process for good."""
    for name in ("data", "run_interrupted"):
        shutil.copytree(GOLDENS / name, tmp_path / name)
    shutil.copy(GOLDENS / "train.flags", tmp_path)
    run_script("train", "--flagfile=train.flags", "--output_dir=run_interrupted", cwd=tmp_path)
    resumed, finished = tmp_path / "run_interrupted", GOLDENS / "run"

    history, expected = (pd.read_csv(run / "history.csv") for run in (resumed, finished))
    assert history.columns.tolist() == expected.columns.tolist()
    pd.testing.assert_series_equal(history.iloc[0], expected.iloc[0], check_exact=True)  # the checkpoint's, times too
    measured = ["seconds", "wait_seconds"]
    pd.testing.assert_frame_equal(
        history.drop(columns=measured), expected.drop(columns=measured), rtol=0, atol=RESUMED_TOLERANCE
    )
    assert_same_predictions(read_predictions(resumed), read_predictions(finished), RESUMED_TOLERANCE)
    for name in ("settings.json", "data.json", "metrics.json"):
        old, new = (json.loads((run / name).read_text()) for run in (finished, resumed))
        assert {key: new[key] for key in old} == old, name  # settings that came later may stand beside these
    models = (keras.models.load_model(run / "model.keras", compile=False) for run in (resumed, finished))
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=RESUMED_TOLERANCE)


def test_records_hold_what_they_did(in_goldens, tmp_path: Path):
    catalog, packed = load_csv("data/clips.csv"), load_records("records")
    pd.testing.assert_frame_equal(packed.tracks.drop(columns="path"), catalog.tracks.drop(columns="path"))
    assert packed.labels == catalog.labels
    assert verify_records("records") == []
    for place, path in zip(packed.tracks["path"], catalog.tracks["path"], strict=True):
        assert read_clip(place) == Path(path).read_bytes()
    # Packed again, they are the same bytes: what was packed halfway by earlier code is finished by this.
    manifest = json.loads(Path("records", "manifest.json").read_text())
    pack_records(catalog, str(tmp_path), len(manifest["shards"]), manifest["source"], FailureLedger(16, 0.0))
    for name in ("manifest.json", *(shard["file"] for shard in manifest["shards"])):
        assert (tmp_path / name).read_bytes() == Path("records", name).read_bytes(), name


@pytest.mark.parametrize("decoder", DECODER_PARAMS)
def test_records_give_the_crops_of_their_files(decoder, in_goldens):
    for place, path in zip(
        load_records("records").tracks["path"], load_csv("data/clips.csv").tracks["path"], strict=True
    ):
        ours, theirs = (_decode(decoder, clip, SAMPLE_RATE_HZ, CROP_SECONDS, 0.5) for clip in (place, path))
        np.testing.assert_array_equal(ours, theirs)  # bit for bit: one machine, one code path


def _as_golden(decoder: str, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names what was found as the golden that it is compared with."""
    return {name.replace(f"{decoder}/", f"{GOLDEN_OF.get(decoder, decoder)}/", 1): found[name] for name in found}


def _ledger() -> FailureLedger:
    return FailureLedger(len(CLIPS), max_failure_rate=0.0)


def _decode(decoder: str, path: str, rate_hz: int, crop_seconds: float, position: float) -> np.ndarray:
    """Decodes a crop, or with crop_seconds=0 the whole clip."""
    samples = round(crop_seconds * rate_hz)
    if not DECODERS[decoder].is_graph_native:
        return DECODERS[decoder].load().decode_crop(path, rate_hz, samples, float(position))
    waveform, error = _tfio_decoder(rate_hz, samples)(tf.constant(path), tf.constant(position, tf.float32))
    assert error == b""
    return waveform.numpy()


@functools.cache
def _tfio_decoder(rate_hz: int, samples: int) -> tf.types.experimental.GenericFunction:
    """Traced once: op by op it takes half a second a call."""
    return tf.function(lambda path, position: tfio_decoder.decode_crop(path, rate_hz, samples, position))


def _find(crop: np.ndarray, whole: np.ndarray) -> int:
    """The sample of the whole clip at which a crop of it begins: where the two differ least."""
    starts = len(whole) - len(crop) + 1
    difference = sum(np.abs(whole[i : i + starts] - crop[i]) for i in range(64))
    start = int(np.argmin(difference))
    np.testing.assert_allclose(crop, whole[start : start + len(crop)], atol=1e-6)
    return start


def _collect(dataset: tf.data.Dataset) -> tuple[list[np.ndarray], np.ndarray]:
    """Every waveform of a dataset, and the number beside it."""
    waveforms, rows = [], []
    for batch, row in iterate(dataset, _ledger()):
        waveforms += list(batch.numpy())
        rows += list(row.numpy())
    return waveforms, np.array(rows)


def _pieces(name: str, waveforms: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {
        f"{name}/samples": np.array([len(waveform) for waveform in waveforms]),
        f"{name}/first": np.stack([waveform[:16] for waveform in waveforms]),
        f"{name}/middle": np.stack([waveform[len(waveform) // 2 :][:16] for waveform in waveforms]),
        f"{name}/last": np.stack([waveform[-16:] for waveform in waveforms]),
    }
