"""The same file twice: in two splits, under two labels, or equal byte for byte."""

import hashlib
import os
from pathlib import Path

import pandas as pd
import pytest

from experiments.builders.data import prepare
from experiments.settings import Settings
from pipeline.catalogs import duplicates
from pipeline.catalogs.catalog import CatalogError, make_catalog
from pipeline.catalogs.duplicates import ClipLeakError, join_repeated_files, note_equal_files

SPLITS = ("training", "validation", "test")


def catalog_of(*rows: tuple[str, str, str], multi_label: bool = False):
    table = pd.DataFrame(rows, columns=["path", "label", "split"])
    return make_catalog(table.assign(track_id=range(len(rows))), (), (), multi_label)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in "abc":
        (tmp_path / f"{name}.mp3").write_bytes(name.encode())
    (tmp_path / "link.mp3").symlink_to("a.mp3")
    os.link(tmp_path / "a.mp3", tmp_path / "hard.mp3")
    return tmp_path


@pytest.mark.parametrize("again", ["a.mp3", "./a.mp3", "x/../a.mp3", "link.mp3", "gone.mp3"])
def test_a_file_in_two_splits_is_refused_as_an_artist_is(files: Path, again: str):
    first = "gone.mp3" if again == "gone.mp3" else "a.mp3"
    catalog = catalog_of((f"{files}/{first}", "Rock", "training"), (f"{files}/{again}", "Rock", "test"))
    with pytest.raises(ClipLeakError, match=rf"found 1 in several: '{files}/{first}'; .*--allow_artist_leak"):
        join_repeated_files(catalog)
    allowed = join_repeated_files(catalog, allow_leak=True)
    assert len(allowed.tracks) == 2 and "1 files are in several splits" in allowed.notes[0]


def test_a_file_under_two_labels_is_refused(files: Path):
    rows = [(f"{files}/a.mp3", "Rock", "training"), (f"{files}/link.mp3", "Jazz", "training")]
    for multi_label in (False, True):
        with pytest.raises(CatalogError, match=r"under one label, found 1 .*with --multi_label, .* as Rock\|Folk"):
            join_repeated_files(catalog_of(*rows, multi_label=multi_label), one_split=False)
    allowed = join_repeated_files(catalog_of(*rows), allow_leak=True)
    assert len(allowed.tracks) == 2 and "1 files are under several labels" in allowed.notes[0]


def test_a_file_twice_in_one_split_counts_once(files: Path):
    rows = [(f"{files}/{name}.mp3", "Rock", "training") for name in ("a", "b", "a", "link", "hard", "gone", "gone")]
    joined = join_repeated_files(catalog_of(*rows))
    assert joined.tracks["track_id"].tolist() == [0, 1, 4, 5]
    assert "3 rows name a file a second time" in joined.notes[0]
    assert [item.path for item in joined.left_out] == [f"{files}/link.mp3"]  # the others' path is a clip's


def test_clips_in_shards_are_told_apart_by_the_file_that_was_packed():
    shard = "gs://bucket/records-00000-of-00001.tfrecord"
    rows = [
        (f"{shard}#{i}+1+2:{name}", "Rock", split) for i, (name, split) in enumerate(zip("abb", SPLITS, strict=True))
    ]
    assert join_repeated_files(catalog_of(*rows[:2])) is not None
    with pytest.raises(ClipLeakError, match="found 1 in several: 'b'"):
        join_repeated_files(catalog_of(*rows))
    assert note_equal_files(catalog_of(*rows)).notes == ()


def test_files_equal_byte_by_byte_are_those_of_one_hash(tmp_path: Path, rng):
    contents = [rng.bytes(9000) for _ in range(4)]
    contents += [contents[0][:-1] + b"x", contents[1][:4500], b"", rng.bytes(9000)]
    rows = []
    for place, which in enumerate([0, 1, 2, 3, 4, 5, 6, 6, 0, 1, 2, 7]):
        path = tmp_path / f"{place:02d}.mp3"
        path.write_bytes(contents[which])
        rows.append((str(path), "Rock" if place != 9 else "Jazz", "test" if place == 8 else "training"))
    rows.append((str(tmp_path / "gone.mp3"), "Rock", "test"))
    catalog = note_equal_files(catalog_of(*rows))
    by_hash: dict[str, list] = {}
    for path, label, split in rows[:-1]:
        by_hash.setdefault(hashlib.md5(Path(path).read_bytes()).hexdigest(), []).append((path, label, split))
    apart = [group for group in by_hash.values() if len({row[1:] for row in group}) > 1]
    expected = {row[0] for group in apart for row in group}
    assert expected == {f"{tmp_path}/{place:02d}.mp3" for place in (0, 8, 1, 9)}
    (note,) = catalog.notes
    assert note.startswith("4 files equal others byte for byte")
    assert {path for path, *_ in rows if repr(path) in note} == expected
    assert len(catalog.tracks) == len(rows)


def test_only_files_of_one_size_in_different_splits_or_labels_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    read = []
    monkeypatch.setattr(duplicates, "hash_file", lambda path: read.append(path) or (1, path))
    rows = []
    for name, data, split in (
        ("a", b"11", "training"),
        ("b", b"11", "training"),
        ("c", b"222", "test"),
        ("d", b"4444", "test"),
    ):
        (tmp_path / name).write_bytes(data)
        rows.append((str(tmp_path / name), "Rock", split))
    assert note_equal_files(catalog_of(*rows)).notes == () and not read
    (tmp_path / "d").write_bytes(b"33")  # of a's size, but not of its bytes
    assert note_equal_files(catalog_of(*rows)).notes == () and not read


def test_training_refuses_and_names(tmp_path: Path, capsys):
    rows = [(f"{label}{i}.mp3", label, SPLITS[i % 3]) for label in "xy" for i in range(9)]
    for path, *_ in rows:
        (tmp_path / path).write_text(path)
    (tmp_path / "y0.mp3").write_text("x1.mp3")
    table = pd.DataFrame(rows, columns=["path", "label", "split"])
    settings = Settings(dataset="csv", data_dir=str(tmp_path / "t.csv"))
    table.to_csv(tmp_path / "t.csv", index=False)
    prepare(settings)
    shown = capsys.readouterr().out
    assert f"'{tmp_path}/x1.mp3' (x, validation) = '{tmp_path}/y0.mp3' (y, training)" in shown
    pd.concat([table, pd.DataFrame([("x\\..\\x0.mp3", "x", "test")], columns=table.columns)]).to_csv(
        tmp_path / "t.csv", index=False
    )
    with pytest.raises(ClipLeakError):
        prepare(settings)
    prepare(settings, ("test",))  # only one split is looked at
