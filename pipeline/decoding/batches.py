"""Decoding inside tf.data by any decoder of the registry: from clips to their windows, and from crops to batches."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline import windows
from pipeline.decoding.decoder import DecodeError, PythonDecoder
from pipeline.decoding.registry import get_decoder

Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # waveform [batch, samples], row [batch], error [batch], "" for none

OnRemark = Callable[[str, str], object]  # of a path, and what its user should know


def path_table(paths: Sequence[str]) -> tf.Tensor:
    """Returns the paths as a string tensor [paths]."""
    return tf.constant([os.fsencode(path) for path in paths])  # bytes: a name need not be text


def decoded_batches(
    crops: tf.data.Dataset,
    table: tf.Tensor,
    sample_rate_hz: int,
    crop_samples: int,
    batch_size: int,
    decoder: str,
    workers: int,
    on_remark: OnRemark | None = None,
) -> tf.data.Dataset:
    """Decodes crops to batches.

    Batches are cut before failures are dropped, so a bad file shortens its own batch and shifts no other.

    Args:
        crops: (row int64, position float32), both scalar: a clip's row in the table, and where in the clip the crop lies.
        table: from `path_table`.
        sample_rate_hz: rate of the waveforms.
        crop_samples: length of a crop; 0 for whole clips.
        batch_size: crops a batch.
        decoder: name in the registry.
        workers: parallel decodes.
        on_remark: called with a path and what its user should know of the file, by decoders that run as Python code.

    Returns:
        A dataset of `Batch`.
    """
    module: Any = get_decoder(decoder).load()

    def decode_crop(row: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, ...]:
        waveform, error = module.decode_crop(table[row], sample_rate_hz, crop_samples, position)
        return waveform, row, error

    def decode_batch(row: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # Declared stateless: a stateful op would lose its parallelism under op determinism, and this one is a function
        # of its inputs.
        waveform, error = tf.numpy_function(
            lambda paths, positions: _decode_batch(module, sample_rate_hz, crop_samples, paths, positions, on_remark),
            [tf.gather(table, row), position],
            [tf.float32, tf.string],
            stateful=False,
        )
        return tf.ensure_shape(waveform, [None, crop_samples or None]), row, tf.ensure_shape(error, [None])

    if get_decoder(decoder).is_graph_native:
        decoded = crops.map(decode_crop, num_parallel_calls=workers)
        return decoded.batch(batch_size) if crop_samples else decoded.padded_batch(batch_size)
    # A batch a call, rather than a crop: fewer calls into Python, and no copy into the batch by one thread.
    return crops.batch(batch_size).map(decode_batch, num_parallel_calls=workers)


def count_windows(table: tf.Tensor, crop_seconds: float, decoder: str, workers: int) -> tf.data.Dataset:
    """Counts the windows of every clip (see `pipeline.windows`).

    Args:
        table: from `path_table`.
        crop_seconds: length of a window; 0 for whole clips.
        decoder: name in the registry.
        workers: clips whose lengths are read in parallel.

    Returns:
        A dataset of (row, number of windows), both int64 scalar, in order. A clip that cannot be decoded has one window.
    """
    module: Any = get_decoder(decoder).load()

    def count_in_python(path: bytes) -> np.int64:
        return np.int64(module.count_windows(os.fsdecode(path), crop_seconds))

    def count(row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if get_decoder(decoder).is_graph_native:
            return row, module.count_windows(table[row], crop_seconds)
        windows_of_clip = tf.numpy_function(count_in_python, [table[row]], tf.int64, stateful=False)
        return row, tf.ensure_shape(windows_of_clip, [])

    return tf.data.Dataset.range(len(table)).map(count, num_parallel_calls=workers)


def window_crops(counted: tf.data.Dataset) -> tf.data.Dataset:
    """Finds the windows of every clip, in order.

    Args:
        counted: from `count_windows`.

    Returns:
        A dataset of crops, as `decoded_batches` expects them.
    """

    def spread(row: tf.Tensor, num_windows: tf.Tensor) -> tf.data.Dataset:
        float_count = tf.cast(num_windows, tf.float32)

        def place(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return row, windows.window_position(tf.cast(index, tf.float32), float_count, tf.math)

        return tf.data.Dataset.range(num_windows).map(place)

    return counted.flat_map(spread)


def _decode_batch(
    module: PythonDecoder,
    sample_rate_hz: int,
    crop_samples: int,
    encoded_paths: np.ndarray,
    positions: np.ndarray,
    on_remark: OnRemark | None,
) -> tuple[np.ndarray, np.ndarray]:
    paths = [os.fsdecode(path) for path in encoded_paths]
    # These are left out by a decoder that has nothing to gain or to say.
    decode_batch = getattr(module, "decode_batch", functools.partial(_decode_paths, module))
    find_remark = getattr(module, "find_remark", None)
    batch, errors = decode_batch(paths, sample_rate_hz, crop_samples, [float(position) for position in positions])
    if on_remark and find_remark:
        for path in dict.fromkeys(paths):
            if remark := find_remark(path):
                on_remark(path, remark)
    # A reason may name the file, whose name need not be text.
    reasons = [b"" if error is None else str(error).encode(errors="surrogateescape") for error in errors]
    return batch, np.array(reasons, object)


def _decode_paths(
    module: PythonDecoder, paths: Sequence[str], sample_rate_hz: int, crop_samples: int, positions: Sequence[float]
) -> tuple[np.ndarray, list[DecodeError | None]]:
    decode_crops = getattr(module, "decode_crops", functools.partial(_decode_each, module))
    crops: list[np.ndarray | DecodeError] = []
    for path, group in itertools.groupby(zip(paths, positions, strict=True), key=lambda crop: crop[0]):
        crops += decode_crops(path, sample_rate_hz, crop_samples, [position for _, position in group])
    errors = [crop if isinstance(crop, DecodeError) else None for crop in crops]
    waveforms = [np.zeros(crop_samples or 1, np.float32) if isinstance(crop, DecodeError) else crop for crop in crops]
    batch = np.zeros((len(crops), max(map(len, waveforms))), np.float32)  # lengths differ for whole clips only
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = waveform
    return batch, errors


def _decode_each(
    module: PythonDecoder, path: str, sample_rate_hz: int, crop_samples: int, positions: Sequence[float]
) -> list[np.ndarray | DecodeError]:
    crops: list[np.ndarray | DecodeError] = []
    for position in positions:
        try:
            crops.append(module.decode_crop(path, sample_rate_hz, crop_samples, position))
        except DecodeError as error:
            crops.append(error)
    return crops
