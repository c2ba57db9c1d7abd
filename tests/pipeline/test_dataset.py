"""Streaming datasets: exact crops, exact passes, repeatable order, and failures that are counted."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from support.places import ROOT

from pipeline.dataset import eval_dataset, iterate, train_dataset
from pipeline.decoding import decode_crop, read_info
from pipeline.failures import FailureBudgetError, FailureLedger

RATE_HZ = 8000


def as_strings(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]


def one_pass(paths: list[Path], **options) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms [examples, samples] and class indices of a pass in which the class is the path's place."""
    ledger = FailureLedger(len(paths), 1.0)
    options = {"sample_rate_hz": RATE_HZ, "crop_seconds": 1.0, "batch_size": 5} | options
    batches = list(train_dataset(as_strings(paths), range(len(paths)), ledger, **options))
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def test_a_pass_holds_every_clip_equally_often(clips):
    waveforms, classes = one_pass(clips, crops_per_clip=3)
    assert waveforms.shape == (36, RATE_HZ) and waveforms.dtype == np.float32
    assert np.bincount(classes).tolist() == [3] * len(clips)
    assert len({waveform.tobytes() for waveform in waveforms}) == 36, "crops of a clip must differ"


def test_crops_are_what_decode_crop_returns_at_the_drawn_position(clips):
    waveforms, classes = one_pass(clips, epoch=2, seed=7)
    place = {int(c): i for i, c in enumerate(classes)}
    for row, path in enumerate(clips):
        position = float(tf.random.stateless_uniform([], seed=[7, 2 * len(clips) + row]))
        np.testing.assert_array_equal(waveforms[place[row]], decode_crop(path, RATE_HZ, RATE_HZ, position))


def test_order_depends_on_seed_and_epoch_alone(clips):
    reference = one_pass(clips, decode_workers=1)
    for workers in (4, None):
        again = one_pass(clips, decode_workers=workers)
        np.testing.assert_array_equal(again[0], reference[0])
        np.testing.assert_array_equal(again[1], reference[1])
    assert one_pass(clips, epoch=1)[1].tolist() != reference[1].tolist()
    assert one_pass(clips, seed=1)[1].tolist() != reference[1].tolist()


def test_whole_clips_are_padded_to_the_longest_of_the_batch(clips):
    ledger = FailureLedger(12)
    for waveform, classes in train_dataset(
        as_strings(clips), range(12), ledger, sample_rate_hz=RATE_HZ, crop_seconds=0, batch_size=4
    ):
        lengths = [len(decode_crop(clips[c], RATE_HZ, 0)) for c in classes]
        assert waveform.shape == (4, max(lengths))
        for row, length, c in zip(waveform.numpy(), lengths, classes, strict=True):
            np.testing.assert_array_equal(row[:length], decode_crop(clips[c], RATE_HZ, 0))
            assert not row[length:].any()


@pytest.mark.parametrize("crop_seconds", [0.7, 1.0, 10.0])
def test_evaluation_covers_every_clip_once_in_order(clips, crop_seconds):
    ledger = FailureLedger(len(clips))
    dataset = eval_dataset(as_strings(clips), ledger, sample_rate_hz=RATE_HZ, crop_seconds=crop_seconds, batch_size=7)
    waveforms, rows = (np.concatenate(part) for part in zip(*((x.numpy(), r.numpy()) for x, r in dataset), strict=True))
    assert rows.tolist() == sorted(rows) and set(rows) == set(range(len(clips)))
    crop_samples = round(crop_seconds * RATE_HZ)
    for row, path in enumerate(clips):
        crops = waveforms[rows == row]
        assert len(crops) == max(1, int(np.ceil(read_info(path).duration_seconds / crop_seconds - 1e-6)))
        np.testing.assert_array_equal(crops[0], decode_crop(path, RATE_HZ, crop_samples, 0.0))
        np.testing.assert_array_equal(
            crops[-1], decode_crop(path, RATE_HZ, crop_samples, 1.0 if len(crops) > 1 else 0.0)
        )


