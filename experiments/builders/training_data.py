"""From settings and a catalog to the batches of a training epoch."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import tensorflow as tf

from experiments import console
from experiments.builders.balance import oversampled
from experiments.settings import Settings
from pipeline.catalogs.catalog import Catalog
from pipeline.dataset import check_lines, train_dataset
from pipeline.failures import FailureLedger
from pipeline.service.client import check_service, service_delivery

if TYPE_CHECKING:
    from pipeline.decoding.mp3_synthesis import Mp3Synthesis


def check_data_service(settings: Settings) -> None:
    """Checks that the data service answers, if the settings name one. Once it has begun, training can go on without it.

    Raises:
        ValueError: its address is wrong, or nothing answers there.
    """
    if settings.data_service:
        check_service(settings.data_service)


def check_decode_on_device(settings: Settings) -> None:
    """Checks that training crops can be decoded on the device, if the settings say so.

    Raises:
        ValueError: other settings are against it.
    """
    if not settings.decode_on_device:
        return
    remedy = "; choose another one, or leave --decode_on_device out"
    if settings.data_service:
        raise ValueError(
            f"expected no --data_service with --decode_on_device, received {settings.data_service}{remedy}"
        )
    try:
        check_lines(settings.sample_rate_hz, settings.crop_seconds, settings.decoder)
    except ValueError as error:
        raise ValueError(f"{error}{remedy}") from None


def make_synthesis(settings: Settings) -> Mp3Synthesis | None:
    """Makes the layer that the training step begins with where `decode_on_device` is set; None elsewhere."""
    if not settings.decode_on_device:
        return None
    from pipeline.decoding.mp3_synthesis import Mp3Synthesis

    return Mp3Synthesis(round(settings.crop_seconds * settings.sample_rate_hz))


def training_stream(
    catalog: Catalog,
    settings: Settings,
    ledger: FailureLedger,
    epoch: int,
    first_step: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> tuple[tf.data.Dataset, int]:
    """Builds the batches of the training split's crops, in the order of one epoch.

    Args:
        catalog: of the run.
        settings: of the run.
        ledger: where undecodable files are recorded.
        epoch: number of the pass, from 0.
        first_step: batches that a continued run has had.
        shard: (i, n) for the i-th of n equal parts of each batch.

    Returns:
        A dataset of (waveform float32 [batch, samples], or with `decode_on_device` what `Mp3Synthesis` takes, targets int32 as `Catalog.targets` has them), where a batch of
        which nothing could be decoded has no examples, and the number of batches in the whole epoch.
    """
    tracks = catalog.split("training")
    if settings.class_balance == "oversample":
        tracks = oversampled(tracks)

    def report(text: str) -> None:
        console.write(f"epoch {epoch + 1}: {text}\n", sys.stdout)

    dataset = train_dataset(
        tracks["path"].tolist(),
        catalog.targets(tracks),
        ledger,
        sample_rate_hz=settings.sample_rate_hz,
        crop_seconds=settings.crop_seconds,
        crops_per_clip=settings.crops_per_clip,
        batch_size=settings.batch_size,
        epoch=epoch,
        seed=settings.seed,
        shuffle_clips=settings.shuffle_clips,
        decoder=settings.decoder,
        decode_workers=settings.decode_workers or None,
        delivery=service_delivery(settings.data_service, report) if settings.data_service else None,
        first_step=first_step,
        shard=shard,
        keep_empty=True,
        yields="lines" if settings.decode_on_device else "waveforms",
    )
    return dataset, math.ceil(len(tracks) * settings.crops_per_clip / settings.batch_size)
