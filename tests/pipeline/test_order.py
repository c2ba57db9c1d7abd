"""The order of a training pass, and reading ahead in it."""

import gc
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipeline.dataset import train_dataset
from pipeline.failures import FailureLedger
from pipeline.order import RUNS_PER_GROUP, Order
from pipeline.storage import read_ahead as module
from pipeline.storage import read_ahead_ops
from pipeline.storage.clips import RecordSpan
from pipeline.storage.read_ahead import read_ahead


def draws(order: Order) -> tuple[np.ndarray, np.ndarray]:
    drawn = tf.data.Dataset.range(order.examples).map(order.draw).batch(order.examples).get_single_element()
    return tuple(column.numpy() for column in drawn)


def runs(clips: np.ndarray, total: int) -> int:
    """Number of runs of neighbours, where the first clip follows the last."""
    present = np.isin(np.arange(total), clips)
    return int((present & ~np.roll(present, 1)).sum())


@pytest.mark.parametrize(
    ("clips", "crops_per_clip", "shuffle_clips"),
    [
        (1, 1, 0),
        (100, 3, 0),
        (100, 3, 100),
        (100, 3, 5),
        (7, 2, 1),
        (2, 4, 1),
        (1000, 1, 64),
        (1000, 1, 63),
        (1001, 2, 200),
        (997, 4, 333),
    ],
)
def test_a_pass_is_a_permutation_in_groups(clips, crops_per_clip, shuffle_clips):
    order = Order(clips, crops_per_clip, seed=5, epoch=2, shuffle_clips=shuffle_clips)
    rows, positions = draws(order)
    assert np.bincount(rows, minlength=clips).tolist() == [crops_per_clip] * clips
    assert len(set(positions)) > 0.99 * len(positions) and positions.min() >= 0 and positions.max() < 1
    assert order.has_groups == (0 < shuffle_clips < clips) and order.group_clips <= (shuffle_clips or clips)
    size = order.group_clips * crops_per_clip
    for begin in range(0, len(rows), size):
        group, times = np.unique(rows[begin : begin + size], return_counts=True)
        assert set(times) == {crops_per_clip}
        # The rest that fills no run is one more.
        assert runs(group, clips) <= min(len(group), RUNS_PER_GROUP + 1)


def test_all_clips_are_shuffled_together_unless_asked():
    """The order of runs of earlier versions, which a continued run repeats."""
    rows, positions = draws(Order(50, 2, seed=3, epoch=4))
    for place in (0, 17, 99):
        example = int(tf.random.experimental.index_shuffle(place, seed=[3, 4], max_index=99))
        assert rows[place] == example % 50
        assert positions[place] == tf.random.stateless_uniform([], seed=[3, 4 * 100 + example])


def test_seed_and_epoch_change_groups_and_what_is_in_them():
    reference = draws(Order(640, 2, seed=1, epoch=1, shuffle_clips=160))
    np.testing.assert_array_equal(draws(Order(640, 2, seed=1, epoch=1, shuffle_clips=160)), reference)
    for seed, epoch in ((1, 2), (2, 1)):
        rows, positions = draws(Order(640, 2, seed=seed, epoch=epoch, shuffle_clips=160))
        assert not set(positions) & set(reference[1])
        shared = len(set(rows[:320]) & set(reference[0][:320]))
        assert 0 < shared < 120  # of 160; by chance 40


def test_within_a_group_clips_are_mixed():
    rows, _ = draws(Order(1600, 1, shuffle_clips=800))
    assert np.abs(np.diff(rows[:800])).mean() > 300, "neighbours in the data set must not be neighbours in a batch"


@pytest.fixture
def reads(monkeypatch) -> list[tuple[str, int, int]]:
    """(file, first byte, bytes) of what is read ahead."""
    found = []
    open_file = module.open_file

    class Spy:
        def __init__(self, path: str):
            self.path, self.file, self.begin, self.size = path, open_file(path), 0, 0

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            found.append((Path(self.path).name, self.begin, self.size))
            self.file.close()

        def seek(self, begin: int) -> None:
            self.file.seek(begin)
            self.begin = begin

        def read(self, size: int) -> bytes:
            data = self.file.read(size)
            self.size += len(data)
            return data

    monkeypatch.setattr(module, "open_file", Spy)
    return found


