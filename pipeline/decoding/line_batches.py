"""Decoding to lines inside tf.data: from crops to batches of what the layer `Mp3Synthesis` takes."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.decoding.registry import get_decoder


@functools.cache  # AutoGraph, which warns of imports that it cannot convert, does not look into a cached function
def line_specs(crop_samples: int) -> dict[str, tf.TensorSpec]:
    """Returns the names, shapes and types of a batch of lines.

    Args:
        crop_samples: length of a crop.
    """
    from pipeline.mp3.native import line_crops  # for those alone who want lines: numba takes time to load

    rows, spare = line_crops.all_rows(crop_samples), line_crops.spare_rows(crop_samples)
    return {
        "lines": tf.TensorSpec([None, rows, line_crops.LINES_OF_ROW], tf.float32),
        "blocks": tf.TensorSpec([None, rows - 1], tf.int8),
        "places": tf.TensorSpec([None, line_crops.PLACE_SPARE_ROWS + spare], tf.int32),
    }


def line_batches(
    crops: tf.data.Dataset,
    table: tf.Tensor,
    sample_rate_hz: int,
    crop_samples: int,
    batch_size: int,
    decoder: str,
    workers: int,
) -> tf.data.Dataset:
    """Decodes crops to batches of lines, as `batches.decoded_batches` does to waveforms.

    Args:
        crops, table, sample_rate_hz, batch_size, workers: as there.
        crop_samples: length of a crop, at least `line_crops.MIN_CROP_SAMPLES`.
        decoder: name in the registry of one that decodes to lines.

    Returns:
        A dataset of (lines, blocks, places, row int64 [batch], error string [batch], remark string [batch]), the first three as
        `line_specs` has them.
    """
    module: Any = get_decoder(decoder).load_lines()
    module.prepare()
    specs = line_specs(crop_samples).values()

    def decode(encoded_paths: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, ...]:
        paths = [os.fsdecode(path) for path in encoded_paths]
        batch, errors = module.decode_batch(paths, sample_rate_hz, crop_samples, [float(place) for place in positions])
        remarks = {path: module.find_remark(path) for path in dict.fromkeys(paths)}
        # Both may name the file, whose name need not be text.
        reasons = [b"" if error is None else str(error).encode(errors="surrogateescape") for error in errors]
        texts = [remarks[path].encode(errors="surrogateescape") for path in paths]
        return *batch, np.array(reasons, object), np.array(texts, object)

    def decode_batch(row: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, ...]:
        types = [*(spec.dtype for spec in specs), tf.string, tf.string]
        # Declared stateless, as in `batches`.
        *tensors, error, remark = tf.numpy_function(decode, [tf.gather(table, row), position], types, stateful=False)
        shaped = [tf.ensure_shape(tensor, spec.shape) for tensor, spec in zip(tensors, specs, strict=True)]
        return *shaped, row, tf.ensure_shape(error, [None]), tf.ensure_shape(remark, [None])

    return crops.batch(batch_size).map(decode_batch, num_parallel_calls=workers)
