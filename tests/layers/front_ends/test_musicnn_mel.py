"""musicnn's mel spectrogram against librosa's, rounded as the original rounds it."""

import librosa
import numpy as np
import pytest
from support.audio import music

from layers.front_ends.musicnn_mel import MusicnnMelSpectrogram


def reference(waveform: np.ndarray, pad_mode: str) -> np.ndarray:
    """What musicnn's `batch_data` computes, with NumPy 1's float32 for the product: [frames, bands]."""
    mel = librosa.feature.melspectrogram(y=waveform, sr=16000, n_fft=512, hop_length=256, n_mels=96, pad_mode=pad_mode)
    return np.log10(10000 * mel.T.astype(np.float16).astype(np.float32) + 1)


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_it_is_librosas(pad_mode: str):
    """Where two bands' powers round to two neighbours among float16, they differ by 2**-11 of their value."""
    waveform = np.stack([gain * music(3, 16000, seed=seed)[:48000, 0] for seed, gain in ((1, 1.0), (2, 0.01))])
    waveform = waveform.astype(np.float32)
    ours = MusicnnMelSpectrogram(pad_mode=pad_mode)(waveform).numpy()[..., 0]
    theirs = np.stack([reference(one, pad_mode) for one in waveform])
    assert ours.shape == theirs.shape == (2, 188, 96) and np.ptp(theirs) > 2
    differs = abs(ours - theirs)
    assert differs.max() < 2**-10 / np.log(10)
    assert (differs > 1e-5).mean() < 0.01, "but for those, they are equal"
    other = MusicnnMelSpectrogram(pad_mode="reflect" if pad_mode == "constant" else "constant")(waveform).numpy()[
        ..., 0
    ]
    np.testing.assert_allclose(other[:, 1:-1], ours[:, 1:-1], atol=1e-5)
    assert abs(other[:, [0, -1]] - ours[:, [0, -1]]).max() > 0.01, "the ends"


def test_the_rounding_is_seen():
    waveform = music(2, 16000, seed=3)[:32000, 0].astype(np.float32)
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=16000, n_fft=512, hop_length=256, n_mels=96, pad_mode="constant"
    )
    exact = np.log10(10000 * mel.T + 1)
    ours = MusicnnMelSpectrogram()(waveform[None]).numpy()[0, ..., 0]
    assert abs(exact - reference(waveform, "constant")).max() > 1e-4
    assert abs(ours - exact).max() > 1e-4


def test_the_level_counts_and_the_loudest_is_finite():
    front_end = MusicnnMelSpectrogram()
    waveform = music(1, 16000, seed=4)[None, :16000, 0].astype(np.float32)
    assert (front_end(0.1 * waveform).numpy().mean() + 0.5) < front_end(waveform).numpy().mean()
    np.testing.assert_array_equal(front_end(0 * waveform), 0)
    assert np.isfinite(front_end(10_000 * waveform)).all(), "beyond float16"
