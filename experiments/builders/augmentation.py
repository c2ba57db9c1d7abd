"""From settings to the augmentations of training: which are on, how strong, and with which seeds."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import tensorflow as tf

from experiments.settings import Settings
from layers.augmentation import waveform as augment
from layers.augmentation.spec_augment import SpecAugment

# (waveform [batch, samples], seed [2]) -> waveform
WaveformAugmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# (waveform [batch, samples], targets [batch, classes], training step) -> (waveform, targets)
BatchAugmentation = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def waveform_augmentations(settings: Settings) -> list[WaveformAugmentation]:
    """The augmentations of single waveforms that are on, in the order in which they are applied.

    From the source to the recording: what is played, the room, the level, and last the noise, at its ratio to all that.

    Raises:
        ValueError: a setting is out of range.
    """
    _check(settings)
    found: list[WaveformAugmentation] = []
    if settings.time_shift_seconds:
        max_samples = round(settings.time_shift_seconds * settings.sample_rate_hz)
        found.append(functools.partial(augment.random_time_shift, max_samples=max_samples))
    if settings.random_eq_db:
        found.append(
            functools.partial(
                augment.random_equalizer, sample_rate_hz=settings.sample_rate_hz, max_gain_db=settings.random_eq_db
            )
        )
    if settings.gain_db:
        found.append(functools.partial(augment.random_gain, max_gain_db=settings.gain_db))
    if settings.polarity_inversion:
        found.append(augment.random_polarity)
    if settings.noise_snr_db_min is not None and settings.noise_snr_db_max is not None:
        found.append(
            functools.partial(
                augment.random_noise, min_snr_db=settings.noise_snr_db_min, max_snr_db=settings.noise_snr_db_max
            )
        )
    return found


def batch_augmentation(settings: Settings) -> BatchAugmentation:
    """What the training step does to a batch before the model: the waveform augmentations that are on, then mixup.

    All draws follow from the run's seed and the number of the step, which a checkpoint holds as the optimizer's.

    Raises:
        ValueError: a setting is out of range.
    """
    augmentations = waveform_augmentations(settings)

    def apply(waveform: tf.Tensor, targets: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # 32 bits, which is all that XLA takes on every device.
        step_seed = tf.stack([tf.constant(settings.seed % tf.int32.max), tf.cast(step, tf.int32)])
        *seeds, mixup_seed = tf.unstack(tf.random.split(step_seed, len(augmentations) + 1))
        for seed, augmentation in zip(seeds, augmentations, strict=True):
            waveform = augmentation(waveform, seed)
        if settings.mixup_alpha:
            return augment.mixup(waveform, targets, mixup_seed, settings.mixup_alpha)
        return waveform, targets

    def nothing(waveform: tf.Tensor, targets: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return waveform, targets

    return apply if augmentations or settings.mixup_alpha else nothing


def spec_augment(settings: Settings) -> SpecAugment | None:
    """The layer of the settings' masks, None without any.

    Raises:
        ValueError: a setting is out of range.
    """
    if settings.spec_augment_time_masks == settings.spec_augment_mel_masks == 0:
        return None
    return SpecAugment(
        settings.spec_augment_time_masks,
        settings.spec_augment_time_width,
        settings.spec_augment_mel_masks,
        settings.spec_augment_mel_width,
        settings.seed,
        name="spec_augment",
    )


def _check(settings: Settings) -> None:
    for name in ("time_shift_seconds", "random_eq_db", "gain_db", "mixup_alpha"):
        value = getattr(settings, name)
        if not 0 <= value < math.inf:
            raise ValueError(f"expected {name} as a number from 0 (off) upwards, received {value}")
    low, high = settings.noise_snr_db_min, settings.noise_snr_db_max
    if (low is None) != (high is None) or (low is not None and high is not None and not -math.inf < low <= high):
        raise ValueError(
            f"expected noise_snr_db_min <= noise_snr_db_max, or neither of them for no noise, received {low} and {high}"
        )
