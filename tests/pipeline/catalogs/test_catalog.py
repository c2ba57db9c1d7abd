"""Catalogs from folders and CSV tables, their splits, and the checks on them."""

import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from support.collections_on_disk import fill

from pipeline.catalogs.catalog import (
    ArtistLeakError,
    Catalog,
    CatalogError,
    check_artists,
    check_splits,
    make_catalog,
    missing_files,
)
from pipeline.catalogs.folders import load_folders
from pipeline.catalogs.splits import assign_splits
from pipeline.catalogs.table import load_csv


def test_folders(tmp_path: Path):
    fill(tmp_path, Rock=40, Jazz=20)
    (tmp_path / "Rock" / "cover.jpg").touch()
    (tmp_path / "Rock" / "._000.mp3").touch()
    (tmp_path / "stray.mp3").touch()
    catalog = load_folders(tmp_path)
    assert catalog.labels == ("Jazz", "Rock")
    assert len(catalog.tracks) == 60 and catalog.tracks["path"].is_unique
    assert all(Path(path).parts[-3] == label for path, label in catalog.tracks[["path", "label"]].to_numpy())
    counts = catalog.tracks.groupby(["label", "split"]).size()
    assert counts["Rock"].to_dict() == {"training": 32, "validation": 4, "test": 4}
    assert counts["Jazz"].to_dict() == {"training": 16, "validation": 2, "test": 2}


def test_split_depends_on_the_seed_alone(tmp_path: Path):
    fill(tmp_path, Rock=30, Jazz=30)
    first, again, other = (load_folders(tmp_path, seed=seed).tracks["split"].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_artists_stay_together_where_a_table_names_them(tmp_path: Path):
    fill(tmp_path, Rock=60, Jazz=60)
    paths = [f"{label}/album{i % 3}/{i:03d}.mp3" for label in ("Rock", "Jazz") for i in range(60)]
    artists = [f"{path[:4]} band {int(path[-7:-4]) // 4}" for path in paths]
    pd.DataFrame({"path": paths, "artist": artists}).to_csv(tmp_path / "metadata.csv", index=False)
    catalog = load_folders(tmp_path)
    check_artists(catalog.tracks)
    check_splits(catalog)
    assert set(catalog.tracks["artist"]) == set(artists)
    assert (catalog.tracks.groupby("label")["split"].nunique() == 3).all()


def test_genres_keep_only_those_labels_whatever_their_case(tmp_path: Path):
    fill(tmp_path, Rock=10, Jazz=10, Folk=10)
    assert load_folders(tmp_path, ("rock", "JAZZ")).labels == ("Jazz", "Rock")


def test_csv_with_relative_and_absolute_paths_and_splits(tmp_path: Path):
    fill(tmp_path / "audio", Rock=3, Jazz=3)
    rows = [
        {"path": f"audio/{label}/album{i}/00{i}.mp3", "label": label, "split": split, "artist": f"{label}{i}"}
        for label in ("Rock", "Jazz")
        for i, split in enumerate(("train", "val", "Test"))
    ]
    rows[0]["path"] = str(tmp_path / rows[0]["path"])
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    catalog = load_csv(tmp_path / "table.csv")
    assert catalog.tracks["split"].tolist() == ["training", "validation", "test"] * 2
    assert not missing_files(catalog.tracks).any()
    check_splits(catalog)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.mp3,Rock\n", "found no path"),
        ("path,genre\na.mp3,Rock\n", "found no label"),
        ("path,label\na.mp3,Rock\n,Rock\n", "row 3 without"),
        ("path,label\n", "no rows"),
        ("", "cannot be read"),
        ("path,label,split\na.mp3,Rock,holdout\n", "'holdout'"),
        ("path,label,split\na.mp3,Rock,train\nb.mp3,Rock,\n", "found ''"),
    ],
)
def test_unusable_tables(tmp_path: Path, text: str, message: str):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(CatalogError, match=message):
        load_csv(tmp_path / "table.csv")


