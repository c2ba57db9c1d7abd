"""Pictures of augmentation: one for each that is on, of what training does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.small_run import AUGMENTATION, SMALL_RUN

from experiments.exploration.augmentation import _before_and_after, _flags, _only, write_pictures
from experiments.settings import Settings
from layers.augmentation.registry import AUGMENTATIONS


def test_pictures_of_every_augmentation(small_fma, tmp_path: Path):
    settings = Settings(dataset="fma", data_dir=str(small_fma), **SMALL_RUN)
    few = replace(settings, gain_db=6.0, spec_augment_mel_masks=1)
    paths = write_pictures(few, tmp_path / "new" / "few", clips=1)
    assert [path.name for path in paths] == ["gain.png", "spec_augment.png", "all.png"]
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 300 and len(image.getcolors(1 << 24) or []) > 100
    with pytest.raises(ValueError, match="received none; add for example --random_eq_db=6"):
        write_pictures(settings, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_each_picture_shows_one_augmentation_alone():
    settings = Settings(**AUGMENTATION)
    for name, entry in AUGMENTATIONS.items():
        alone = _only(settings, name)
        assert [other for other in AUGMENTATIONS if AUGMENTATIONS[other].is_on(vars(alone))] == [name]
        shown = [flag.split("=")[0].removeprefix("--") for flag in _flags(alone).split()]
        assert shown == [setting for setting in entry.settings if setting in AUGMENTATION]


def test_mixtures_are_named_by_their_shares(small_fma):
    settings = Settings(dataset="fma", data_dir=str(small_fma), **SMALL_RUN, mixup_alpha=1.0)
    time = np.arange(16000) / 8000
    waveform = np.stack([np.sin(2 * np.pi * hz * time) for hz in (300, 900, 2700)]).astype(np.float32)
    rows = _before_and_after(settings, tf.constant(waveform), tf.constant([0, 1, 2]), ("a", "b", "c"))
    for row, own, partner in zip(rows, "abc", "cab", strict=True):
        assert row[0].title == f"before: {own}"
        np.testing.assert_array_equal(row[0].waveform, waveform["abc".index(own)])
        for step, crop in enumerate(row[1:], 1):
            share = np.dot(crop.waveform, row[0].waveform) / np.dot(row[0].waveform, row[0].waveform)
            assert crop.title == f"step {step}: {own} {share:.2f} + {partner} {1 - share:.2f}"
            assert crop.decibel.shape == (63, 32) and crop.decibel.max() == 0
