"""What counts as no sound, of real files."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.decoding.silence import describe_silence

TONE = 0.5 * np.sin(np.arange(22050) / 20)


@pytest.mark.parametrize(
    ("waveform", "reason"),
    [
        (TONE, ""),
        (2e-4 * TONE, ""),
        (np.zeros(22050), "no sound: silent"),
        (TONE[:1], "no sound: shorter than 0.1 s"),
        (np.stack([TONE, -TONE], axis=1), "no sound: silent"),
    ],
    ids=["tone", "faint", "zeros", "one sample", "out of phase"],
)
@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16"])  # whose steps differ for opposite channels
def test_files(waveform: np.ndarray, reason: str, subtype: str, tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", waveform, 22050, subtype=subtype)
    samples, rate = soundfile.read(tmp_path / "a.wav", always_2d=True)
    mono = samples.mean(axis=1)
    assert describe_silence(float(np.abs(mono).max()), len(mono) / rate) == reason


def test_a_peak_that_is_no_number_is_no_sound():
    assert describe_silence(float("nan"), 1.0) == "no sound: silent"
