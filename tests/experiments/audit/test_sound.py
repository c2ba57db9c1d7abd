"""Faults of the sound: planted ones are found whatever the bit rate, and nothing else is."""

from pathlib import Path

import numpy as np
import pytest
from support.faults import FAULTS, decode, encode, resampled, tune
from support.places import shared

from experiments.audit.clip_analysis import analyse_clip
from experiments.audit.sound import find_clipping, find_sound_faults, measure_sound
from pipeline.decoding.channels import decode_channels

MEDIAN_SECONDS = 10.0


def findings(path: Path, median_seconds: float = MEDIAN_SECONDS) -> list[str]:
    clip = analyse_clip(str(path))
    assert clip.measures is not None
    return [fault.finding for fault in find_sound_faults(clip.measures, median_seconds)]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_at_any_bit_rate(fault: str, tmp_path: Path):
    expected, change = FAULTS[fault]
    audio, rate_hz = change(tune(MEDIAN_SECONDS, 44100, seed=len(fault)), 44100)
    path = encode(tmp_path / "once.mp3", audio, rate_hz, 192)
    assert findings(path) == [expected]
    again = encode(tmp_path / "again.mp3", *decode(path), 64)
    assert findings(again) == [expected], "encoded twice"


@pytest.mark.parametrize(
    ("rate_hz", "kbps", "channels"), [(44100, 64, 2), (22050, 64, 2), (44100, 320, 1), (16000, 64, 1)]
)
def test_sound_music_has_no_finding(rate_hz: int, kbps: int, channels: int, tmp_path: Path):
    """Also where an encoder's low-pass or the rate ends the spectrum, and where peaks overshoot full scale."""
    audio, _ = resampled(rate_hz)(tune(MEDIAN_SECONDS, 44100, seed=rate_hz), 44100)
    loud = audio[:, :channels]
    loud = loud * (1.05 / np.abs(loud).max())
    path = encode(tmp_path / "sound.mp3", loud, rate_hz, kbps)
    assert np.abs(decode(path)[0]).max() > 0.95
    assert findings(path) == []


def test_clipping_is_measured_as_the_share_of_samples_that_were_cut():
    rng = np.random.default_rng(0)
    for drive in (2.0, 4.0):
        wave = drive * rng.laplace(size=(300_000, 1)).astype(np.float32) / 4
        cut_share = np.mean(np.abs(wave) >= 1)
        # Those that are within 10 % of the level by themselves count too.
        assert cut_share <= find_clipping(np.clip(wave, -1, 1)) <= cut_share + 0.08
        assert find_clipping(wave / np.abs(wave).max()) == 0


def test_measures_are_those_of_the_formulas(rng):
    audio = rng.standard_normal((44100, 2)).astype(np.float32) * [0.1, 0.05]
    audio[:, 1] -= audio[:, 0] / 4
    measures = measure_sound(audio.astype(np.float32), 44100, 1.0)
    assert measures.correlation == pytest.approx(np.corrcoef(audio.T)[0, 1], abs=0.01)
    levels = 20 * np.log10(np.sqrt((audio**2).mean(axis=0)))
    assert measures.channel_difference_db == pytest.approx(levels[0] - levels[1], abs=0.05)
    blocks = audio.reshape(10, 4410, 2)
    assert measures.loudest_db == pytest.approx(10 * np.log10((blocks**2).mean(axis=1).max()), abs=0.01)


def test_channels_are_those_of_the_file(clips):
    for path in clips:
        audio, rate_hz = decode_channels(path, max_seconds=1.5)
        expected, expected_hz = decode(path)
        assert rate_hz == expected_hz and len(audio) == round(1.5 * rate_hz)
        # libsndfile reads a file that begins otherwise (a header that states the length): the last bits differ.
        np.testing.assert_allclose(audio[:, 0], expected[: len(audio), 0], atol=1e-6)
        np.testing.assert_allclose(audio[:, -1], expected[: len(audio), 1], atol=1e-6)


def test_what_cannot_be_decoded_says_why(clips, tmp_path: Path):
    (tmp_path / "bad.mp3").write_bytes(b"no audio" * 100)
    (tmp_path / "half.mp3").write_bytes(clips[3].read_bytes()[:6000])
    reasons = [analyse_clip(str(tmp_path / name)).reason for name in ("bad.mp3", "half.mp3", "none.mp3")]
    assert reasons[0] == "not recognised as audio" and "truncated" in reasons[1] and reasons[2] == "file not found"


@pytest.mark.slow
def test_real_music_has_no_fault():
    paths = sorted(shared("real_music").glob("fma_small/*/*.mp3"))[::3]
    found = {path.name: names for path in paths if (names := findings(path, 30.0))}
    assert len(paths) == 42 and found == {}