def test_shards_are_read_from_beginning_to_end(tmp_path: Path, reads):
    for name, size in (("a.tfrecord", 5_000_000), ("b.tfrecord", 3_000), ("c.mp3", 2_500_000), ("b.mp3", 10)):
        (tmp_path / name).write_bytes(bytes(size))
    clips = [
        RecordSpan(str(tmp_path / name), record, 50, length, "x.mp3")
        for name, record, length in (
            *(("b.tfrecord", 100, 900), ("a.tfrecord", 4_000_000, 99_950)),
            *(("a.tfrecord", 1_000, 1_449_950), ("a.tfrecord", 0, 900), ("a.tfrecord", 2_000_000, 499_950)),
            *(("b.tfrecord", 2_000, 9_000), ("gone.tfrecord", 0, 10)),
        )
    ]
    read_ahead(
        [*map(str, clips), "gs://bucket/d.mp3", *(str(tmp_path / name) for name in ("c.mp3", "b.mp3", "gone.mp3"))]
    )
    assert reads == [
        *(("b.mp3", 0, 10), ("c.mp3", 0, 2_500_000)),
        # A gap of half a million bytes is read, one of a million and a half is skipped.
        *(("a.tfrecord", 0, 2_500_000), ("a.tfrecord", 4_000_000, 100_000)),
        ("b.tfrecord", 100, 2_900),  # it is shorter than its index says
    ]


def test_a_group_is_read_before_its_crops_are_decoded(clips, reads):
    ledger = FailureLedger(len(clips))
    paths = [str(path) for path in clips]
    options = {"sample_rate_hz": 8000, "crop_seconds": 1, "crops_per_clip": 3, "batch_size": 5}
    batches = list(train_dataset(paths, range(len(paths)), ledger, shuffle_clips=4, **options))
    rows = np.concatenate([classes for _, classes in batches])
    assert sorted(name for name, _, _ in reads) == sorted(path.name for path in clips)
    assert all(begin == 0 and size == (clips[0].parent / name).stat().st_size for name, begin, size in reads)
    for group in range(3):
        read = [name for name, _, _ in reads[4 * group : 4 * group + 4]]
        assert read == sorted(read) and set(read) == {clips[row].name for row in rows[12 * group : 12 * group + 12]}
    reads.clear()
    list(train_dataset(paths, range(len(paths)), ledger, **options))
    assert not reads


def test_whoever_leaves_does_not_wait_for_a_group(clips, monkeypatch):
    """It is read in slices; here of one clip each, which take a while."""
    monkeypatch.setattr(read_ahead_ops, "_CLIPS_AT_ONCE", 1)
    started = []
    monkeypatch.setattr(read_ahead_ops, "read_ahead", lambda paths: started.append(list(paths)) or time.sleep(0.3))
    paths = [str(path) for path in clips]
    ledger = FailureLedger(len(paths))
    options = {"sample_rate_hz": 8000, "crop_seconds": 1, "batch_size": 2, "shuffle_clips": 4}
    batches = iter(train_dataset(paths, range(len(paths)), ledger, **options))
    next(batches)
    del batches
    gc.collect()
    count = len(started)
    assert 4 <= count < 8
    time.sleep(1)
    assert len(started) == count


def test_groups_smaller_than_the_parts_of_a_batch(clips):
    ledger = FailureLedger(len(clips))
    options = {"sample_rate_hz": 8000, "crop_seconds": 1, "batch_size": 4, "shuffle_clips": 1}
    paths = [str(path) for path in clips]
    parts = [train_dataset(paths, range(12), ledger, shard=(part, 2), **options) for part in range(2)]
    assert sorted(np.concatenate([classes for part in parts for _, classes in part])) == list(range(12))
