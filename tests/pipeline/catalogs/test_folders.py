"""Folders of music as people have them: wrappers, splits, labels without audio, and tables beside them."""

import os
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from support.collections_on_disk import fill

from pipeline.catalogs.catalog import CatalogError, check_artists, check_splits
from pipeline.catalogs.folders import load_folders
from pipeline.catalogs.table import load_csv


def notes(catalog) -> str:
    return "\n".join(catalog.notes)


@pytest.mark.parametrize("wrapper", ["genres_original", "data/music", "train"])
def test_a_single_folder_around_the_labels_is_gone_through(tmp_path: Path, wrapper: str):
    fill(tmp_path / wrapper, Rock=9, Jazz=9)
    (tmp_path / "README.md").touch()
    (tmp_path / "stray.mp3").touch()
    catalog = load_folders(tmp_path)
    assert catalog.labels == ("Jazz", "Rock") and len(catalog.tracks) == 18
    assert f"the folders in '{wrapper}'" in notes(catalog)
    assert catalog.tracks["track_id"].str.startswith(f"{wrapper}/").all()


def test_a_single_label_stays_one(tmp_path: Path):
    for i in range(9):
        (tmp_path / "a" / "Rock").mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / "Rock" / f"{i}.mp3").touch()
    assert load_folders(tmp_path).labels == ("Rock",)
    fill(tmp_path / "b", Rock=9)  # with albums in it: they would be the labels, unless it is asked for
    assert load_folders(tmp_path / "b").labels == ("album0", "album1", "album2")
    assert load_folders(tmp_path / "b", genres=("rock",)).labels == ("Rock",)


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "VALID", "Test"), ("train", "validation", "test")]
)
@pytest.mark.parametrize("wrapper", ["", "data"])
def test_split_folders_are_splits(tmp_path: Path, names: tuple[str, ...], wrapper: str):
    for name, count in zip(names, (6, 3, 3), strict=True):
        fill(tmp_path / wrapper / name, Rock=count, Jazz=count)
    catalog = load_folders(tmp_path)
    assert catalog.labels == ("Jazz", "Rock")
    split = dict(zip(names, ("training", "validation", "test"), strict=True))
    depth = 1 if wrapper else 0
    expected = [split[track_id.split("/")[depth]] for track_id in catalog.tracks["track_id"]]
    assert catalog.tracks["split"].tolist() == expected
    check_splits(catalog)


def test_validation_is_taken_from_training_where_there_is_none(tmp_path: Path):
    fill(tmp_path / "train", Rock=20, Jazz=20)
    fill(tmp_path / "test", Rock=5, Jazz=5)
    catalog = load_folders(tmp_path, seed=1)
    counts = catalog.tracks.groupby(["label", "split"]).size().unstack()
    assert (counts["validation"] == 2).all() and (counts["training"] == 18).all() and (counts["test"] == 5).all()
    held = catalog.tracks.loc[catalog.tracks["split"] == "validation", "track_id"]
    assert held.str.startswith("train/").all() and "drawn by seed 1" in notes(catalog)
    assert load_folders(tmp_path, seed=1).tracks.equals(catalog.tracks)
    assert not load_folders(tmp_path, seed=2).tracks.equals(catalog.tracks)


def test_splits_below_the_labels_are_splits(tmp_path: Path):
    for label in ("Rock", "Jazz"):
        fill(tmp_path / label, train=6, val=3, test=3)
    catalog = load_folders(tmp_path)
    assert catalog.labels == ("Jazz", "Rock")
    meant = {"train": "training", "val": "validation", "test": "test"}
    assert catalog.tracks["split"].tolist() == [meant[path.split("/")[1]] for path in catalog.tracks["track_id"]]
    fill(tmp_path / "Rock", bonus=3)  # then they are albums
    assert "are splits" not in notes(load_folders(tmp_path))


def test_a_label_without_audio_in_one_split_is_said(tmp_path: Path):
    fill(tmp_path / "train", Rock=9, Jazz=9)
    fill(tmp_path / "test", Rock=9)
    (tmp_path / "test" / "Jazz").mkdir()
    (tmp_path / "test" / "Jazz" / "a.m4a").touch()
    catalog = load_folders(tmp_path)
    assert "1 folder of a label without audio in this split" in notes(catalog)
    assert f"{tmp_path}/test/Jazz/" in [item.path for item in catalog.left_out]


def test_split_names_beside_other_labels_are_labels_and_that_is_said(tmp_path: Path):
    fill(tmp_path, train=9, test=9, Jazz=9)
    catalog = load_folders(tmp_path)
    assert catalog.labels == ("Jazz", "test", "train") and "beside them: 'Jazz'" in notes(catalog)


