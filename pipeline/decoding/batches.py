"""Decoding inside tf.data by any decoder of the registry: from clips to their windows, and from crops to batches."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline import windows
from pipeline.decoding import python_op
from pipeline.decoding.code_version import code_version
from pipeline.decoding.decoder import DecodeError, PythonDecoder
from pipeline.decoding.registry import get_decoder

# waveform [batch, samples], row [batch], error [batch], remark [batch]; the last two are "" where there is none.
Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]
_TYPES = (tf.float32, tf.string, tf.string)  # waveform, error, remark
_DECODE_OP = "decode_batch"


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
    portable: bool = False,
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
        portable: whether another process may run the graph, after `serve_batches`. Batches are then decoded one after the
            other, each by as many threads as there are.

    Returns:
        A dataset of `Batch`.
    """
    module: Any = get_decoder(decoder).prepare()

    def decode_crop(row: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, ...]:
        waveform, error = module.decode_crop(table[row], sample_rate_hz, crop_samples, position)
        return waveform, row, error, tf.constant("")

    def decode_batch(row: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # Declared stateless: a stateful op would lose its parallelism under op determinism, and this one is a function
        # of its inputs.
        paths = tf.gather(table, row)
        if portable:
            inputs = [_version(decoder), decoder, np.int64(sample_rate_hz), np.int64(crop_samples), paths, position]
            waveform, error, remark = python_op.call(_DECODE_OP, inputs, _TYPES)
        else:
            waveform, error, remark = tf.numpy_function(
                lambda paths, positions: _decode_batch(module, sample_rate_hz, crop_samples, paths, positions),
                [paths, position],
                _TYPES,
                stateful=False,
            )
        error, remark = tf.ensure_shape(error, [None]), tf.ensure_shape(remark, [None])
        return tf.ensure_shape(waveform, [None, crop_samples or None]), row, error, remark

    if get_decoder(decoder).is_graph_native:
        decoded = crops.map(decode_crop, num_parallel_calls=workers)
        return decoded.batch(batch_size) if crop_samples else decoded.padded_batch(batch_size)
    if portable:
        return crops.batch(batch_size).map(decode_batch)
    # A batch a call, rather than a crop: fewer calls into Python, and no copy into the batch by one thread.
    return crops.batch(batch_size).map(decode_batch, num_parallel_calls=workers)


def serve_batches(threads: int) -> None:
    """Lets graphs of `decoded_batches(portable=True)` run in this process, whichever process made them.

    Args:
        threads: that decode a batch.

    Raises:
        PythonOpError: this version of TensorFlow does not allow it.
    """

    def decode(
        version: bytes,
        decoder: bytes,
        sample_rate_hz: np.int64,
        crop_samples: np.int64,
        paths: np.ndarray,
        positions: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        reason = _refusal(version.decode(), decoder.decode())
        if reason:
            waveforms = np.zeros((len(paths), int(crop_samples) or 1), np.float32)
            return waveforms, np.full(len(paths), reason.encode(), object), np.full(len(paths), b"", object)
        module = get_decoder(decoder.decode()).load()
        return _decode_by_threads(threads, module, int(sample_rate_hz), int(crop_samples), paths, positions)

    python_op.register(_DECODE_OP, decode)


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
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    paths = [os.fsdecode(path) for path in encoded_paths]
    # These are left out by a decoder that has nothing to gain or to say.
    decode_batch = getattr(module, "decode_batch", functools.partial(_decode_paths, module))
    find_remark = getattr(module, "find_remark", None)
    batch, errors = decode_batch(paths, sample_rate_hz, crop_samples, [float(position) for position in positions])
    remarks = {path: find_remark(path) if find_remark else "" for path in dict.fromkeys(paths)}
    # Both may name the file, whose name need not be text.
    reasons = [b"" if error is None else str(error).encode(errors="surrogateescape") for error in errors]
    texts = [remarks[path].encode(errors="surrogateescape") for path in paths]
    return batch, np.array(reasons, object), np.array(texts, object)


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


def _decode_by_threads(
    threads: int,
    module: PythonDecoder,
    sample_rate_hz: int,
    crop_samples: int,
    paths: np.ndarray,
    positions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Does the same with a part of the batch for each thread, for a batch that no other is decoded beside."""
    parts = np.array_split(np.arange(len(paths)), min(threads, len(paths)))
    if len(parts) == 1:
        return _decode_batch(module, sample_rate_hz, crop_samples, paths, positions)
    batch = np.zeros((len(paths), crop_samples), np.float32)

    def decode(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        waveforms, *texts = _decode_batch(module, sample_rate_hz, crop_samples, paths[rows], positions[rows])
        if crop_samples:
            batch[rows[0] : rows[-1] + 1] = waveforms  # whole clips wait for the longest
        return waveforms, texts[0], texts[1]

    with ThreadPoolExecutor(len(parts)) as pool:
        waveforms, errors, remarks = zip(*pool.map(decode, parts), strict=True)
    if not crop_samples:
        longest = max(part.shape[1] for part in waveforms)
        batch = np.concatenate([np.pad(part, ((0, 0), (0, longest - part.shape[1]))) for part in waveforms])
    return batch, np.concatenate(errors), np.concatenate(remarks)


def _version(decoder: str) -> str:
    return code_version(get_decoder(decoder).is_compiled)


def _refusal(version: str, decoder: str) -> str:
    """Returns why this process must not decode a batch for one that has this version of the code, or ""."""
    try:
        get_decoder(decoder).check_package()
        get_decoder(decoder).load()
    except (ValueError, ImportError) as error:
        return str(error)
    if version == _version(decoder):
        return ""
    processor = ", or its kind of processor," if get_decoder(decoder).is_compiled else ""
    return (
        f"the worker's code or packages for decoding{processor} differ from the trainer's ({_version(decoder)}, {version}): "
        "run the same ones" + (", or --decoder=soundfile on unlike processors" if processor else "")
    )


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
