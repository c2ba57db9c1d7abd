"""Streaming datasets of waveforms: `train_dataset` in the order of `pipeline.order`, and `eval_dataset`.

An example depends on its place in the dataset alone: neither on the number of workers nor on what was decoded before.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from pipeline.clip_lists import Clips, list_clips
from pipeline.decoding.batches import count_windows, decoded_batches, path_table, serve_batches, window_crops
from pipeline.decoding.registry import DECODERS, DEFAULT_DECODER, MAX_WORKERS, get_decoder
from pipeline.failed_examples import drop_failures, not_empty
from pipeline.failures import FailureLedger
from pipeline.ledgered import LedgeredDataset, without_autotuning
from pipeline.order import Order
from pipeline.passes import BUFFER_BATCHES, YIELDS, Decoding, Delivery, SinglePass, all_passes, column_adder, fill_up
from pipeline.windows import MAX_CROP_SECONDS


def train_dataset(
    data: Clips,
    class_indices: Sequence[int] | np.ndarray | FailureLedger | None = None,
    ledger: FailureLedger | None = None,
    *,
    sample_rate_hz: int = 22050,
    crop_seconds: float = 5.0,
    crops_per_clip: int = 1,
    batch_size: int = 32,
    epoch: int | None = None,
    first_epoch: int = 0,
    seed: int = 0,
    sample_weight: Sequence[float] | np.ndarray | None = None,
    shuffle_clips: int = 0,
    decoder: str = DEFAULT_DECODER,
    decode_workers: int | None = None,
    delivery: Delivery | None = None,
    first_step: int = 0,
    shard: tuple[int, int] = (0, 1),
    keep_empty: bool = False,
    yields: str = "waveforms",
) -> LedgeredDataset:
    """Makes shuffled passes over random crops of every clip, for `model.fit` or a loop of one's own.

    Each iteration is the next pass, an epoch with crops and an order of its own, and the dataset knows its number of batches.
    A pass counts as finished when its last batch is handed out; one that is left before (`take`, `steps_per_epoch`, an
    interruption) is begun anew, and two iterations at the same time are the same pass. With Keras and TensorFlow:

    - `fit(dataset, epochs=3)` gets passes 0, 1 and 2. `fit(..., initial_epoch=k)` does not skip any: pass `first_epoch=k`.
    - `dataset.repeat()` gives one pass after the other, so that `steps_per_epoch` may be any number.
    - `class_weight` of `fit` takes the place of `sample_weight`; where a clip has several classes, Keras weights it by the
      first alone, so use `sample_weight`.
    - `map`, `prefetch` and `Strategy.experimental_distribute_dataset` keep the passes. What they make has no attribute
      `ledger`, and TensorFlow's error then stands around the ledger's message when too many files fail. So it is with
      `class_weight`. `dataset.apply(tf.data.experimental.prefetch_to_device(…))` keeps ledger, message and number of batches
      too, if it is applied to this dataset itself, and last.
    - What reads ahead counts as handing out: leaving a pass within the last batches that wait in a buffer finishes it. `fit`
      under a strategy looks at one batch before its first epoch, and its buffers hold a few: a pass of three batches or fewer
      may be used up by that.
    - Under several hosts, give each its `shard`, its own iteration and `keep_empty=True`.

    Args:
        data: clips with their labels, such as `catalog["training"]`; or paths of audio files.
        class_indices: of paths, the class of each [files]; or, where a file may have several, 1 or 0 for each class
            [files, classes].
        ledger: records the files that cannot be decoded. Their examples are missing from their batches; the other
            batches do not change. None makes one that allows one file in a hundred to fail. It is the dataset's attribute
            `ledger`.
        sample_rate_hz: rate of the waveforms.
        crop_seconds: length of a crop; 0 gives whole clips, padded with zeros to the longest of the batch.
        crops_per_clip: how often each clip occurs in a pass.
        batch_size: examples a batch; the last batch may be smaller.
        epoch: None: each iteration is the next pass. A number from 0: each is that pass, and a batch of which nothing could
            be decoded is missing from it; else the pass goes on with its first batches instead.
        first_epoch: number of the first pass, to continue after so many.
        seed: the same seed and epoch give the same pass.
        sample_weight: weight of each clip in the loss [files], a third part of each batch.
        shuffle_clips: how many clips are shuffled together at most (see `pipeline.order`); their files or shards are
            read from beginning to end before. 0 shuffles all clips, and reads each crop when its turn comes.
        decoder: name in `pipeline.decoding.registry`. "auto" decodes MP3s by kernels of its own and
            all else by libsndfile, as "soundfile" does everything; "tfio" reads MP3s by graph ops alone, many times slower.
        decode_workers: parallel decodes; None means as many as this process may use cores.
        delivery: has the batches decoded elsewhere (see `pipeline.service.client`). It requires an `epoch` and does
            not change the result.
        first_step: number of batches to leave out at the beginning of an `epoch`: those that a continued run has had.
        shard: (i, n) gives the i-th of n nearly equal parts of each batch, for training on several hosts. Only this part
            is decoded; all parts together are the batches of the whole.
        keep_empty: whether to keep a batch without examples (none could be decoded, or this part of it is empty), so
            that every part has the same number of batches.

    Returns:
        A dataset of (waveform float32 [batch, samples], class index int32 [batch] or [batch, classes]), and after these the
        weight float32 [batch], if there is one.

    Raises:
        ValueError: a setting is out of range, the arguments do not fit each other, or the decoder's package is not installed.

    Example:
        >>> dataset = train_dataset(paths, [0, 1, 0], crop_seconds=2.0, batch_size=2, first_epoch=7)  # of three MP3s
        >>> len(dataset), dataset.ledger.failures
        (2, {})
        >>> [(len(waveform), class_index.numpy()) for waveform, class_index in dataset]  # epoch 7; the next time 8
        [(2, array([...], dtype=int32)), (1, array([...], dtype=int32))]
    """
    clips = list_clips(data, class_indices, ledger, sample_weight, needs_targets=True)
    decoding = make_decoding(sample_rate_hz, crop_seconds, batch_size, decoder, decode_workers)
    if yields not in YIELDS:
        raise ValueError(f"expected yields as one of {', '.join(YIELDS)}, received {yields!r}")
    if yields == "lines":
        check_lines(sample_rate_hz, crop_seconds, decoder)
        decoding = dataclasses.replace(decoding, yields=yields)
    if yields == "lines" and delivery:
        raise ValueError("expected no delivery with lines, received one; leave one of both out")
    if delivery and not get_decoder(decoder).is_graph_native:
        serve_batches(decoding.workers)  # this process decodes what is not delivered
    if batch_size % shard[1]:
        raise ValueError(f"expected batch_size as a multiple of the {shard[1]} parts of a batch, received {batch_size}")
    for name, value in (("epoch", epoch or 0), ("first_epoch", first_epoch), ("first_step", first_step)):
        if value < 0:
            raise ValueError(f"expected {name} of at least 0, received {value}")
    order = Order(len(clips.paths), crops_per_clip, seed, first_epoch if epoch is None else epoch, shuffle_clips)
    if epoch is None:
        if delivery or first_step:
            raise ValueError(f"expected an epoch with {'delivery' if delivery else 'first_step'}, received none")
        return all_passes(clips, order, decoding, shard, keep_empty)
    if first_epoch:
        raise ValueError("expected an epoch or a first_epoch, received both")
    single = SinglePass(clips, path_table(clips.paths), order, decoding, shard, first_step, delivery)
    batches = single.kept_empty() if keep_empty else single.decoded().filter(not_empty)
    batches = batches.map(column_adder(clips)).prefetch(BUFFER_BATCHES)
    return LedgeredDataset(without_autotuning(batches), clips.paths, clips.ledger)


def eval_dataset(
    data: Clips,
    class_indices: Sequence[int] | np.ndarray | FailureLedger | None = None,
    ledger: FailureLedger | None = None,
    *,
    sample_rate_hz: int = 22050,
    crop_seconds: float = 5.0,
    batch_size: int = 32,
    with_rows: bool | None = None,
    sample_weight: Sequence[float] | np.ndarray | None = None,
    decoder: str = DEFAULT_DECODER,
    decode_workers: int | None = None,
) -> LedgeredDataset:
    """Returns every clip once, in order, as the windows that cover it (see `pipeline.windows`).

    A clip of d seconds gives ceil(d / crop_seconds) windows, the first at its beginning and the last at its end; a clip
    that is shorter than a window is padded with zeros. With `crop_seconds=0` every clip is one window in a batch of its
    own, so that no padding depends on other clips.

    Without row numbers this is what `fit(validation_data=...)`, `evaluate` and `predict` of Keras take: it knows its number of
    batches, for which the length of every clip is read here. Should nothing of a batch be decodable, the first batches
    come again instead of it, so that the number holds; with row numbers it is left out. Scores are those of windows; for
    scores of clips, average over the windows of each row. `fit` under a strategy wants a first batch that its replicas can
    share evenly, of both datasets.

    Args:
        data: clips with their labels, such as `catalog["validation"]`; or paths of audio files.
        class_indices: of paths, as for `train_dataset`; None: a batch has no targets.
        ledger: records the files that cannot be decoded; such a clip's windows may be missing in part. None makes one, as
            for `train_dataset`.
        sample_rate_hz: rate of the waveforms.
        crop_seconds: length of a window; 0 gives whole clips.
        batch_size: windows a batch.
        with_rows: whether a batch ends with the row of each window: the index of its clip in `data`. Keras would take it
            for a weight or a target. None: only where there are no targets.
        sample_weight: as for `train_dataset`.
        decoder: as for `train_dataset`.
        decode_workers: parallel decodes; None means as many as this process may use cores.

    Returns:
        A dataset of (waveform float32 [batch, samples], target int32 [batch] or [batch, classes], weight float32 [batch], row
        int64 [batch]), without those that there are not: (waveform, target) for `catalog["validation"]`, (waveform, row) for
        paths alone.

    Raises:
        ValueError: a setting is out of range, the arguments do not fit each other, or the decoder's package is not installed.

    Example:
        >>> for waveform, row in eval_dataset(paths, crop_seconds=2.5):  # three MP3s of 6 s
        ...     print(waveform.shape, row.numpy())
        (9, 55125) [0 0 0 1 1 1 2 2 2]
        >>> for waveform, target in eval_dataset(paths, [1, 0, 1], crop_seconds=2.5):
        ...     print(waveform.shape, target.numpy())
        (9, 55125) [1 1 1 0 0 0 1 1 1]
    """
    clips = list_clips(data, class_indices, ledger, sample_weight)
    decoding = make_decoding(sample_rate_hz, crop_seconds, batch_size, decoder, decode_workers)
    if not decoding.crop_samples:
        decoding = dataclasses.replace(decoding, batch_size=1)
    with_rows = not clips.columns if with_rows is None else with_rows
    table = path_table(clips.paths)
    counted = count_windows(table, crop_seconds, decoder, decoding.workers)
    if not with_rows:
        rows, windows = counted.batch(len(clips.paths)).get_single_element()
        number = -(-int(tf.reduce_sum(windows)) // decoding.batch_size)
        counted = tf.data.Dataset.from_tensor_slices((rows, windows))
    rate_and_size = sample_rate_hz, decoding.crop_samples, decoding.batch_size
    batches = decoded_batches(window_crops(counted), table, *rate_and_size, decoder, decoding.workers).map(
        drop_failures(clips.paths, clips.ledger)
    )
    batches = batches.filter(not_empty) if with_rows else fill_up(batches, number, clips, decoding)
    batches = batches.map(column_adder(clips, with_rows)).prefetch(BUFFER_BATCHES)
    if not with_rows:
        batches = batches.apply(tf.data.experimental.assert_cardinality(number))
    return LedgeredDataset(without_autotuning(batches), clips.paths, clips.ledger)


def make_decoding(
    sample_rate_hz: int, crop_seconds: float, batch_size: int, decoder: str, decode_workers: int | None
) -> Decoding:
    """Checks settings that both datasets have.

    Raises:
        ValueError: one is out of range, or the decoder's package is not installed.
    """
    _check(sample_rate_hz, crop_seconds, batch_size, decoder, decode_workers)
    return Decoding(
        sample_rate_hz=sample_rate_hz,
        crop_samples=round(crop_seconds * sample_rate_hz),
        batch_size=batch_size,
        decoder=decoder,
        workers=decode_workers or default_workers(),
    )


def check_lines(sample_rate_hz: int, crop_seconds: float, decoder: str) -> None:
    """Checks that training data with these settings can be had as lines.

    Raises:
        ValueError: the decoder decodes to waveforms alone, no MP3 that it takes has twice the rate, or crops are whole clips or
            too short.
    """
    if not get_decoder(decoder).line_module:
        choices = " or ".join(name for name, known in DECODERS.items() if known.line_module)
        raise ValueError(f"expected decoder {choices} for lines of MP3s, received {decoder!r}")
    module = DECODERS[decoder].load_lines()
    if sample_rate_hz not in module.HALF_RATES_HZ:
        rates = ", ".join(map(str, module.HALF_RATES_HZ))
        raise ValueError(f"expected sample_rate_hz as half of an MP3's ({rates}) for lines, received {sample_rate_hz}")
    if crop_seconds * sample_rate_hz < module.MIN_CROP_SAMPLES:
        found = f"{crop_seconds:g}" if crop_seconds else "0, whole clips"
        shortest = module.MIN_CROP_SAMPLES / sample_rate_hz
        raise ValueError(f"expected crop_seconds of at least {shortest:.3f} for lines, received {found}")


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
    sample_rate_hz: int,
    crop_seconds: float,
    batch_size: int,
    decoder: str,
    decode_workers: int | None,
) -> None:
    get_decoder(decoder).check_package()
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