def test_crops_of_evaluation_leave_no_gap(tmp_path: Path):
    # The waveform counts its own samples, so that a crop tells where it was cut.
    size = 23_456
    soundfile.write(tmp_path / "a.wav", np.arange(size, dtype=np.float32), RATE_HZ, subtype="FLOAT")
    (batch,) = eval_dataset([str(tmp_path / "a.wav")], FailureLedger(1), sample_rate_hz=RATE_HZ, crop_seconds=1)
    starts = batch[0].numpy()[:, 0]
    assert starts[0] == 0 and starts[-1] == size - RATE_HZ
    steps = np.diff(starts)
    assert steps.max() <= RATE_HZ and np.ptp(steps) <= 1


def test_whole_clip_evaluation_has_no_padding(clips):
    dataset = eval_dataset(as_strings(clips), FailureLedger(12), sample_rate_hz=RATE_HZ, crop_seconds=0, batch_size=8)
    for (waveform, row), path in zip(dataset, clips, strict=True):
        np.testing.assert_array_equal(waveform[0], decode_crop(path, RATE_HZ, 0))
        assert row.shape == (1,)


@pytest.fixture
def clips_and_bad(clips, tmp_path: Path) -> list[Path]:
    (tmp_path / "bad.mp3").write_bytes(b"not audio" * 100)
    return [*clips[:5], tmp_path / "bad.mp3", *clips[5:], tmp_path / "missing.mp3"]


def test_bad_files_are_left_out_counted_and_shift_no_other_batch(clips_and_bad):
    def batches(bad_are_bad: bool) -> list[set[int]]:
        paths = as_strings(clips_and_bad)
        if not bad_are_bad:
            paths[5] = paths[13] = paths[0]
        ledger = FailureLedger(len(paths), 1.0)
        dataset = train_dataset(paths, range(14), ledger, sample_rate_hz=RATE_HZ, crop_seconds=1, batch_size=4)
        found = [set(y.numpy()) for _, y in dataset]
        if bad_are_bad:
            assert ledger.failures[paths[13]].reason == "file not found"
            assert set(ledger.failures) == {paths[5], paths[13]}
        return found

    assert batches(True) == [batch - {5, 13} for batch in batches(False)]


def test_bad_files_in_evaluation(clips_and_bad):
    ledger = FailureLedger(14, 0.2)
    dataset = eval_dataset(as_strings(clips_and_bad), ledger, sample_rate_hz=RATE_HZ, crop_seconds=1)
    assert set(np.concatenate([row for _, row in dataset])) == set(range(14)) - {5, 13}
    assert len(ledger.failures) == 2


def test_spent_budget_stops_with_names(clips_and_bad):
    ledger = FailureLedger(14, 0.1)  # one of 14
    dataset = train_dataset(as_strings(clips_and_bad), range(14), ledger, sample_rate_hz=RATE_HZ, crop_seconds=1)
    with pytest.raises(FailureBudgetError, match=r"at most 1 undecodable files of 14 .* found 2"):
        list(iterate(dataset, ledger))
    with pytest.raises(FailureBudgetError, match=r"missing\.mp3: file not found"):
        ledger.check()


def test_a_batch_of_failures_alone_is_no_batch(tmp_path: Path):
    paths = [str(tmp_path / f"{i}.mp3") for i in range(6)]
    ledger = FailureLedger(6, 1.0)
    assert list(train_dataset(paths, range(6), ledger, crop_seconds=1, batch_size=2, epoch=0)) == []
    assert len(ledger.failures) == 6


def test_crops_of_a_bad_file_are_counted_once_as_a_file(tmp_path: Path):
    ledger = FailureLedger(1, 1.0)
    list(train_dataset([str(tmp_path / "no.mp3")], [0], ledger, crops_per_clip=5, crop_seconds=1, epoch=0))
    assert [failure.occurrences for failure in ledger.failures.values()] == [5]


