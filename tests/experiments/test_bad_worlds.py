"""Data that change, lie or attack while they are used: what goes on, what stops, and what is said."""

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf
from fuzz.memory import peak_mib, reset_peak
from support.audio import music, without_length_tag, write_mp3
from support.collections_on_disk import fill, write_tables
from support.small_run import SMALL_RUN
from support.tensorflow_io import DECODER_PARAMS, HAS_TENSORFLOW_IO

from experiments.builders import data
from experiments.evaluation.plots import plot_confusion_matrix
from experiments.runs.run import Run
from experiments.settings import Settings
from pipeline.catalogs.catalog import CatalogError
from pipeline.catalogs.fma import load_fma
from pipeline.catalogs.folders import load_folders
from pipeline.catalogs.splits import GroupFolds
from pipeline.catalogs.table import load_csv
from pipeline.dataset import eval_dataset, iterate, train_dataset
from pipeline.decoding import tfio_decoder
from pipeline.decoding.soundfile_decoder import DecodeError, count_windows, decode_blocks, decode_crop, read_info
from pipeline.failures import FailureBudgetError, FailureLedger
from pipeline.mp3 import frames as mp3_frames

pytestmark = pytest.mark.slow

RATE_HZ = 8000


# Files that change in the middle of an epoch.


@pytest.fixture
def changing(tmp_path: Path) -> list[str]:
    """Sixteen clips of constant bit rate, whose descriptions are remembered."""
    source = write_mp3(tmp_path / "source.mp3", music(3, 16_000), 16_000).read_bytes()
    paths = [str(tmp_path / f"{i:02d}.mp3") for i in range(16)]
    for path in paths:
        Path(path).write_bytes(source)
        decode_crop(path, RATE_HZ, RATE_HZ, 0.5)
    return paths


def disappear(path: str) -> None:
    Path(path).unlink()


