"""The front end against librosa, an implementation of its own."""

import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf
from support.audio import music
from support.places import shared

from layers.front_ends.log_mel import LogMelSpectrogram
from pipeline.decoding.soundfile_decoder import decode_crop

# float32 FFTs of two libraries differ by 1e-7 of the largest bin; 80 dB below it that is 1e-3 dB in the worst case.
TOLERANCE_DB = 1e-3
SETTINGS = [
    {},
    {"mel_scale": "htk"},
    {"mel_norm": None},
    {"pad_mode": "constant"},
    {"center": False},
    {"power": 1.0},
    {"top_db": 60.0},
    {"n_fft": 1024, "hop_length": 256, "n_mels": 64},
    {"n_fft": 4096, "hop_length": 1000, "n_mels": 96, "fmin_hz": 30.0},
    {"sample_rate_hz": 16000, "n_fft": 800, "hop_length": 160, "n_mels": 40, "fmin_hz": 50.0, "fmax_hz": 7000.0},
    {"sample_rate_hz": 11025, "n_mels": 80},
]


def librosa_log_mel(waveform: np.ndarray, layer: LogMelSpectrogram) -> np.ndarray:
    """[frames, n_mels] in dB relative to the loudest bin."""
    mel = librosa.feature.melspectrogram(
        y=waveform,
        sr=layer.sample_rate_hz,
        n_fft=layer.n_fft,
        hop_length=layer.hop_length,
        n_mels=layer.n_mels,
        fmin=layer.fmin_hz,
        fmax=layer.fmax_hz,
        center=layer.center,
        pad_mode=layer.pad_mode,
        power=layer.power,
        htk=layer.mel_scale == "htk",
        norm=layer.mel_norm,
    )
    to_db = librosa.amplitude_to_db if layer.power == 1 else librosa.power_to_db
    return to_db(mel, ref=np.max, top_db=layer.top_db).T


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_equal_to_librosa(settings: dict):
    layer = LogMelSpectrogram(scaling="decibel", **settings)
    waveforms = np.stack([music(2, layer.sample_rate_hz, seed=seed)[:, 0] for seed in range(3)])
    decibel = layer(waveforms).numpy()
    assert decibel.shape == layer.compute_output_shape(waveforms.shape)
    for ours, waveform in zip(decibel[..., 0], waveforms, strict=True):
        np.testing.assert_allclose(ours, librosa_log_mel(waveform, layer), atol=TOLERANCE_DB, rtol=0)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_equal_to_librosa_on_real_clips(settings: dict):
    layer = LogMelSpectrogram(scaling="decibel", **settings)
    files = [*sorted(shared("real_music").glob("fma_small/*/*.mp3"))[::40], shared("fma_small") / "000" / "000002.mp3"]
    for file in files:
        waveform = decode_crop(file, layer.sample_rate_hz, 5 * layer.sample_rate_hz, 0.4)
        ours = layer(waveform[np.newaxis]).numpy()[0, :, :, 0]
        np.testing.assert_allclose(ours, librosa_log_mel(waveform, layer), atol=TOLERANCE_DB, rtol=0)


@pytest.mark.filterwarnings("ignore:n_fft=2048 is too large:UserWarning")  # librosa's, which pads too
@pytest.mark.parametrize("samples", [1025, 2048, 5000, 11025])
def test_any_length(samples: int, rng):
    layer = LogMelSpectrogram(scaling="decibel")
    waveform = rng.standard_normal(samples).astype(np.float32)
    ours = layer(waveform[np.newaxis]).numpy()
    assert ours.shape == layer.compute_output_shape((1, samples))
    np.testing.assert_allclose(ours[0, :, :, 0], librosa_log_mel(waveform, layer), atol=TOLERANCE_DB, rtol=0)


def test_a_clip_does_not_depend_on_its_batch(rng):
    layer = LogMelSpectrogram()
    quiet = 1e-4 * rng.standard_normal((1, 22050)).astype(np.float32)
    loud = rng.standard_normal((3, 22050)).astype(np.float32)
    alone = layer(quiet).numpy()
    together = layer(np.concatenate([loud, quiet])).numpy()[3:]
    # A matrix product may round otherwise for another number of rows: a few units of the last place.
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_scalings(rng):
    waveform = rng.standard_normal((2, 22050)).astype(np.float32) * np.linspace(0, 1, 22050, dtype=np.float32)
    decibel, unit, standardized = (
        LogMelSpectrogram(scaling=s)(waveform).numpy() for s in ("decibel", "unit", "standardized")
    )
    np.testing.assert_allclose(unit, (decibel + 80) / 80, atol=1e-6)
    assert unit.min() >= 0 and unit.max() == 1
    np.testing.assert_allclose(standardized.mean(axis=(1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(standardized.std(axis=(1, 2, 3)), 1, atol=1e-3)


def test_silence_is_finite():
    silence = np.zeros((1, 22050), np.float32)
    for scaling in ("unit", "standardized", "decibel"):
        assert np.isfinite(LogMelSpectrogram(scaling=scaling)(silence)).all()
    np.testing.assert_array_equal(LogMelSpectrogram(scaling="decibel")(silence)[0, :, :, 0], 0)  # as librosa


def test_gradient_reaches_the_waveform(rng):
    waveform = tf.Variable(rng.standard_normal((1, 8000)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(LogMelSpectrogram()(waveform))
    gradient = tape.gradient(loss, waveform).numpy()
    assert np.isfinite(gradient).all() and np.any(gradient)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_float32_inside_under_mixed_precision(policy: str, rng):
    waveform = rng.standard_normal((2, 22050)).astype(np.float32)
    expected = LogMelSpectrogram()(waveform).numpy()
    keras.config.set_dtype_policy(policy)
    try:
        features = LogMelSpectrogram()(waveform)
    finally:
        keras.config.set_dtype_policy("float32")
    assert features.dtype == tf.float32
    np.testing.assert_array_equal(features.numpy(), expected)


def test_xla_gives_the_same(rng):
    waveform = rng.standard_normal((2, 22050)).astype(np.float32)
    layer = LogMelSpectrogram()
    np.testing.assert_allclose(tf.function(layer, jit_compile=True)(waveform), layer(waveform), atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fmax_hz": 12000.0}, "11025"),
        ({"fmin_hz": 500.0, "fmax_hz": 400.0}, "fmin_hz"),
        ({"n_mels": 0}, "n_mels > 0"),
        ({"hop_length": -1}, "hop_length > 0"),
        ({"n_fft": 2047}, "even n_fft"),
        ({"pad_mode": "edge"}, "'reflect', 'constant'"),
        ({"scaling": "db"}, "standardized"),
        ({"win_length": 1024}, "win_length"),  # a shorter window would disagree with librosa: there is no such setting
    ],
)
def test_settings_out_of_range(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        LogMelSpectrogram(**settings)


def test_too_short_a_waveform_is_refused():
    with pytest.raises(ValueError, match=r"at least 1025 samples, received 1024"):
        LogMelSpectrogram()(np.zeros((1, 1024), np.float32))
    with pytest.raises(ValueError, match="at least 2048 samples"):
        LogMelSpectrogram(center=False)(np.zeros((1, 2047), np.float32))
