"""The in-graph resampler against soxr and against exact band-limited interpolation."""

import functools

import numpy as np
import pytest
import scipy.signal
import soxr
import tensorflow as tf
from support.places import shared

from pipeline.decoding.resample import resample
from pipeline.decoding.soundfile_decoder import decode_crop, read_info

PAIRS = [
    *[(rate_hz, 22050) for rate_hz in (8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000)],
    *[(44100, 16000), (16000, 44100), (44056, 22050), (22051, 22050), (7, 22050)],
]


@functools.cache
def converter(target_hz: int) -> tf.types.experimental.GenericFunction:
    """A graph to which rate and length are unknown, as in an export."""
    return tf.function(
        lambda waveform, source_hz: resample(waveform, source_hz, target_hz),
        input_signature=[tf.TensorSpec([None, None]), tf.TensorSpec([], tf.int32)],
        autograph=False,
    )


def convert(waveform: np.ndarray, source_hz: int, target_hz: int) -> np.ndarray:
    return converter(target_hz)(waveform, source_hz).numpy()


def decibels(difference: np.ndarray, reference: np.ndarray) -> float:
    return 10 * np.log10(
        np.mean(np.square(difference, dtype=np.float64)) / np.mean(np.square(reference, dtype=np.float64))
    )


def band_limited_noise(rng: np.random.Generator, samples: int, source_hz: int, target_hz: int) -> np.ndarray:
    """Noise up to 0.9 of the lower rate's half: the passband."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum[np.fft.rfftfreq(samples, 1 / source_hz) > 0.45 * min(source_hz, target_hz)] = 0
    return np.fft.irfft(spectrum, samples)


@pytest.mark.parametrize(("source_hz", "target_hz"), PAIRS)
def test_equals_soxr_in_the_passband(source_hz: int, target_hz: int, rng):
    waveform = band_limited_noise(rng, max(source_hz, 200), source_hz, target_hz).astype(np.float32)
    expected = soxr.resample(waveform, source_hz, target_hz)
    (ours,) = convert(waveform[np.newaxis], source_hz, target_hz)
    assert ours.shape == expected.shape
    if source_hz == target_hz:
        np.testing.assert_array_equal(ours, waveform)
    else:
        assert decibels(ours - expected, expected) < -60


@pytest.mark.parametrize(("source_hz", "target_hz"), [(44100, 22050), (48000, 22050), (16000, 44100)])
def test_is_exact_away_from_the_ends(source_hz: int, target_hz: int, rng):
    # soxr itself is 76 dB from exact at ratios that are not simple; this one must not be.
    waveform = band_limited_noise(rng, 2 * source_hz, source_hz, target_hz)
    exact = scipy.signal.resample(waveform, 2 * target_hz)
    (ours,) = convert(waveform[np.newaxis].astype(np.float32), source_hz, target_hz)
    assert decibels((ours - exact)[2000:-2000], exact) < -110


def test_what_the_lower_rate_cannot_hold_is_silenced(rng):
    time = np.arange(44100) / 44100
    for hz in (11100, 13000, 22000):
        (ours,) = convert(np.sin(2 * np.pi * hz * time).astype(np.float32)[np.newaxis], 44100, 22050)
        assert decibels(ours[500:-500], np.sin(time)) < -100


@pytest.mark.parametrize("samples", [0, 1, 2, 3, 63, 1000, 1001])
@pytest.mark.parametrize("source_hz", [44100, 48000, 8000])
def test_any_length_and_batch(samples: int, source_hz: int, rng):
    waveforms = rng.standard_normal((3, samples)).astype(np.float32)
    ours = convert(waveforms, source_hz, 22050)
    assert ours.shape == (3, (2 * samples * 22050 + source_hz) // (2 * source_hz))
    for row, waveform in zip(ours, waveforms, strict=True):
        np.testing.assert_allclose(row, convert(waveform[np.newaxis], source_hz, 22050)[0], atol=1e-5)


def test_real_music():
    for path in sorted(shared("real_music").glob("fma_small/00*/*.mp3"))[:6]:
        info = read_info(path)
        original = decode_crop(path, info.sample_rate_hz, 5 * info.sample_rate_hz)
        expected = decode_crop(path, 22050, 5 * 22050)
        (ours,) = convert(original[np.newaxis], info.sample_rate_hz, 22050)
        assert decibels(ours - expected, expected) < -60