def become_garbage(path: str) -> None:
    """Of the same size and time, so that only the contents tell."""
    status = os.stat(path)
    Path(path).write_bytes(np.random.default_rng(0).integers(0, 255, status.st_size, np.uint8).tobytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def become_half(path: str) -> None:
    Path(path).write_bytes(Path(path).read_bytes()[: os.path.getsize(path) // 2])


def become_a_folder(path: str) -> None:
    Path(path).unlink()
    Path(path).mkdir()


def become_a_dangling_link(path: str) -> None:
    Path(path).unlink()
    Path(path).symlink_to(path + ".gone")


CHANGES = {3: disappear, 5: become_garbage, 8: become_half, 11: become_a_folder, 14: become_a_dangling_link}


@pytest.mark.parametrize("decoder", DECODER_PARAMS)
def test_files_change_during_an_epoch(changing, decoder: str):
    ledger = FailureLedger(len(changing), max_failure_rate=5 / 16)
    options = {
        "sample_rate_hz": RATE_HZ,
        "crop_seconds": 1.0,
        "crops_per_clip": 3,
        "batch_size": 4,
        "decode_workers": 1,
    }
    seen = []
    for step, (_, classes) in enumerate(train_dataset(changing, range(16), ledger, decoder=decoder, **options)):
        seen += classes.numpy().tolist()
        if step == 0:
            for row, change in CHANGES.items():
                change(changing[row])
    assert list(ledger.failures) == [changing[row] for row in CHANGES], "the changed files are named, and no others"
    assert all(failure.reason for failure in ledger.failures.values())
    counts = np.bincount(seen, minlength=16)
    assert np.delete(counts, list(CHANGES)).tolist() == [3] * 11, "every other clip occurs as often as asked"
    assert len(seen) + sum(failure.occurrences for failure in ledger.failures.values()) == 48


def test_one_changed_file_more_than_the_budget_stops_the_pass(changing):
    ledger = FailureLedger(len(changing), max_failure_rate=4 / 16)
    batches = iterate(train_dataset(changing, range(16), ledger, sample_rate_hz=RATE_HZ, crop_seconds=1.0), ledger)
    for row, change in CHANGES.items():
        change(changing[row])
    with pytest.raises(FailureBudgetError, match="at most 4 undecodable files of 16"):
        list(batches)


def test_a_file_without_length_tag_that_grows_is_counted_again(tmp_path: Path):
    longer = without_length_tag(write_mp3(tmp_path / "b.mp3", music(4, 16_000), 16_000, variable=True).read_bytes())
    shorter = without_length_tag(write_mp3(tmp_path / "a.mp3", music(1, 16_000), 16_000, variable=True).read_bytes())
    path = tmp_path / "changing.mp3"
    lengths = []
    for contents in (shorter, longer, shorter):
        path.write_bytes(contents)
        lengths.append(read_info(path).samples)
        assert lengths[-1] == len(decode_crop(path, 16_000, 0))
    assert lengths[0] == lengths[2] < lengths[1] / 2


def test_a_file_that_vanishes_while_its_failure_is_looked_at(tmp_path: Path, monkeypatch):
    (tmp_path / "a.mp3").write_bytes(b"not audio")

    def gone(path: str) -> int:
        raise FileNotFoundError(path)

    monkeypatch.setattr("os.path.getsize", gone)
    with pytest.raises(DecodeError, match="file not found"):
        decode_crop(tmp_path / "a.mp3", RATE_HZ, RATE_HZ)


# Promises.


@pytest.mark.parametrize("tag", [b"Info", b"Xing"])
@pytest.mark.parametrize("frames", [10 * 3600 * 16_000 // 576, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
def test_an_mp3_that_claims_hours(tmp_path: Path, tag: bytes, frames: int):
    audio = without_length_tag(write_mp3(tmp_path / "a.mp3", music(2, 16_000), 16_000).read_bytes())
    _, header = mp3_frames.find_frame(audio, 0)
    path = str(tmp_path / "hours.mp3")
    Path(path).write_bytes(mp3_frames.info_frame(header, frames).replace(b"Info", tag) + audio)
    reset_peak()
    before = peak_mib()
    for samples in (RATE_HZ, 0):
        with pytest.raises(DecodeError, match=r"truncated: its header promises .* bytes can hold"):
            decode_crop(path, RATE_HZ, samples, 0.5)
        if not HAS_TENSORFLOW_IO:
            continue
        waveform, error = tfio_decoder.decode_crop(tf.constant(path), RATE_HZ, samples, tf.constant(0.5))
        assert error.numpy().startswith(b"truncated: its header promises") and not waveform.numpy().any()
    with pytest.raises(DecodeError):
        list(decode_blocks(path))
    # Evaluation asks for one crop, not for a million that are not there.
    assert count_windows(path, 0.1) == 1 == tfio_decoder.count_windows(tf.constant(path), 0.1)
    assert peak_mib() - before < 300, "MiB of memory for a file of 30 KB"


def test_a_flac_that_claims_days(tmp_path: Path):
    soundfile.write(tmp_path / "a.flac", music(1, 16_000), 16_000)
    contents = bytearray((tmp_path / "a.flac").read_bytes())
    contents[21] |= 0x0F  # STREAMINFO: 36 bits of the number of samples
    contents[22:26] = b"\xff" * 4
    (tmp_path / "a.flac").write_bytes(contents)
    with pytest.raises(DecodeError):
        decode_crop(tmp_path / "a.flac", 16_000, 0)


# Hostile tables. Texts are data: they are kept as they are in CSV files, where a spreadsheet would run a formula.


FORMULA = "=cmd|' /C calc'!A0"
HOSTILE = (FORMULA, "@SUM(1+1)*cmd", "<script>alert(1)</script>", "$x^{", 'a "quoted", name', "../%s{0}")


def test_hostile_texts_come_through_as_they_are(tmp_path: Path):
    fill(tmp_path / "audio", a=36)
    files = sorted((tmp_path / "audio").glob("**/*.mp3"))
    rows = [
        {"path": str(file), "label": HOSTILE[i % 6], "artist": f"{HOSTILE[i % 6]} {i}", "title": HOSTILE[i % 6],
         "split": ("train", "val", "test")[i // 6 % 3], "track_id": f"{FORMULA}{i}"}
        for i, file in enumerate(files)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    catalog, ledger = data.prepare(Settings(dataset="csv", data_dir=str(tmp_path / "table.csv")))
    assert catalog.labels == tuple(sorted(HOSTILE))
    assert catalog.tracks["artist"].tolist() == [row["artist"] for row in rows]
    plot_confusion_matrix(np.arange(6), np.arange(6), catalog.labels, f"title {HOSTILE[3]}", tmp_path / "confusion.png")
    ledger.max_failure_rate = 1.0
    ledger.record(rows[0]["path"], f"{FORMULA}, and a reason\nof two lines")
    run = Run(tmp_path / "run")
    run.begin(Settings(), catalog)
    run.write_failures(ledger, catalog)
    (read,) = run.failures
    assert (read["track_id"], read["label"], read["path"]) == (f"{FORMULA}0", FORMULA, rows[0]["path"])
    assert run.labels == tuple(sorted(HOSTILE))


@pytest.mark.parametrize("column", ["path", "label", "artist", "album", "title"])
def test_a_field_of_ten_megabytes_is_refused_by_name(tmp_path: Path, column: str):
    row = {"path": "a.mp3", "label": "Rock", "artist": "A", "album": "", "title": "T"}
    pd.DataFrame([row, row | {column: "x" * 10_000_000}]).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(CatalogError, match=rf"column {column}, found 1000\d\d\d\d") as error:
        load_csv(tmp_path / "table.csv")
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("label", ["\x1b[31mRock", "Rock\nJazz", "Rock\x7f"])
def test_control_characters_in_a_label_are_refused(tmp_path: Path, label: str):
    # It would be printed, and a terminal obeys them.
    pd.DataFrame({"path": ["a.mp3", "b.mp3"], "label": [label, "Jazz"]}).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(CatalogError, match="control characters") as error:
        load_csv(tmp_path / "table.csv")
    assert str(error.value).isprintable()


def test_messages_stay_short_whatever_a_table_holds(tmp_path: Path):
    pd.DataFrame({"path": "a.mp3", "label": "Rock", "split": [f"split {i}" for i in range(10_000)]}).to_csv(
        tmp_path / "table.csv", index=False
    )
    with pytest.raises(CatalogError, match=r"expected every split .* … .*mend the table") as error:
        load_csv(tmp_path / "table.csv")
    assert len(str(error.value)) < 2100


def test_nul_bytes_in_a_table_are_refused(tmp_path: Path):
    # The parser would end the field there: a file that the table does not name.
    (tmp_path / "table.csv").write_bytes(b"path,label\na.mp3\0.txt,Rock\n")
    with pytest.raises(CatalogError, match="NUL bytes"):
        load_csv(tmp_path / "table.csv")


def test_rows_with_more_fields_than_the_header_are_refused(tmp_path: Path):
    (tmp_path / "table.csv").write_text("path,label\nAC/DC, Live.mp3,Rock\nB, C.mp3,Jazz\n")
    with pytest.raises(CatalogError, match="as many fields in every row"):
        load_csv(tmp_path / "table.csv")


def test_where_the_paths_of_tables_may_lead(tmp_path: Path):
    # A CSV of paths is the user's own list: files may lie anywhere.
    (tmp_path / "tables").mkdir()
    rows = [("../music/a.mp3", "Rock"), ("/music/b.mp3", "Rock"), ("c.mp3", "Jazz")]
    with open(tmp_path / "tables" / "t.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *((*row, "train") for row in rows)])
    assert load_csv(tmp_path / "tables" / "t.csv").tracks["path"].tolist() == [
        f"{tmp_path}/tables/../music/a.mp3",
        "/music/b.mp3",
        f"{tmp_path}/tables/c.mp3",
    ]
    # metadata.csv only adds to files that are there: its paths are never opened.
    fill(tmp_path / "folders", Rock=9)
    (tmp_path / "secret.mp3").touch()
    (tmp_path / "folders" / "metadata.csv").write_text(
        f"path,artist\n../secret.mp3,X\n{tmp_path}/secret.mp3,Y\n"
        + "".join(f"Rock/album{i % 3}/{i:03d}.mp3,artist {i}\n" for i in range(9))
    )
    tracks = load_folders(tmp_path / "folders").tracks
    assert len(tracks) == 9 and all(path.startswith(f"{tmp_path}/folders/Rock/") for path in tracks["path"])


@pytest.mark.parametrize("track_id", ["../../../etc/passwd", "/etc/passwd", "-5", "1e3", "9" * 30, "5\0", ""])
def test_fma_tables_name_no_file_outside_the_data_set(tmp_path: Path, track_id: str):
    table = write_tables(tmp_path) / "fma_metadata" / "tracks.csv"
    table.write_text(table.read_text().replace("\n5,", f"\n{track_id},", 1))
    try:
        paths = load_fma(tmp_path).tracks["path"].tolist()
    except CatalogError:
        return
    # A NUL ends a field, and what stands before it is a number.
    assert track_id == "5\0" and paths == [f"{tmp_path}/fma_small/000/{name}.mp3" for name in ("000002", "000005")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"[12, 25]"', "[" * 100_000, "cannot be read"),
        ('"[12, 25]"', "[[12]]", "cannot be read"),
        (",training,small", ",Training set,small", "'Training set'"),
        ("track_id", "xtrack_id", "cannot be read"),
    ],
)
def test_hostile_fma_tables(tmp_path: Path, old: str, new: str, message: str):
    table = write_tables(tmp_path) / "fma_metadata" / "tracks.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(CatalogError, match=message):
        load_fma(tmp_path)


# A hundred thousand clips.


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_group_folds_are_scikit_learns(rng):
    from sklearn.model_selection import StratifiedGroupKFold

    for trial in range(20):
        labels, groups = rng.choice(5, 200, p=rng.dirichlet(np.ones(5))), rng.integers(0, 40, 200)
        ours, theirs = (
            [fold.tolist() for _, fold in splitter(10, shuffle=True, random_state=trial).split(labels, labels, groups)]
            for splitter in (GroupFolds, StratifiedGroupKFold)
        )
        assert ours == theirs


def test_a_hundred_thousand_rows_of_which_three_have_a_file(tmp_path: Path, capsys):
    count = 100_000
    clip = write_mp3(tmp_path / "clip.mp3", music(1.5, 16_000), 16_000)
    for i in range(3):
        os.link(clip, tmp_path / f"{i}.mp3")
    rows = np.arange(count)
    pd.DataFrame(
        {"path": [f"{i}.mp3" for i in rows], "label": rows % 3, "artist": rows // 7 % 9000, "split": "train"}
    ).assign(split=np.array(["train", "val", "test"])[rows // 7 % 9000 % 3]).to_csv(tmp_path / "t.csv", index=False)
    settings = Settings(dataset="csv", data_dir=str(tmp_path / "t.csv"), **SMALL_RUN | {"max_failure_rate": 1.0})
    reset_peak()
    before = peak_mib()
    catalog, ledger = data.prepare(settings)
    assert len(catalog.tracks) == count and len(ledger.failures) == count - 3
    assert "note: 99997 clips will be skipped" in capsys.readouterr().out
    paths = [str(tmp_path / f"{i % 3}.mp3") for i in range(count)]
    dataset = train_dataset(paths, rows % 3, FailureLedger(count), sample_rate_hz=RATE_HZ, crop_seconds=1, batch_size=4)
    assert next(iter(dataset))[0].shape == (4, RATE_HZ)
    evaluation = eval_dataset(paths, FailureLedger(count), sample_rate_hz=RATE_HZ, crop_seconds=1, batch_size=4)
    assert next(iter(evaluation))[0].shape == (4, RATE_HZ)
    assert peak_mib() - before < 400, "MiB of memory"
