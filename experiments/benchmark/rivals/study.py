"""The study's way: every clip becomes a log-mel spectrogram by librosa first, and a network is trained on the arrays.

The study is a public project without a paper, on FMA small: its `convert.py` writes log-mel images of 128 x 640, and its
`model4.py` trains a 2D CNN on them, which tells Rock from Hip-Hop in 94 % of the clips.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.benchmark.workload import Workload
from experiments.settings import Settings

if TYPE_CHECKING:
    from pipeline.catalogs.catalog import Catalog


def convert_clips(work: Workload) -> Iterator[int]:
    """Converts 16 whole clips, one after another, with the study's own sizes; yields 1 for each."""
    for path in work.paths[:16]:
        _log_mel(path, Settings(sample_rate_hz=work.sample_rate_hz, n_fft=2048, hop_length=512, n_mels=128))
        yield 1


def train_on_arrays(catalog: Catalog, settings: Settings) -> dict[str, float]:
    """Converts every clip, keeps the arrays in memory, and trains the settings' network on crops of them.

    Args:
        catalog: the clips; each must be decodable.
        settings: of the features, the network and its batches.

    Returns:
        Seconds: `study`, to the end of the first epoch; `study_conversion`, the part of it before training; and
        `study_next_epoch`, for the second epoch.
    """
    import keras

    from experiments.console import progress
    from layers.networks.registry import get_network

    begin = time.perf_counter()
    mels = [
        _log_mel(path, settings)
        for path in progress(catalog.tracks["path"], len(catalog.tracks), "the study's conversion")
    ]
    converted = time.perf_counter()
    frames = 1 + round(settings.crop_seconds * settings.sample_rate_hz) // settings.hop_length
    image = keras.Input((frames, settings.n_mels, 1))
    embedding = get_network(settings.model).build(image)
    model = keras.Model(image, keras.layers.Dense(len(catalog.labels), activation="softmax")(embedding))
    model.compile("adam", "sparse_categorical_crossentropy")
    class_indices = np.array(catalog.class_indices(catalog.tracks))
    ends = []
    for epoch in range(2):
        images = _crop_images(mels, frames, epoch)
        model.fit(images, class_indices, batch_size=settings.batch_size, verbose=0)
        ends.append(time.perf_counter())
    return {"study": ends[0] - begin, "study_conversion": converted - begin, "study_next_epoch": ends[1] - ends[0]}


def _log_mel(path: str, settings: Settings) -> np.ndarray:
    """The whole clip's spectrogram [frames, n_mels] in dB, as the study computes it."""
    import librosa

    waveform, _ = librosa.load(path, sr=settings.sample_rate_hz)
    mel = librosa.feature.melspectrogram(
        y=waveform,
        sr=settings.sample_rate_hz,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        n_mels=settings.n_mels,
    )
    return librosa.power_to_db(mel, ref=np.max).T


def _crop_images(mels: Sequence[np.ndarray], frames: int, epoch: int) -> np.ndarray:
    """A random crop of each spectrogram [clips, frames, n_mels, 1], scaled as the study does."""
    rng = np.random.default_rng(epoch)
    images = np.zeros((len(mels), frames, mels[0].shape[1], 1), np.float32)
    for image, mel in zip(images, mels, strict=True):
        start = rng.integers(0, max(0, len(mel) - frames) + 1)
        crop = mel[start : start + frames]
        image[: len(crop), :, 0] = crop / 80 + 1
    return images
