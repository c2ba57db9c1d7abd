"""Pictures of real training crops before and after each augmentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from experiments.builders.augmentation import batch_augmentation, image_augmentations
from experiments.builders.data import prepare
from experiments.builders.model import build_front_end
from experiments.exploration.plots import ShownCrop, plot_augmentation
from experiments.figures import picture
from experiments.settings import Settings
from layers.augmentation.registry import AUGMENTATIONS
from pipeline.catalogs.catalog import Catalog
from pipeline.dataset import iterate, train_dataset
from pipeline.failures import FailureLedger

_STEPS = 2  # drawn for each crop
_MOST_SHARES = 3  # labels that a title names
MOST_CLIPS = 20  # rows of a picture


def write_pictures(settings: Settings, output_dir: Path, clips: int = 3) -> list[Path]:
    """Writes `NAME.png` for each augmentation that is on, and `all.png` if there are several.

    Args:
        settings: of a training run.
        output_dir: the folder of the pictures; made where missing.
        clips: training clips to show, one random crop of each; at most 20.

    Returns:
        The paths of the pictures that could be drawn.

    Raises:
        ValueError: no augmentation is on, the data cannot be used, or no picture can be drawn.
    """
    shown = {name: _only(settings, name) for name, entry in AUGMENTATIONS.items() if entry.is_on(vars(settings))}
    if not 1 <= clips <= MOST_CLIPS:
        raise ValueError(f"expected --clips from 1 to {MOST_CLIPS}, which a picture can show, received {clips}")
    if not shown:
        raise ValueError("expected an augmentation to show, received none; add for example --random_eq_db=6")
    batch_augmentation(settings)  # refuses settings that do not fit together before clips are looked at
    catalog, ledger = prepare(settings, ("training",))
    waveform, truth = _crops(settings, catalog, ledger, clips)
    output_dir.mkdir(parents=True, exist_ok=True)
    if len(shown) > 1:
        shown["all"] = settings
    paths = []
    for name, acting in shown.items():
        path = output_dir / f"{name}.png"
        rows = _before_and_after(acting, waveform, truth, catalog.labels)
        with picture(path):
            plot_augmentation(rows, _flags(acting), settings.sample_rate_hz, settings.top_db, path)
            paths.append(path)
    if not paths:
        raise ValueError(f"expected to draw {', '.join(shown)}, but no picture could be drawn; see the warnings above")
    return paths


def _only(settings: Settings, shown: str) -> Settings:
    """Returns the settings with every augmentation but one switched off."""
    defaults = vars(Settings())
    others = [setting for name, entry in AUGMENTATIONS.items() if name != shown for setting in entry.settings]
    return dataclasses.replace(settings, **{setting: defaults[setting] for setting in others})


def _flags(settings: Settings) -> str:
    """Returns the augmentation's settings that differ from the defaults, as flags of a command."""
    names = [setting for entry in AUGMENTATIONS.values() for setting in entry.settings]
    values = {name: getattr(settings, name) for name in names if getattr(settings, name) != getattr(Settings(), name)}
    return " ".join(f"--{name}" if value is True else f"--{name}={value:g}" for name, value in values.items())


def _crops(settings: Settings, catalog: Catalog, ledger: FailureLedger, clips: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws a random crop of each of a few training clips: the first ones, one label after the other.

    Returns:
        Waveforms float32 [clips, samples] and their targets [clips] or [clips, labels].
    """
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
    """Returns a row for each crop: the crop itself, then what the first training steps would make of it."""
    front_end = build_front_end(settings, "log_mel", scaling="decibel")
    on_images, augment = image_augmentations(settings), batch_augmentation(settings)
    targets = tf.cast(truth, tf.float32) if settings.multi_label else tf.one_hot(truth, len(labels))
    versions = [(waveform, front_end(waveform), targets)]
    for step in range(_STEPS):
        augmented, mixed = augment(waveform, targets, tf.constant(step))
        features = front_end(augmented)
        for layer in on_images:
            features = layer(features, training=True)
        versions.append((augmented, features, mixed))
    rows = []
    for i in range(len(waveform)):
        row = []
        for step, (samples, features, shares) in enumerate(versions):
            title = f"{f'step {step}' if step else 'before'}: {_shares(shares[i].numpy(), labels)}"
            row.append(ShownCrop(title, samples[i].numpy(), features[i, :, :, 0].numpy()))
        rows.append(row)
    return rows


def _shares(target: np.ndarray, labels: Sequence[str]) -> str:
    """Returns a target as text, such as "Rock" or "Rock 0.80 + Folk 0.20"."""
    present = [i for i in np.argsort(-target) if target[i] >= 0.005]
    if len(present) == 1:
        return labels[present[0]]
    named = " + ".join(f"{labels[i]} {target[i]:.2f}" for i in present[:_MOST_SHARES])
    return named + " + …" * (len(present) > _MOST_SHARES)