def test_missing_and_empty_folders(tmp_path: Path):
    with pytest.raises(CatalogError, match="found none; check --data_dir"):
        load_folders(tmp_path / "nowhere")
    with pytest.raises(CatalogError, match="found none; check --data_dir"):
        load_folders(tmp_path)
    with pytest.raises(CatalogError, match="found nothing there"):
        load_csv(tmp_path / "nowhere.csv")


def test_label_with_one_clip_is_refused_by_name(tmp_path: Path):
    fill(tmp_path, Rock=20, Jazz=1)
    with pytest.raises(CatalogError, match=r"at least 3 clips .* Jazz \(1\)"):
        load_folders(tmp_path)


def test_label_of_one_artist_is_refused_by_name():
    tracks = pd.DataFrame(
        {"label": ["Rock"] * 9 + ["Jazz"] * 9, "artist": ["only"] * 9 + list("abcdefghi"), "album": ""}
    )
    with pytest.raises(CatalogError, match=r"at least 3 artists .* Rock \(1\)"):
        assign_splits(tracks, tracks["label"])


def test_unknown_genre_names_the_nearest_first(tmp_path: Path):
    fill(tmp_path, Rock=5, Jazz=5, Electronic=5)
    with pytest.raises(CatalogError, match="received 'Rokc'; choose from: Rock, "):
        load_folders(tmp_path, ("Rokc",))


def table(rows: list[tuple[str, str, str]]) -> Catalog:
    columns = pd.DataFrame(rows, columns=["label", "split", "artist"])
    return make_catalog(columns.assign(track_id=range(len(rows)), path="x"), ())


def test_artist_in_two_splits_is_named_with_its_tracks():
    catalog = table([("Rock", "training", "A"), ("Rock", "test", "A"), ("Jazz", "training", "B"), ("Jazz", "test", "")])
    with pytest.raises(ArtistLeakError, match=r"found 1 in several \(2 tracks\): A"):
        check_artists(catalog.tracks)
    check_artists(table([("Rock", "training", ""), ("Rock", "test", "")]).tracks)  # unknown artists are no leak


def test_label_without_training_clip_and_empty_split():
    catalog = table([("Rock", "training", ""), ("Jazz", "test", ""), ("Rock", "validation", "")])
    with pytest.raises(CatalogError, match="found none for: Jazz"):
        check_splits(catalog)
    with pytest.raises(CatalogError, match="clips in the validation split"):
        check_splits(table([("Rock", "training", ""), ("Rock", "test", "")]))


def labelled(*labels: str) -> pd.DataFrame:
    return pd.DataFrame({"track_id": range(len(labels)), "path": "x", "label": labels, "split": "training"})


def test_an_exact_name_wins_and_else_both_are_named():
    tracks = labelled("Rock", "rock", "Jazz", "Café", "Soul ")
    assert make_catalog(tracks, ("Rock",)).labels == ("Rock",)
    assert make_catalog(tracks, ("rock", "jazz")).labels == ("Jazz", "rock")
    assert make_catalog(tracks, ("soul", unicodedata.normalize("NFD", "CAFÉ"))).labels == ("Café", "Soul ")
    with pytest.raises(CatalogError, match="found 2: 'Rock', 'rock'; write the one"):
        make_catalog(tracks, ("ROCK",))


def test_labels_of_nearly_one_name_are_pointed_out():
    composed, apart = "Café", unicodedata.normalize("NFD", "Café")
    catalog = make_catalog(labelled("Rock", "Rock ", "rock", composed, apart, "Jazz"), ())
    assert len(catalog.labels) == 6 and len(catalog.notes) == 2
    assert "'Rock', 'Rock ', 'rock' differ by" in " ".join(catalog.notes)
    assert not make_catalog(labelled("Rock", "Rock ", "Jazz"), ("Jazz",)).notes
    assert make_catalog(labelled("Rock", "Rock ", "Jazz"), ("Rock",)).notes