@pytest.mark.parametrize("shuffle_clips", [0, 5])
def test_parts_of_batches_and_the_rest_of_a_pass_are_those_of_the_whole(clips_and_bad, shuffle_clips):
    """Thirteen clips in batches of four: of the last, which has one, the first part is empty."""

    def batches(**options) -> list[tuple[np.ndarray, np.ndarray]]:
        dataset = train_dataset(
            as_strings(clips_and_bad[:13]),
            range(13),
            FailureLedger(13, 1.0),
            sample_rate_hz=RATE_HZ,
            crop_seconds=1,
            batch_size=4,
            shuffle_clips=shuffle_clips,
            epoch=0,
            keep_empty=True,
            **options,
        )
        return [(waveform.numpy(), classes.numpy()) for waveform, classes in dataset]

    whole, *parts = batches(), batches(shard=(0, 2)), batches(shard=(1, 2))
    assert [len(part) for part in parts] == [len(whole)] * 2 == [4, 4]
    assert parts[0][-1][0].shape == (0, RATE_HZ) and len(whole[-1][0]) == 1
    for batch, *own in zip(whole, *parts, strict=True):
        for column, of_batch in enumerate(batch):
            np.testing.assert_array_equal(np.concatenate([part[column] for part in own]), of_batch)
    assert [len(batches(first_step=5, shard=(part, 2))) for part in range(2)] == [0, 0]
    for options, reference in (({}, whole), ({"shard": (1, 2)}, parts[1])):
        rest = batches(first_step=2, **options)
        assert len(rest) == 2
        for ours, theirs in zip(rest, reference[2:], strict=True):
            np.testing.assert_array_equal(ours[0], theirs[0])
            np.testing.assert_array_equal(ours[1], theirs[1])


def test_empty_batches_are_kept_for_those_who_count_steps(tmp_path: Path):
    paths = [str(tmp_path / f"{i}.mp3") for i in range(5)]
    for crop_seconds in (1, 0):
        dataset = train_dataset(
            paths, range(5), FailureLedger(5, 1.0), crop_seconds=crop_seconds, batch_size=2, keep_empty=True
        )
        shapes = [tuple(waveform.shape) for waveform, _ in dataset]
        assert shapes == [(0, 22050 * (crop_seconds or 30))] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard": (0, 2)}, "batch_size as a multiple of the 2 parts of a batch, received 5"),
        ({"batch_size": 0}, "batch_size"),
        ({"crop_seconds": -1}, "crop_seconds"),
        ({"crops_per_clip": 0}, "crops_per_clip"),
        ({"shuffle_clips": -1}, "shuffle_clips"),
        ({"sample_rate_hz": 0}, "sample_rate_hz"),
    ],
)
def test_settings_out_of_range(clips, options, message):
    with pytest.raises(ValueError, match=message):
        one_pass(clips, **options)
    with pytest.raises(ValueError, match="received none"):
        one_pass([])


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_budget_out_of_range(rate):
    with pytest.raises(ValueError, match="between 0 and 1"):
        FailureLedger(10, rate)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("crop_seconds", value) for value in (float("nan"), float("inf"), -1.0, 1e9, 601)),
        *(("decode_workers", value) for value in (-3, 10**6)),
        ("sample_rate_hz", 0),
        ("sample_rate_hz", float("nan")),
        ("batch_size", -1),
    ],
)
def test_values_out_of_range_are_one_sentence(setting: str, value: float):
    ledger = FailureLedger(1)
    for make in (lambda: train_dataset(["a.mp3"], [0], ledger, **{setting: value}),
                 lambda: eval_dataset(["a.mp3"], ledger, **{setting: value})):  # fmt: skip
        with pytest.raises(ValueError, match=rf"^expected {setting} .*, received .*$"):
            make()


def test_too_many_failures_of_files_whose_names_are_no_text(tmp_path: Path):
    paths = [os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9%d.mp3" % i) for i in range(3)]
    for path in paths:
        Path(path).write_bytes(b"nothing of the kind")
    ledger = FailureLedger(3, max_failure_rate=0.4)
    with pytest.raises(FailureBudgetError, match="at most 1 undecodable files of 3"):
        list(iterate(eval_dataset(paths, ledger), ledger))
    assert set(ledger.failures) <= set(paths)


@pytest.mark.slow
def test_a_script_ends_while_a_dataset_decodes_ahead(clips):
    """The iterator lives until the interpreter goes down, and its threads wait for Python then."""
    paths = [str(path) for path in clips] * 8
    script = f"""
from pipeline.dataset import train_dataset
batches = iter(train_dataset({paths!r}, [0] * {len(paths)}, crop_seconds=1.0, batch_size=4))
next(batches)
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=120, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
