"""Pictures of real training crops before and after each augmentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from experiments.builders.augmentation import batch_augmentation, spec_augment, waveform_augmentations
from experiments.builders.data import prepare
from experiments.builders.model import build_front_end
from experiments.figures import ShownCrop, plot_augmentation
from experiments.settings import Settings
from pipeline.catalogs.catalog import Catalog
from pipeline.dataset import iterate, train_dataset
from pipeline.failures import FailureLedger

# Name of the picture, and the settings that make the augmentation.
AUGMENTATIONS = {
    "time_shift": ("time_shift_seconds",),
    "random_eq": ("random_eq_db",),
    "gain": ("gain_db",),
    "polarity_inversion": ("polarity_inversion",),
    "noise": ("noise_snr_db_min", "noise_snr_db_max"),
    "mixup": ("mixup_alpha",),
    "spec_augment": (
        *("spec_augment_time_masks", "spec_augment_time_width"),
        *("spec_augment_mel_masks", "spec_augment_mel_width"),
    ),
}
_STEPS = 2  # drawn for each crop


def write_pictures(settings: Settings, output_dir: Path, clips: int = 3) -> list[Path]:
    """Writes `NAME.png` for each augmentation that is on, and `all.png` if there are several.

    Args:
        settings: of a training run.
        output_dir: made where missing.
        clips: training clips to show, one random crop of each.

    Returns:
        The pictures.

    Raises:
        ValueError: no augmentation is on, or the data cannot be used.
    """
    alone = {name: _only(settings, names) for name, names in AUGMENTATIONS.items()}
    shown = {name: own for name, own in alone.items() if _acts(own)}
    if not shown:
        raise ValueError("expected an augmentation to show, received none; add for example --random_eq_db=6")
    catalog, ledger = prepare(settings, ("training",))
    waveform, truth = _crops(settings, catalog, ledger, clips)
    output_dir.mkdir(parents=True, exist_ok=True)
    if len(shown) > 1:
        shown["all"] = settings
    paths = []
    for name, own in shown.items():
        paths.append(output_dir / f"{name}.png")
        rows = _before_and_after(own, waveform, truth, catalog.labels)
        plot_augmentation(rows, _flags(own), settings.sample_rate_hz, settings.top_db, paths[-1])
    return paths


def _only(settings: Settings, names: Sequence[str]) -> Settings:
    """The settings with every augmentation but one switched off."""
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    others = [name for fields in AUGMENTATIONS.values() for name in fields if name not in names]
    off: dict[str, Any] = {name: defaults[name] for name in others}
    return dataclasses.replace(settings, **off)


def _acts(settings: Settings) -> bool:
    return bool(waveform_augmentations(settings) or settings.mixup_alpha or spec_augment(settings))


def _flags(settings: Settings) -> str:
    """The augmentation's settings other than the defaults, as they would be typed."""
    names = [name for fields in AUGMENTATIONS.values() for name in fields]
    values = {name: getattr(settings, name) for name in names if getattr(settings, name) != getattr(Settings(), name)}
    return " ".join(f"--{name}" if value is True else f"--{name}={value:g}" for name, value in values.items())


def _crops(settings: Settings, catalog: Catalog, ledger: FailureLedger, clips: int) -> tuple[tf.Tensor, tf.Tensor]:
    """A random crop of the first training clips, taken from the labels in turn."""
    tracks = catalog.split("training")
    turn = tracks.groupby("label").cumcount()
    chosen = tracks.loc[turn.sort_values(kind="stable").index[:clips]]
    dataset = train_dataset(
        chosen["path"].tolist(),
        catalog.targets(chosen),
        ledger,
        sample_rate_hz=settings.sample_rate_hz,
        crop_seconds=settings.crop_seconds,
        batch_size=clips,
        seed=settings.seed,
        decoder=settings.decoder,
    )
    for batch in iterate(dataset, ledger):
        return batch
    raise ValueError(f"expected decodable clips, found none of {len(chosen)}; run probe_audio and pass its --probe_csv")


def _before_and_after(
    settings: Settings, waveform: tf.Tensor, truth: tf.Tensor, labels: Sequence[str]
) -> list[list[ShownCrop]]:
    """For each crop: itself, then what the first training steps would make of it."""
    front_end = build_front_end(dataclasses.replace(settings, frontend="log_mel", scaling="decibel"))
    masks, augment = spec_augment(settings), batch_augmentation(settings)
    targets = tf.cast(truth, tf.float32) if settings.multi_label else tf.one_hot(truth, len(labels))
    versions = [(waveform, front_end(waveform), targets)]
    for step in range(_STEPS):
        augmented, mixed = augment(waveform, targets, tf.constant(step))
        features = front_end(augmented)
        versions.append((augmented, features if masks is None else masks(features, training=True), mixed))
    rows = []
    for i in range(len(waveform)):
        row = []
        for step, (samples, features, shares) in enumerate(versions):
            title = f"{f'step {step}' if step else 'before'}: {_shares(shares[i].numpy(), labels)}"
            row.append(ShownCrop(title, samples[i].numpy(), features[i, :, :, 0].numpy()))
        rows.append(row)
    return rows


def _shares(target: np.ndarray, labels: Sequence[str]) -> str:
    """Such as "Rock", or "Rock 0.80 + Folk 0.20"."""
    present = [i for i in np.argsort(-target) if target[i] >= 0.005]
    if len(present) == 1:
        return labels[present[0]]
    return " + ".join(f"{labels[i]} {target[i]:.2f}" for i in present)
