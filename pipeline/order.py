"""The order of a training pass: which crop of which clip comes at each place.

The order has no state: it is a function of seed, epoch and place. So a pass is an exact permutation without a shuffle
buffer, and may begin at any place.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

RUNS_PER_GROUP = 16


@dataclasses.dataclass(frozen=True)
class Order:
    """One pass over random crops of every clip.

    Attributes:
        clips: number of clips.
        crops_per_clip: how often each occurs.
        seed: the same seed and epoch give the same pass.
        epoch: number of the pass, from 0; inside a graph an int64 scalar.
        shuffle_clips: how many clips are shuffled together at most, in a group; 0 shuffles all clips. A group consists of
            up to `RUNS_PER_GROUP` runs of neighbouring clips from random places of the data set, so that it can be read
            nearly in order. The groups and the bounds of their runs differ from epoch to epoch.
        is_shuffled: whether the examples are shuffled; if not, the clips come in order, `crops_per_clip` times.
        from_beginning: whether every crop is the beginning of its clip, rather than from a random place in it.

    Raises:
        ValueError: a setting is out of range.

    Example:
        >>> order = Order(clips=4, crops_per_clip=2, seed=0, epoch=0)
        >>> clips = [int(order.draw(tf.constant(place, tf.int64))[0]) for place in range(order.examples)]
        >>> sorted(clips)
        [0, 0, 1, 1, 2, 2, 3, 3]
    """

    clips: int
    crops_per_clip: int = 1
    seed: int = 0
    epoch: int | tf.Tensor = 0
    shuffle_clips: int = 0
    is_shuffled: bool = True
    from_beginning: bool = False

    def __post_init__(self) -> None:
        if self.crops_per_clip < 1:
            raise ValueError(f"expected crops_per_clip of at least 1, received {self.crops_per_clip}")
        if self.shuffle_clips < 0:
            raise ValueError(f"expected shuffle_clips of at least 1, or 0 for all, received {self.shuffle_clips}")

    @property
    def examples(self) -> int:
        """The number of examples in the pass, and so of places."""
        return self.clips * self.crops_per_clip

    @property
    def group_clips(self) -> int:
        """The number of clips in a group; the last group may have fewer."""
        if not (self.is_shuffled and 0 < self.shuffle_clips < self.clips):
            return self.clips
        return self.shuffle_clips - self.shuffle_clips % self._run_clips

    @property
    def _run_clips(self) -> int:
        return -(-self.shuffle_clips // RUNS_PER_GROUP)

    @property
    def has_groups(self) -> bool:
        """Whether the pass has more than one group."""
        return self.group_clips < self.clips

    def draw(self, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws the example at a place.

        Args:
            place: int64 scalar.

        Returns:
            The example's clip, int64 scalar, and the position of its crop in the clip, float32 scalar from 0 (beginning)
            to 1 (end).
        """
        if self.has_groups:
            example = self._example_of_group(place)
        else:
            example = self._shuffled(place, self.examples, self.epoch) if self.is_shuffled else place
        if self.from_beginning:
            return example % self.clips, tf.zeros([])
        # Another generator than the permutation's, with the same seed.
        position = tf.random.stateless_uniform([], seed=tf.stack([self.seed, self.epoch * self.examples + example]))
        return example % self.clips, position

    def _example_of_group(self, place: tf.Tensor) -> tf.Tensor:
        group = place // (self.group_clips * self.crops_per_clip)
        first = group * self.group_clips
        clips = tf.minimum(self.clips - first, self.group_clips)
        groups = -(-self.clips // self.group_clips)
        example = self._shuffled(
            place - first * self.crops_per_clip, clips * self.crops_per_clip, self.epoch * groups + group
        )
        return example // clips * self.clips + self._clip(first + example % clips)

    def _clip(self, place: tf.Tensor) -> tf.Tensor:
        """Returns the clip at a place of the order of runs, in which every clip occurs once."""
        length = self._run_clips
        runs = self.clips // length  # of full length; what is left over comes last
        run = tf.minimum(place // length, runs)
        run = tf.where(run < runs, self._shuffled(tf.minimum(run, runs - 1), runs, self.epoch), run)
        begin = tf.random.stateless_uniform([], [self.seed, self.epoch], maxval=self.clips, dtype=tf.int64)
        return (begin + run * length + place % length) % self.clips

    def _shuffled(self, place: tf.Tensor, places: int | tf.Tensor, number: int | tf.Tensor) -> tf.Tensor:
        return tf.random.experimental.index_shuffle(place, seed=[self.seed, number], max_index=places - 1)
