"""Streaming datasets of waveforms: `train_dataset` in the order of `pipeline.order`, and `eval_dataset`.

An example depends on its place in the dataset alone: neither on the number of workers nor on what was decoded before.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from pipeline.decoding.batches import Batch, decoded_batches, path_table, window_crops
from pipeline.decoding.registry import DECODERS, DEFAULT_DECODER, MAX_WORKERS, get_decoder
from pipeline.failed_examples import drop_failures, not_empty
from pipeline.failures import FailureLedger
from pipeline.order import Order
from pipeline.storage.read_ahead_ops import read_groups_ahead
from pipeline.windows import MAX_CROP_SECONDS

# A function that has batches decoded elsewhere. Its arguments are a dataset of (step, *batch), which consists of graph ops
# alone, and a function that decodes the batch of a step in this process. It returns a dataset of all batches in order.
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
    decoder: str = DEFAULT_DECODER,
    decode_workers: int | None = None,
    delivery: Delivery | None = None,
    first_step: int = 0,
    shard: tuple[int, int] = (0, 1),
    keep_empty: bool = False,
) -> tf.data.Dataset:
    """Makes one shuffled pass over random crops of every clip.

    Args:
        paths: audio files.
        class_indices: class of each file [files]; or, where a file may have several, 1 or 0 for each class
            [files, classes].
        ledger: records the files that cannot be decoded. Their examples are missing from their batches; the other
            batches do not change.
        sample_rate_hz: rate of the waveforms.
        crop_seconds: length of a crop; 0 gives whole clips, padded with zeros to the longest of the batch.
        crops_per_clip: how often each clip occurs in the pass.
        batch_size: examples a batch; the last batch may be smaller.
        epoch: number of the pass, from 0; every epoch has its own order and crops.
        seed: the same seed and epoch give the same pass.
        shuffle_clips: how many clips are shuffled together at most (see `pipeline.order`); their files or shards are
            read from beginning to end before. 0 shuffles all clips, and reads each crop when its turn comes.
        decoder: name in `pipeline.decoding.registry`. "soundfile" reads every format, exactly and fast; "tfio" reads
            MP3s by graph ops alone, which can be sent to other processes, several times slower.
        decode_workers: parallel decodes; None means as many as this process may use cores.
        delivery: has the batches decoded elsewhere (see `pipeline.service.client`). It requires a decoder of graph ops,
            such as "tfio", and does not change the result.
        first_step: number of batches to leave out at the beginning: those that a continued run has had.
        shard: (i, n) gives the i-th of n nearly equal parts of each batch, for training on several hosts. Only this part
            is decoded; all parts together are the batches of the whole.
        keep_empty: whether to keep a batch without examples (none could be decoded, or this part of it is empty), so
            that every part has the same number of batches.

    Returns:
        A dataset of (waveform float32 [batch, samples], class index int32 [batch] or [batch, classes]).

    Raises:
        ValueError: a setting is out of range, or the decoder's package is not installed.

    Example:
        >>> ledger = FailureLedger(len(paths))
        >>> dataset = train_dataset(paths, [0, 1, 0], ledger, crop_seconds=2.0, batch_size=3)  # of three MP3s
        >>> [waveform.shape.as_list() for waveform, class_index in dataset]
        [[3, 44100]]
    """
    _check(paths, sample_rate_hz, crop_seconds, batch_size, decoder, decode_workers)
    if delivery and not DECODERS[decoder].is_graph_native:
        choices = " or ".join(name for name, known in DECODERS.items() if known.is_graph_native)
        raise ValueError(f"expected decoder {choices} for batches that are decoded elsewhere, received {decoder!r}")
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
        return decoded_batches(crops, table, sample_rate_hz, crop_samples, own_size, decoder, workers, ledger.remark)

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
        batches = decoded(read_groups_ahead(crops, table, group_size) if order.has_groups else crops)
    batches = batches.map(drop_failures(paths, ledger))
    if keep_empty:
        # A network may require a minimum of samples even where there is no example.
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
    decoder: str = DEFAULT_DECODER,
    decode_workers: int | None = None,
) -> tf.data.Dataset:
    """Returns every clip once, in order, as the windows that cover it (see `pipeline.windows`).

    A clip of d seconds gives ceil(d / crop_seconds) windows, the first at its beginning and the last at its end; a clip
    that is shorter than a window is padded with zeros. With `crop_seconds=0` every clip is one window in a batch of its
    own, so that no padding depends on other clips.

    Args:
        paths: audio files.
        ledger: records the files that cannot be decoded; such a clip's windows may be missing in part.
        sample_rate_hz: rate of the waveforms.
        crop_seconds: length of a window; 0 gives whole clips.
        batch_size: windows a batch.
        decoder: as for `train_dataset`.
        decode_workers: parallel decodes; None means as many as this process may use cores.

    Returns:
        A dataset of (waveform float32 [batch, samples], row int64 [batch]); a row is the index of the clip in `paths`.

    Raises:
        ValueError: a setting is out of range, or the decoder's package is not installed.

    Example:
        >>> for waveform, row in eval_dataset(paths, FailureLedger(3), crop_seconds=2.5):  # three MP3s of 6 s
        ...     print(waveform.shape, row.numpy())
        (9, 55125) [0 0 0 1 1 1 2 2 2]
    """
    _check(paths, sample_rate_hz, crop_seconds, batch_size, decoder, decode_workers)
    crop_samples = round(crop_seconds * sample_rate_hz)
    workers = decode_workers or default_workers()
    table = path_table(paths)
    crops = window_crops(table, crop_seconds, decoder, workers)
    own_size = batch_size if crop_samples else 1
    batches = decoded_batches(crops, table, sample_rate_hz, crop_samples, own_size, decoder, workers, ledger.remark)
    return _stream(batches.map(drop_failures(paths, ledger)).filter(not_empty))


def default_workers() -> int:
    """Returns how many crops are decoded in parallel by default: one for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def iterate(dataset: tf.data.Dataset, ledger: FailureLedger) -> Iterator[tuple[tf.Tensor, ...]]:
    """Iterates over a dataset, and raises the ledger's own error when too many files have failed.

    Args:
        dataset: from `train_dataset` or `eval_dataset`.
        ledger: the ledger that the dataset was made with.

    Yields:
        The dataset's batches.

    Raises:
        FailureBudgetError: more files failed than the ledger allows; TensorFlow's error would not say so.
    """
    try:
        yield from dataset
    except tf.errors.OpError:
        ledger.check()
        raise