def test_split_folders_without_labels_are_refused(tmp_path: Path):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.mp3").touch()
    with pytest.raises(CatalogError, match=r"label folders in the split folders 'test', 'train'"):
        load_folders(tmp_path)


def test_every_file_is_a_clip_or_left_out(tmp_path: Path):
    fill(tmp_path, Rock=12, Jazz=12)
    for name in ("Folk/1.wma", "Empty/", ".Trash-1000/Rock/1.mp3", "stray.mp3", "Rock/list.m3u", "Jazz/2.m4a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    (tmp_path / "metadata.csv").write_text(
        "path,artist\n"
        + "".join(f"{name}/album{i % 3}/{i:03d}.mp3,{i}{name}\n" for name in ("Rock", "Jazz") for i in range(12))
    )
    catalog = load_folders(tmp_path, genres=("Rock",))
    on_disk = {f"{folder}/{name}" for folder, _, names in os.walk(tmp_path) for name in names}
    left_out = [item.path for item in catalog.left_out if not item.is_folder]
    assert sorted([*catalog.tracks["path"], *left_out]) == sorted(on_disk)
    assert "2 labels without audio ('Empty', 'Folk')" in notes(catalog) and "1 .m4a file, 1 .wma file" in notes(catalog)
    reasons = {item.path: item.reason for item in catalog.left_out}
    assert reasons[f"{tmp_path}/Jazz/album0/000.mp3"] == "its label is not among --genres"


def test_a_folder_without_readable_audio_names_the_endings(tmp_path: Path):
    for name in ("Rock/1.m4a", "Rock/2.m4a", "Jazz/3.wma", "Jazz/cover.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(CatalogError, match=r"found none; .*2 \.m4a files, 1 \.wma file .*1 \.jpg.*files read: .*\.mp3"):
        load_folders(tmp_path)


# The table beside the folders.


def write_metadata(root: Path, rewrite, count: int = 12, header: str = "path,artist", separator: str = ",") -> None:
    rows = [
        (rewrite(f"{label}/album{i % 3}/{i:03d}.mp3"), f"{label} {i // 2}")
        for label in ("Rock", "Jazz")
        for i in range(count)
    ]
    text = "\n".join([header, *(separator.join(f'"{cell}"' for cell in row) for row in rows)])
    (root / "metadata.csv").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda path: path.replace("/", "\\"),
        lambda path: "./" + path,
        lambda path: path + " ",
        lambda path: path.replace("/album", "/../" + path.split("/")[0] + "/./album"),
        lambda path: "{root}/" + path,
        lambda path: "music/" + path,
        lambda path: ".\\" + path.replace("/", "\\"),
    ],
)
def test_paths_of_metadata_are_compared_normalised(tmp_path: Path, rewrite):
    root = fill(tmp_path / "music", Rock=12, Jazz=12)
    write_metadata(root, lambda path: rewrite(path).replace("{root}", str(root)))
    catalog = load_folders(root)
    assert (catalog.tracks["artist"] != "").all()
    check_artists(catalog.tracks)
    assert "artists (or albums) kept together" in notes(catalog) and "24 rows" in notes(catalog)


