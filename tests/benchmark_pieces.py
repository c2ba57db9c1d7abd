"""The hot pieces, timed by pytest-benchmark: `make benchmark`. Not part of the tests."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.audio import music, write_mp3
from support.tensorflow_io import DECODER_PARAMS

from experiments.builders.model import build_model
from experiments.settings import Settings
from experiments.training.step import make_train_step
from layers.front_ends.log_mel import LogMelSpectrogram
from pipeline.dataset import train_dataset
from pipeline.decoding.soundfile_decoder import decode_crop
from pipeline.failures import FailureLedger

SETTINGS = Settings()  # what a run has by default: crops of 5 s at 22,050 Hz, batches of 16
CROP_SAMPLES = round(SETTINGS.crop_seconds * SETTINGS.sample_rate_hz)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """30 s of stereo, as FMA's clips."""
    return write_mp3(tmp_path_factory.mktemp("clip") / "a.mp3", music(30, 44100, 2), 44100)


@pytest.fixture(scope="module")
def batch() -> tuple[tf.Tensor, tf.Tensor]:
    waveform = np.stack([music(SETTINGS.crop_seconds, SETTINGS.sample_rate_hz, seed=i)[:, 0] for i in range(16)])
    return tf.constant(waveform, tf.float32), tf.zeros(16, tf.int32)


@pytest.mark.parametrize("position", [0.0, 0.9])
def test_decode_a_crop(benchmark, clip: Path, position: float):
    crop = benchmark(decode_crop, clip, SETTINGS.sample_rate_hz, CROP_SAMPLES, position)
    assert crop.shape == (CROP_SAMPLES,)


@pytest.mark.parametrize("decoder", DECODER_PARAMS)
def test_stream_a_batch(benchmark, clip: Path, decoder: str):
    crops = 10_000 * SETTINGS.batch_size  # more than it will ask for
    dataset = train_dataset(
        [str(clip)], [0], FailureLedger(1), crops_per_clip=crops, batch_size=SETTINGS.batch_size, decoder=decoder
    )
    batches = iter(dataset)
    next(batches)
    waveform, _ = benchmark(next, batches)
    assert waveform.shape == (SETTINGS.batch_size, CROP_SAMPLES)


def test_log_mel_of_a_batch(benchmark, batch):
    front_end = tf.function(LogMelSpectrogram())
    front_end(batch[0])
    assert benchmark(front_end, batch[0]).shape[0] == SETTINGS.batch_size


@pytest.mark.parametrize("model", ["cnn2d_bn", "cnn2d"])
def test_train_step(benchmark, batch, model: str):
    settings = Settings(model=model)
    train_step = make_train_step(build_model(settings, 8), settings)
    train_step(*batch)
    loss, *_ = benchmark(train_step, *batch)
    assert np.isfinite(float(loss))