def _check(
    paths: Sequence[str],
    sample_rate_hz: int,
    crop_seconds: float,
    batch_size: int,
    decoder: str,
    decode_workers: int | None,
) -> None:
    get_decoder(decoder).check_package()
    if not len(paths):
        raise ValueError("expected at least one path, received none")
    for name, value in (("sample_rate_hz", sample_rate_hz), ("batch_size", batch_size)):
        if not 1 <= value < math.inf:
            raise ValueError(f"expected {name} of at least 1, received {value}")
    if not 0 <= crop_seconds < math.inf or 0 < crop_seconds * sample_rate_hz < 1:
        raise ValueError(f"expected crop_seconds of at least one sample, or 0 for whole clips, received {crop_seconds}")
    if crop_seconds > MAX_CROP_SECONDS:
        raise ValueError(
            f"expected crop_seconds of at most {MAX_CROP_SECONDS}, or 0 for whole clips, received {crop_seconds}"
        )
    if not 0 <= (decode_workers or 0) <= MAX_WORKERS:
        raise ValueError(
            f"expected decode_workers between 1 and {MAX_WORKERS}, or None for all cores, received {decode_workers}"
        )


def _on_demand(decode_step: Callable[[tf.Tensor], Batch]) -> Callable[[int], Batch]:
    """Makes a function that decodes the batch of any step in this process.

    The function uses a dataset rather than a tf.function, because tf.data computes each matrix product with one thread,
    and the last bits of a product depend on the number of threads.
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

    Autotuning starts with hardly any buffer, and takes longer than an epoch of a small data set to find out what is known
    beforehand: every core should decode.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
