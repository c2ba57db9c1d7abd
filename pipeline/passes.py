"""A training pass: crops in the order of `pipeline.order`, decoded, cut in batches and freed of failures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import tensorflow as tf

from pipeline.clip_lists import ClipList
from pipeline.decoding.batches import Batch, decoded_batches, path_table
from pipeline.failed_examples import at_least_one, drop_failures, not_empty
from pipeline.ledgered import LedgeredDataset, without_autotuning
from pipeline.order import Order
from pipeline.pass_counter import count_passes
from pipeline.storage.read_ahead_ops import read_groups_ahead

BUFFER_BATCHES = 2  # decoded ahead of the training step
# What stands for the length of whole clips where there is none: a network may require a minimum of samples even where there
# is no example.
_NO_CLIP_SECONDS = 30

# A function that has batches decoded elsewhere. Its arguments are a dataset of (step, *batch), which runs in any process that
# has called `pipeline.decoding.batches.serve_batches`, and a function that decodes the batch of a step in this process. It returns a dataset of all batches in order.
Delivery = Callable[[tf.data.Dataset, Callable[[int], Batch]], tf.data.Dataset]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoding:
    """How crops become batches.

    Attributes:
        sample_rate_hz: rate of the waveforms.
        crop_samples: length of a crop; 0 for whole clips.
        batch_size: crops a batch.
        decoder: name in `pipeline.decoding.registry`.
        workers: parallel decodes.
    """

    sample_rate_hz: int
    crop_samples: int
    batch_size: int
    decoder: str
    workers: int

    def nothing(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a batch without examples."""
        samples = self.crop_samples or _NO_CLIP_SECONDS * self.sample_rate_hz
        return tf.zeros([0, samples]), tf.zeros([0], tf.int64)

    def keep_empty(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Gives batches (waveform, row) without examples the usual length."""
        nothing = self.nothing()
        return batches.map(lambda *batch: tf.cond(not_empty(*batch), lambda: batch, lambda: nothing))


def all_passes(
    clips: ClipList, order: Order, decoding: Decoding, shard: tuple[int, int], keep_empty: bool
) -> LedgeredDataset:
    """Makes a dataset of which each iteration is the next pass, from `order.epoch` on.

    Args:
        clips: of the passes.
        order: of the first pass.
        decoding: how crops become batches.
        shard: (i, n) for the i-th of n parts of each batch.
        keep_empty: whether a batch without examples is kept; else, so that every pass has the number of batches that it
            promises, a pass which lacks some goes on with its own from its beginning.

    Returns:
        A dataset of (waveform, *columns), which knows its number of batches.
    """
    single = SinglePass(clips, path_table(clips.paths), order, decoding, shard)
    batches = -(-order.examples // decoding.batch_size) if keep_empty else single.batches
    add_columns = column_adder(clips)

    def make_pass(epoch: tf.Tensor) -> tf.data.Dataset:
        this = dataclasses.replace(single, order=dataclasses.replace(order, epoch=epoch))
        if keep_empty:
            return this.kept_empty().map(add_columns)
        return fill_up(this.decoded(), batches, clips, decoding).map(add_columns)

    passes = count_passes(make_pass, batches, int(order.epoch), BUFFER_BATCHES)
    return LedgeredDataset(without_autotuning(passes), clips.paths, clips.ledger)


def fill_up(batches: tf.data.Dataset, number: int, clips: ClipList, decoding: Decoding) -> tf.data.Dataset:
    """Leaves out batches without examples, and goes on with the first ones, so that there are as many as promised.

    Keras trusts the number, and many layers refuse a batch without examples.

    Args:
        batches: of (waveform, row).
        number: of batches that were promised.
        clips: that they are made of; it is an error if none can be decoded.
        decoding: how they were made.
    """
    guard = at_least_one(clips.paths, clips.ledger, decoding.nothing())
    return batches.filter(not_empty).concatenate(guard).repeat().take(number)


@dataclasses.dataclass(frozen=True)
class SinglePass:
    """One pass, or a part of it.

    Attributes:
        clips: of the pass.
        table: their paths, from `path_table`.
        order: their order.
        decoding: how crops become batches.
        shard: (i, n) for the i-th of n parts of each batch.
        first_step: number of batches to leave out at the beginning.
        delivery: has the batches decoded elsewhere.
    """

    clips: ClipList
    table: tf.Tensor
    order: Order
    decoding: Decoding
    shard: tuple[int, int] = (0, 1)
    first_step: int = 0
    delivery: Delivery | None = None

    @property
    def _own_size(self) -> int:
        return self.decoding.batch_size // self.shard[1]

    @property
    def _own_rest(self) -> int:
        """Examples of this part in the last batch, if it is not whole."""
        (part, parts), rest = self.shard, self.order.examples % self.decoding.batch_size
        return rest * (part + 1) // parts - rest * part // parts

    @property
    def _own_examples(self) -> int:
        return self.order.examples // self.decoding.batch_size * self._own_size + self._own_rest

    @property
    def batches(self) -> int:
        """The number of batches with an example of this part, if every file can be decoded."""
        return math.ceil(self._own_examples / self._own_size)

    def kept_empty(self) -> tf.data.Dataset:
        """Makes the dataset of (waveform, row) with as many batches as the whole has; they may be without examples."""
        batches = self.decoded()
        whole_batches, rest = divmod(self.order.examples, self.decoding.batch_size)
        if rest and not self._own_rest and self.first_step <= whole_batches:
            batches = batches.concatenate(tf.data.Dataset.from_tensors(self.decoding.nothing()))
        return self.decoding.keep_empty(batches)

    def decoded(self) -> tf.data.Dataset:
        """Makes the dataset of (waveform, row) without the examples that cannot be decoded."""
        if self.delivery:
            steps = tf.data.Dataset.range(self.batches - self.first_step)
            # Two batches at a time: while one waits for its last crop, the next keeps the cores busy.
            numbered = steps.map(lambda step: (step, *self._decode_step(step)), num_parallel_calls=2)
            batches = self.delivery(without_autotuning(numbered), _on_demand(self._decode_step))
        else:
            crops = tf.data.Dataset.range(self.first_step * self._own_size, self._own_examples).map(self._draw)
            if self.order.has_groups:
                group_size = -(-self.order.group_clips * self.order.crops_per_clip // self.shard[1])
                crops = read_groups_ahead(crops, self.table, group_size)
            batches = self._decode(crops)
        return batches.map(drop_failures(self.clips.paths, self.clips.ledger))

    def _draw(self, own_place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch_size, (part, parts) = self.decoding.batch_size, self.shard
        batch = own_place // self._own_size
        size = tf.minimum(self.order.examples - batch * batch_size, batch_size)
        return self.order.draw(batch * batch_size + size * part // parts + own_place % self._own_size)

    def _decode(self, crops: tf.data.Dataset) -> tf.data.Dataset:
        settings = self.decoding
        rate_and_size = settings.sample_rate_hz, settings.crop_samples, self._own_size
        return decoded_batches(
            crops, self.table, *rate_and_size, settings.decoder, settings.workers, portable=self.delivery is not None
        )

    def _decode_step(self, step: tf.Tensor) -> Batch:
        first = (self.first_step + step) * self._own_size
        places = tf.data.Dataset.range(first, tf.minimum(first + self._own_size, self._own_examples))
        return self._decode(places.map(self._draw)).get_single_element()


def column_adder(clips: ClipList, with_rows: bool = False) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Makes a function for `Dataset.map` that puts in the place of a row what stands beside its waveform.

    Args:
        clips: whose columns they are.
        with_rows: whether the row stays, as the last.

    Returns:
        A function of a batch (waveform, row) that returns (waveform, *columns).
    """
    tables = [tf.constant(column) for column in clips.columns]

    def add(waveform: tf.Tensor, row: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return waveform, *(tf.gather(table, row) for table in tables), *([row] if with_rows else [])

    return add


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
            batches.append(iter(without_autotuning(dataset)))
        wanted.assign(step)
        return next(batches[0])

    return decode
