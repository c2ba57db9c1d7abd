"""This project's pipeline, as the benchmark runs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from experiments.benchmark.workload import Workload

if TYPE_CHECKING:
    import tensorflow as tf


def our_dataset(
    work: Workload, decoder: str, rounds: int, crop_seconds: float, yields: str = "waveforms"
) -> tf.data.Dataset:
    """Makes a `train_dataset` of the files: decoded, mono, resampled, batched.

    Args:
        work: the files, the sample rate and the batch size.
        decoder: by name.
        rounds: crops of each file.
        crop_seconds: length of a crop; 0 is the whole clip.
        yields: "waveforms" or "lines" (see `train_dataset`).
    """
    from pipeline.dataset import train_dataset
    from pipeline.failures import FailureLedger

    return train_dataset(
        work.paths,
        [0] * len(work.paths),
        FailureLedger(len(work.paths)),
        sample_rate_hz=work.sample_rate_hz,
        crop_seconds=crop_seconds,
        crops_per_clip=rounds,
        batch_size=work.batch_size,
        decoder=decoder,
        yields=yields,
    )


def decode_batches(work: Workload, decoder: str, rounds: int, crop_seconds: float) -> Iterator[int]:
    """Pulls every batch of `our_dataset`; yields its size."""
    for waveform, _ in our_dataset(work, decoder, rounds, crop_seconds):
        yield len(waveform)


def decode_lines(work: Workload) -> Iterator[int]:
    """Pulls every batch of lines, as `--decode_on_device` takes them; yields its size."""
    for data, _ in our_dataset(work, "auto", work.rounds, work.crop_seconds, yields="lines"):
        yield len(data["lines"])


def why_no_lines(work: Workload) -> str:
    """Returns why there are no lines at this rate and length of a crop, or ""."""
    from pipeline.dataset import check_lines

    try:
        check_lines(work.sample_rate_hz, work.crop_seconds, "auto")
    except ValueError as error:
        return str(error)
    return ""
