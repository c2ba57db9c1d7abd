"""Streaming datasets of waveforms, for training in the order of `pipeline.order` and for evaluation.

An example depends on its place alone: neither on the number of workers nor on what was decoded before.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from pipeline.decoding import tfio_decoder as mp3_graph
from pipeline.decoding.batches import DECODERS, Batch, decoded_batches, path_table
from pipeline.decoding.soundfile_decoder import DecodeError, read_info
from pipeline.failed_examples import drop_failures, not_empty
from pipeline.failures import FailureLedger
from pipeline.order import Order
from pipeline.storage.read_ahead import read_ahead

_READ_AHEAD_CLIPS = 16  # at once: whoever leaves a pass waits for these at most
# Has batches decoded elsewhere. It is given a dataset of (step, *batch), which holds graph ops alone, and a function that
# decodes a step's batch here; it returns a dataset of all batches in order.
Delivery = Callable[[tf.data.Dataset, Callable[[int], Batch]], tf.data.Dataset]


def train_dataset(
    paths: Sequence[str],
    class_indices: Sequence[int] | np.ndarray,
    ledger: FailureLedger,
    *,
    sample_rate_hz: int = 22050,
    crop_seconds: float = 5.0,
    crops_per_clip: int = 1,
    batch_size: int = 32,
    epoch: int = 0,
    seed: int = 0,
    shuffle_clips: int = 0,
    decoder: str = "soundfile",
    decode_workers: int | None = None,
    delivery: Delivery | None = None,
    first_step: int = 0,
    shard: tuple[int, int] = (0, 1),
    keep_empty: bool = False,
) -> tf.data.Dataset:
    """One shuffled pass over random crops of every clip.

    Args:
        paths: audio files.
        class_indices: class of each file; or, where a file may have several, 1 or 0 for each class [files, classes].
        ledger: where files that cannot be decoded are recorded; their examples are missing from their batches, and
            the batches before and after do not change.
        sample_rate_hz: rate of the waveforms.
        crop_seconds: length of a crop; 0 gives whole clips, padded with zeros to the longest of the batch.
        crops_per_clip: how often each clip occurs in the pass.
        batch_size: examples a batch; the last batch holds what is left.
        epoch: number of the pass, from 0; every epoch has its own order and crops.
        seed: the same seed and epoch give the same pass.
        shuffle_clips: clips that are shuffled together at most (see `pipeline.order`), whose files or shards are read
            from beginning to end before; 0: all, each crop being read when its turn comes.
        decoder: "soundfile" reads every format, exactly and fast; "tfio" reads MP3s by graph ops alone, which can be
            serialised for other processes, several times slower.
        decode_workers: parallel decodes; None: as many as there are cores.
        delivery: has the batches decoded elsewhere (`pipeline.service.client`), which takes decoder "tfio" and changes
            nothing in the result.
        first_step: batches at the beginning that are left out: those that a continued run has had.
        shard: (i, n) gives the i-th of n nearly equal parts of each batch, for training on several hosts. Only this part is
            decoded; all parts together are the batches of the whole.
        keep_empty: whether a batch in which nothing could be decoded, or of which this part is empty, is given as one
            of no examples: every part then has the same number of batches.

    Returns:
        A dataset of (waveform float32 [batch, samples], class index int32 [batch] or [batch, classes]).

    Raises:
        ValueError: a setting is out of range.
    """
    _check(paths, sample_rate_hz, crop_seconds, batch_size, decoder)
    if delivery and decoder != "tfio":
        raise ValueError(f"expected decoder tfio for batches that are decoded elsewhere, received {decoder!r}")
    part, parts = shard
    if batch_size % parts:
        raise ValueError(f"expected batch_size as a multiple of the {parts} parts of a batch, received {batch_size}")
    crop_samples = round(crop_seconds * sample_rate_hz)
    order = Order(len(paths), crops_per_clip, seed, epoch, shuffle_clips)
    examples, group_size = order.examples, -(-order.group_clips * crops_per_clip // parts)
    class_table, table = tf.constant(class_indices, tf.int32), path_table(paths)
    workers = decode_workers or default_workers()
    own_size, whole_batches = batch_size // parts, examples // batch_size
    rest = examples % batch_size  # in the last batch, if it is not whole
    own_rest = rest * (part + 1) // parts - rest * part // parts
    own_examples = whole_batches * own_size + own_rest

    def draw(own_place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch = own_place // own_size
        size = tf.minimum(examples - batch * batch_size, batch_size)
        return order.draw(batch * batch_size + size * part // parts + own_place % own_size)

    def decoded(crops: tf.data.Dataset) -> tf.data.Dataset:
        return decoded_batches(crops, table, sample_rate_hz, crop_samples, own_size, decoder, workers)

    def decode_step(step: tf.Tensor) -> Batch:
        first = (first_step + step) * own_size
        places = tf.data.Dataset.range(first, tf.minimum(first + own_size, own_examples))
        return decoded(places.map(draw)).get_single_element()

    if delivery:
        steps = tf.data.Dataset.range(math.ceil(own_examples / own_size) - first_step)
        # Two batches at a time: while one waits for its last crop, the next keeps the cores busy.
        numbered = steps.map(lambda step: (step, *decode_step(step)), num_parallel_calls=2)
        batches = delivery(_without_autotuning(numbered), _on_demand(decode_step))
    else:
        crops = tf.data.Dataset.range(first_step * own_size, own_examples).map(draw)
        batches = decoded(_read_ahead(crops, table, group_size) if order.has_groups else crops)
    batches = batches.map(drop_failures(paths, ledger))
    if keep_empty:
        # A network may ask that samples be many, even of no example.
        nothing = tf.zeros([0, crop_samples or 30 * sample_rate_hz]), tf.zeros([0], tf.int64)
        if rest and not own_rest and first_step <= whole_batches:
            batches = batches.concatenate(tf.data.Dataset.from_tensors(nothing))
        batches = batches.map(lambda *batch: tf.cond(not_empty(*batch), lambda: batch, lambda: nothing))
    else:
        batches = batches.filter(not_empty)
    return _stream(batches.map(lambda waveform, row: (waveform, tf.gather(class_table, row))))


def eval_dataset(
    paths: Sequence[str],
    ledger: FailureLedger,
    *,
    sample_rate_hz: int = 22050,
    crop_seconds: float = 5.0,
    batch_size: int = 32,
    decoder: str = "soundfile",
    decode_workers: int | None = None,
) -> tf.data.Dataset:
    """Every clip once, in order, as equally spaced crops that cover it.

    A clip of d seconds gives ceil(d / crop_seconds) crops, the first at its beginning and the last at its end; one
    shorter than a crop is padded with zeros. With `crop_seconds=0` every clip is one crop in a batch of its own, so
    that no padding depends on its neighbours.

    Args:
        paths: audio files.
        ledger: where files that cannot be decoded are recorded; such a clip's crops may be missing in part.
        sample_rate_hz: rate of the waveforms.
        crop_seconds: length of a crop; 0 gives whole clips.
        batch_size: crops a batch.
        decoder: as for `train_dataset`.
        decode_workers: parallel decodes; None: as many as there are cores.

    Returns:
        A dataset of (waveform float32 [batch, samples], row int64 [batch], the place of the crop's clip in `paths`).

    Raises:
        ValueError: a setting is out of range.
    """
    _check(paths, sample_rate_hz, crop_seconds, batch_size, decoder)
    crop_samples = round(crop_seconds * sample_rate_hz)
    workers = decode_workers or default_workers()
    table = path_table(paths)

    def count(row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if decoder == "tfio":
            return row, mp3_graph.count_file_crops(table[row], crop_seconds)
        crops = tf.numpy_function(
            lambda path: np.int64(count_crops(os.fsdecode(path), crop_seconds)), [table[row]], tf.int64, False
        )
        return row, tf.ensure_shape(crops, [])

    def spread(row: tf.Tensor, crops: tf.Tensor) -> tf.data.Dataset:
        last = tf.cast(tf.maximum(crops - 1, 1), tf.float32)
        return tf.data.Dataset.range(crops).map(lambda crop: (row, tf.cast(crop, tf.float32) / last))

    crops = tf.data.Dataset.range(len(paths)).map(count, num_parallel_calls=workers).flat_map(spread)
    return _stream(
        decoded_batches(crops, table, sample_rate_hz, crop_samples, batch_size if crop_samples else 1, decoder, workers)
        .map(drop_failures(paths, ledger))
        .filter(not_empty)
    )


def default_workers() -> int:
    """Parallel decodes where none are asked for: the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_crops(path: str, crop_seconds: float) -> int:
    """Number of crops that cover a file: ceil(duration / crop_seconds), at least 1, and 1 for whole clips."""
    if crop_seconds == 0:
        return 1
    try:
        info = read_info(path)
    except DecodeError:
        return 1  # decoding that one crop records the reason
    crop_samples = math.ceil(crop_seconds * info.sample_rate_hz)
    return max(1, math.ceil(info.samples / crop_samples))


def iterate(dataset: tf.data.Dataset, ledger: FailureLedger) -> Iterator[tuple[tf.Tensor, ...]]:
    """Iterates over a dataset; a spent failure budget comes out as the ledger's own error, not as TensorFlow's."""
    try:
        yield from dataset
    except tf.errors.OpError:
        ledger.check()
        raise


def _check(paths: Sequence[str], sample_rate_hz: int, crop_seconds: float, batch_size: int, decoder: str) -> None:
    if decoder not in DECODERS:
        raise ValueError(f"expected decoder to be one of {', '.join(DECODERS)}, received {decoder!r}")
    if not len(paths):
        raise ValueError("expected at least one path, received none")
    for name, value in (("sample_rate_hz", sample_rate_hz), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"expected {name} of at least 1, received {value}")
    if crop_seconds < 0 or 0 < crop_seconds * sample_rate_hz < 1:
        raise ValueError(f"expected crop_seconds of at least one sample, or 0 for whole clips, received {crop_seconds}")


def _read_ahead(crops: tf.data.Dataset, table: tf.Tensor, group_size: int) -> tf.data.Dataset:
    """Reads what the next so many crops come from while those before them are decoded."""

    def read(paths: np.ndarray) -> np.ndarray:
        read_ahead(map(os.fsdecode, paths))
        return np.zeros(0, np.int64)

    def read_slice(paths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        nothing = tf.ensure_shape(tf.numpy_function(read, [paths], tf.int64, stateful=False), [None])
        return nothing, tf.cast(nothing, tf.float32)

    def group(row: tf.Tensor, position: tf.Tensor) -> tf.data.Dataset:
        paths = tf.gather(table, tf.sort(tf.unique(row)[0]))
        slices = tf.data.Dataset.from_tensor_slices(paths).batch(_READ_AHEAD_CLIPS).map(read_slice)
        return slices.concatenate(tf.data.Dataset.from_tensors((row, position)))

    slices = group_size // _READ_AHEAD_CLIPS + 1
    return crops.batch(group_size).flat_map(group).prefetch(slices + 1).unbatch()


def _on_demand(decode_step: Callable[[tf.Tensor], Batch]) -> Callable[[int], Batch]:
    """Makes a function that decodes the batch of any step, here and now.

    By a dataset rather than a tf.function: tf.data computes each product with one thread, and its last bits depend on
    how many share it.
    """
    wanted = tf.Variable(0, dtype=tf.int64)
    batches: list[Iterator[Batch]] = []  # one, once the first is asked for: few passes need it

    def decode(step: int) -> Batch:
        if not batches:
            dataset = tf.data.Dataset.from_tensors(0).repeat().map(lambda _: decode_step(wanted.read_value()))
            batches.append(iter(_without_autotuning(dataset)))
        wanted.assign(step)
        return next(batches[0])

    return decode


def _stream(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Decodes two batches ahead of the training step."""
    return _without_autotuning(dataset.prefetch(2))


def _without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Switches tf.data's autotuning off.

    It begins with hardly any buffer and takes longer than an epoch of a small data set to find what is known
    beforehand, that every core should decode.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