@pytest.mark.parametrize(("disk", "table"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_composed_and_decomposed_names_are_one(tmp_path: Path, disk: str, table: str):
    for i in range(9):
        path = tmp_path / unicodedata.normalize(disk, f"Café/Zoé/Motörhead {i}.mp3")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    rows = [(unicodedata.normalize(table, f"Café/Zoé/Motörhead {i}.mp3"), f"Zoé {i // 2}") for i in range(9)]
    pd.DataFrame(rows, columns=["path", "artist"]).to_csv(tmp_path / "metadata.csv", index=False)
    catalog = load_folders(tmp_path, genres=("Café",))
    assert catalog.tracks["artist"].nunique() == 5 and (catalog.tracks["artist"] != "").all()
    pd.DataFrame(rows, columns=["path", "artist"]).assign(label="x").to_csv(tmp_path / "t.csv", index=False)
    listed = load_csv(tmp_path / "t.csv")
    assert all(os.path.isfile(path) for path in listed.tracks["path"])
    assert sorted(listed.tracks["path"]) == sorted(catalog.tracks["path"])


def test_rows_without_file_and_files_without_row_are_counted_and_named(tmp_path: Path):
    fill(tmp_path, Rock=12, Jazz=12)
    write_metadata(tmp_path, lambda path: path.replace("Rock/album0/000", "Rock/album0/gone"))
    catalog = load_folders(tmp_path)
    assert "rows of metadata.csv without a file that is read: 1, 'Rock/album0/gone.mp3'" in notes(catalog)
    assert "1 files have no row in metadata.csv: 'Rock/album0/000.mp3'" in notes(catalog)
    assert "but 1 clips of unknown artist and album one by one" in notes(catalog)


@pytest.mark.parametrize(("matched", "stops"), [(18, False), (17, True), (0, True)])
def test_fewer_than_nine_in_ten_files_with_a_row_stop(tmp_path: Path, matched: int, stops: bool):
    fill(tmp_path, Rock=10, Jazz=10)
    paths = [f"{label}/album{i % 3}/{i:03d}.mp3" for label in ("Rock", "Jazz") for i in range(10)]
    rows = [(path if i < matched else f"x{path}", path) for i, path in enumerate(paths)]
    pd.DataFrame(rows, columns=["path", "artist"]).to_csv(tmp_path / "metadata.csv", index=False)
    if not stops:
        return check_splits(load_folders(tmp_path))
    with pytest.raises(CatalogError, match=rf"nine in ten of the 20 files, found {matched}; .*'x(Rock|Jazz)/"):
        load_folders(tmp_path)


def test_rows_that_disagree_on_a_file_are_refused_and_repeated_ones_counted(tmp_path: Path):
    fill(tmp_path, Rock=12, Jazz=12)
    write_metadata(tmp_path, str)
    table = (tmp_path / "metadata.csv").read_text()
    (tmp_path / "metadata.csv").write_text(table + '\n".\\Rock\\album0\\000.mp3",Rock 0\n')
    assert "1 rows of metadata.csv repeat another one" in notes(load_folders(tmp_path))
    (tmp_path / "metadata.csv").write_text(table + '\n".\\Rock\\album0\\000.mp3",Somebody else\n')
    with pytest.raises(CatalogError, match=r"different things of 1 files: 'Rock/album0/000.mp3'"):
        load_folders(tmp_path)


@pytest.mark.parametrize(
    ("header", "separator"), [("\ufeffpath,artist", ","), ("Path;ARTIST", ";"), ("\ufeffpath ;artist", ";"), ("path\tArtist", "\t")]
)  # fmt: skip
def test_tables_as_spreadsheets_write_them(tmp_path: Path, header: str, separator: str):
    fill(tmp_path, Rock=12, Jazz=12)
    write_metadata(tmp_path, str, header=header, separator=separator)
    assert load_folders(tmp_path).tracks["artist"].nunique() == 12


def test_an_incomplete_split_column_names_the_files(tmp_path: Path):
    fill(tmp_path, Rock=12, Jazz=12)
    write_metadata(tmp_path, str)
    table = pd.read_csv(tmp_path / "metadata.csv").assign(split=["train", "val", "test"] * 8)
    table.loc[2, "split"] = None
    table.to_csv(tmp_path / "metadata.csv", index=False)
    with pytest.raises(CatalogError, match=r"found '' for 1 of 24 clips: '.*Rock/album2/002.mp3'; mend the table"):
        load_folders(tmp_path)
    catalog = load_folders(tmp_path, needs_splits=False)
    assert (catalog.tracks["split"] == "").sum() == 1 and (catalog.tracks["split"] == "training").sum() == 8


def test_splits_of_table_and_folders_must_agree(tmp_path: Path):
    for name, count in (("train", 6), ("val", 3), ("test", 3)):
        fill(tmp_path / name, Rock=count, Jazz=count)
    paths = load_folders(tmp_path).tracks["track_id"]
    table = pd.DataFrame({"path": paths, "split": [path.split("/")[0] for path in paths]})
    table.to_csv(tmp_path / "metadata.csv", index=False)
    check_splits(load_folders(tmp_path))
    table.assign(split=table["split"].replace("val", "test")).to_csv(tmp_path / "metadata.csv", index=False)
    with pytest.raises(CatalogError, match=r"found others for 6 files: 'val/Jazz"):
        load_folders(tmp_path)


def test_without_splits_a_label_may_have_one_clip(tmp_path: Path):
    fill(tmp_path, Rock=5, Jazz=1)
    catalog = load_folders(tmp_path, needs_splits=False)
    assert len(catalog.tracks) == 6 and set(catalog.tracks["split"]) == {""}
    catalog.tracks[["path", "label"]].to_csv(tmp_path / "t.csv", index=False)
    assert len(load_csv(tmp_path / "t.csv", needs_splits=False).split("all")) == 6
