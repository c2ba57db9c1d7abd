"""Reads a clip's bytes from its record by TensorFlow ops, which check the record's checksums."""

from __future__ import annotations

import tensorflow as tf

from pipeline.storage.clips import RECORD_HEADER_BYTES, RECORD_SPAN_PATTERN


def is_in_record(path: tf.Tensor) -> tf.Tensor:
    """Returns whether a clip's path, a string scalar, names a record of a shard; bool scalar."""
    return tf.strings.regex_full_match(path, RECORD_SPAN_PATTERN)


def read_record(path: tf.Tensor) -> tf.Tensor:
    """Reads a clip's bytes from its shard.

    Args:
        path: string scalar, the path of a clip in a shard.

    Returns:
        The bytes, string scalar.

    Raises:
        tf.errors.OpError: the shard is missing or too short, or the record is damaged.
    """

    def part(group: int) -> tf.Tensor:
        return tf.strings.regex_replace(path, RECORD_SPAN_PATTERN, rf"\{group}")

    record, skip, length = (tf.strings.to_number(part(group), tf.int64) for group in (2, 3, 4))
    variant = tf.raw_ops.TFRecordDatasetV2(
        filenames=[part(1)],
        compression_type="",
        buffer_size=tf.constant(0, tf.int64),  # to read nothing beyond the record
        byte_offsets=[record],
    )
    records = tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))
    return tf.strings.substr(records.take(1).get_single_element(), skip - RECORD_HEADER_BYTES, length)
