"""The edges of a crop at half rate against soxr, which takes what is outside the crop for silence."""

import numpy as np
import pytest
import soxr
from support.audio import music, without_length_tag, write_mp3
from support.native_streams import decode_natively

RATE_HZ = 44100
EDGE = 103  # samples at half rate that the filter reaches


@pytest.fixture(scope="module", params=["tagged", "untagged", "mono"])
def decoded(request, tmp_path_factory):
    """An MP3 and its samples at its own rate."""
    rng = np.random.default_rng(3)
    channels = 1 if request.param == "mono" else 2
    audio = music(3, RATE_HZ, channels) + 0.2 * rng.standard_normal((3 * RATE_HZ, channels)).astype(np.float32)
    path = write_mp3(tmp_path_factory.mktemp("edges") / "a.mp3", audio * 0.5, RATE_HZ, quality=0.3)
    if request.param == "untagged":
        path.write_bytes(without_length_tag(path.read_bytes()))
    whole, reasons = decode_natively(path, RATE_HZ)
    assert reasons == [""]
    return path, whole[0]


def low_passed(samples: np.ndarray) -> np.ndarray:
    """What is below 0.9 of half the rate, without the ringing of a sharp filter beyond a few samples."""
    spectrum = np.fft.rfft(samples, 4 * len(samples))
    frequency = np.linspace(0, 1, len(spectrum))
    return np.fft.irfft(spectrum * np.clip((0.9 - frequency) / 0.05, 0, 1))[: len(samples)]


@pytest.mark.parametrize("crop_samples", [0, 1, 2, 7, 50, 150, 205, 500, 5000])
def test_edges_are_those_of_a_crop_that_is_cut_out(decoded, crop_samples: int, rng):
    path, whole = decoded
    places = [0.0, 1.0, *rng.random(12)] if crop_samples else [0.0]
    batch, reasons = decode_natively(path, RATE_HZ // 2, crop_samples, tuple(places))
    assert not any(reasons)
    wanted = min(len(whole), 2 * crop_samples) if crop_samples else len(whole)
    for crop, place in zip(batch, places, strict=True):
        start = round(place * (len(whole) - wanted))
        expected = soxr.resample(whole[start : start + wanted], RATE_HZ, RATE_HZ // 2)[: batch.shape[1]]
        assert len(expected) == len(crop) or not crop_samples
        difference = crop[: len(expected)] - expected
        for part in (slice(0, EDGE), slice(-EDGE, None), slice(None)):
            error = np.sqrt(np.mean(low_passed(np.pad(difference, EDGE))[EDGE : EDGE + len(difference)][part] ** 2))
            assert error < 3e-5, (place, part, error)
