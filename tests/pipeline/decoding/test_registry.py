"""The registry of decoders: every entry keeps its promises, and a new entry is all that a new decoder takes."""

import inspect
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.tensorflow_io import DECODER_PARAMS

import pipeline.decoding
from pipeline.dataset import eval_dataset, train_dataset
from pipeline.decoding import auto_decoder
from pipeline.decoding.decoder import DecodeError, Decoder, GraphDecoder, PythonDecoder
from pipeline.decoding.registry import DECODERS, DEFAULT_DECODER, get_decoder
from pipeline.failures import FailureLedger


@pytest.mark.parametrize("name", DECODER_PARAMS)
def test_a_crop_has_the_length_that_was_asked_for(name: str, clips: list[Path]):
    module = get_decoder(name).load()
    path = tf.constant(str(clips[1])) if DECODERS[name].is_graph_native else str(clips[1])
    crop = module.decode_crop(path, 16000, 8000, 0.5)
    waveform = crop[0].numpy() if DECODERS[name].is_graph_native else crop
    assert waveform.shape == (8000,) and waveform.dtype == np.float32 and waveform.any()
    assert [int(module.count_windows(path, seconds)) for seconds in (0.0, 0.7, 60.0)] == [1, 5, 1]  # of 3 s


@pytest.mark.parametrize("name", DECODER_PARAMS)
def test_what_cannot_be_decoded_is_a_reason(name: str, tmp_path: Path):
    path = tmp_path / "bad.mp3"
    path.write_bytes(b"no music" * 1000)
    ledger = FailureLedger(1, 1.0)
    assert list(eval_dataset([str(path)], ledger, decoder=name)) == []
    assert ledger.failures[str(path)].reason.startswith("not recognised as")


def test_the_package_offers_the_default_decoder():
    assert pipeline.decoding.decode_crop is auto_decoder.decode_crop
    assert pipeline.decoding.read_info is auto_decoder.read_info
    assert pipeline.decoding.DecodeError is DecodeError
    assert DEFAULT_DECODER == "auto"
    with pytest.raises(AttributeError, match="no attribute 'decode_video'"):
        _ = pipeline.decoding.decode_video


def test_a_new_decoder_is_a_module_and_an_entry(monkeypatch):
    """Its paths are numbers of half seconds; its waveform says where it was cut."""

    def decode_crop(path: str, sample_rate_hz: int, crop_samples: int, position: float) -> np.ndarray:
        if not path.isdigit():
            raise DecodeError("not a number")
        return np.full(crop_samples, position, np.float32)

    def count_windows(path: str, crop_seconds: float) -> int:
        return int(path) if path.isdigit() else 1

    module = types.ModuleType("pipeline.decoding.number_decoder")
    module.decode_crop, module.count_windows = decode_crop, count_windows
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(DECODERS, "number", Decoder("number_decoder", "numbers"))
    ledger = FailureLedger(4, 1.0)
    ((waveform, row),) = eval_dataset(["1", "x", "2", "5"], ledger, crop_seconds=0.5, decoder="number")
    assert row.numpy().tolist() == [0, 2, 2, 3, 3, 3, 3, 3]
    assert waveform.numpy()[:, 0].tolist() == [0, 0, 1, 0, 0.25, 0.5, 0.75, 1]
    assert {path: failure.reason for path, failure in ledger.failures.items()} == {"x": "not a number"}
    batches = list(train_dataset(["1", "2", "3"], [0, 1, 2], ledger, crop_seconds=1, decoder="number"))
    assert [len(waveform) for waveform, _ in batches] == [3]
    own = list(train_dataset(["1", "x", "3"], [0, 1, 2], ledger, crop_seconds=1, decoder="number", epoch=0))
    here = list(
        train_dataset(
            ["1", "x", "3"],
            [0, 1, 2],
            ledger,
            crop_seconds=1,
            decoder="number",
            epoch=0,
            delivery=lambda numbered, decode_step: numbered.map(lambda step, *batch: batch),
        )
    )
    assert [len(waveform) for waveform, _ in here] == [2]
    np.testing.assert_array_equal(here[0][0], own[0][0])
    with pytest.raises(
        ValueError, match="expected decoder to be one of auto, soundfile, tfio, number, received 'ffmpeg'"
    ):
        get_decoder("ffmpeg")


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_offers_what_its_protocol_says(name: str):
    decoder = DECODERS[name]
    protocol = GraphDecoder if decoder.is_graph_native else PythonDecoder
    methods = {key: method for key, method in vars(protocol).items() if not key.startswith("_")}
    assert {"decode_crop", "count_windows"} <= set(methods)
    module = decoder.load()
    for key, method in methods.items():
        _, *expected = inspect.signature(method).parameters
        if key in {"decode_crops", "decode_batch", "prepare"} and not hasattr(module, key):
            continue
        assert list(inspect.signature(getattr(module, key)).parameters)[: len(expected)] == expected
