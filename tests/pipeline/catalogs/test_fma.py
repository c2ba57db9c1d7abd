"""The Free Music Archive loader, on tables in its real format and on the real tables' beginning."""

import json
from pathlib import Path

import pandas as pd
import pytest
from support.collections_on_disk import write_tables
from support.places import shared

from pipeline.catalogs.catalog import CatalogError, check_artists
from pipeline.catalogs.fma import KNOWN_BAD_CLIPS, descendants, load_fma, read_genres


def ids(catalog) -> list[int]:
    return sorted(catalog.tracks["track_id"])


def test_subsets_include_the_smaller_ones(tmp_path: Path):
    write_tables(tmp_path)
    (tmp_path / "fma_full").mkdir()
    for subset, expected in {"small": [2, 5], "medium": [2, 5, 10], "large": [2, 5, 10, 140]}.items():
        assert ids(load_fma(tmp_path, subset)) == expected
    assert load_fma(tmp_path, "medium").labels == ("Hip-Hop", "Rock")


def test_known_bad_clips_are_left_out_counted_and_kept_on_request(tmp_path: Path):
    write_tables(tmp_path)
    assert "left out 1 clips known to be bad" in load_fma(tmp_path).notes[0]
    assert [Path(item.path).name for item in load_fma(tmp_path).left_out] == ["099134.mp3"]
    assert ids(load_fma(tmp_path, keep_known_bad_clips=True)) == [2, 5, 99134]
    assert len(KNOWN_BAD_CLIPS) == 21


def test_sub_genres_hold_their_descendants(tmp_path: Path):
    write_tables(tmp_path)
    (tmp_path / "fma_large").mkdir()
    catalog = load_fma(tmp_path, "large", ("punk", "21"))
    assert catalog.labels == ("Hip-Hop", "Punk")
    assert ids(catalog) == [2, 10, 140, 141]  # 141 is Rock and Hip-Hop, but no Punk
    assert descendants(read_genres(tmp_path / "fma_metadata" / "genres.csv"), 12) == {12, 25, 109}


def test_track_in_two_chosen_genres_is_dropped_and_counted(tmp_path: Path):
    write_tables(tmp_path)
    (tmp_path / "fma_large").mkdir()
    catalog = load_fma(tmp_path, "large", ("Rock", "Hip-Hop"))
    assert ids(catalog) == [2, 5, 10, 140]
    assert any("left out 1 tracks that belong to two or more of the chosen genres" in note for note in catalog.notes)
    reasons = {int(Path(item.path).stem): item.reason for item in catalog.left_out}
    assert set(reasons) == {99134, 141, 142}  # 142 has no genre
    assert "two or more" in reasons[141] and "none of the chosen" in reasons[142]


def test_track_in_two_chosen_genres_has_both_labels(tmp_path: Path):
    write_tables(tmp_path)
    (tmp_path / "fma_large").mkdir()
    catalog = load_fma(tmp_path, "large", ("Rock", "Punk", "Hip-Hop"), multi_label=True)
    assert dict(zip(catalog.tracks["track_id"], catalog.tracks["label"], strict=True)) == {
        2: "Hip-Hop", 5: "Rock", 10: "Punk|Rock", 140: "Punk|Rock", 141: "Hip-Hop|Rock",
    }  # fmt: skip
    assert catalog.targets(catalog.tracks).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 1], [0, 1, 1], [1, 0, 1]]
    assert "3 tracks have two or more labels" in catalog.notes


def test_paths_and_artists_of_one_name(tmp_path: Path):
    tracks = load_fma(write_tables(tmp_path)).tracks.set_index("track_id")
    assert tracks.loc[5, "path"] == str(tmp_path / "fma_small" / "000" / "000005.mp3")
    (tmp_path / "fma_medium").mkdir()
    tracks = load_fma(tmp_path, "medium").tracks
    check_artists(tracks)  # two artists are called B
    assert set(tracks["artist"]) == {"A", "B #2", "B #3"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subset": "tiny"}, "small, medium, large, full"),
        ({"subset": "medium"}, "fma_medium"),
        ({"genres": ("Rokc",)}, "received 'Rokc'; choose from: Rock"),
        ({"genres": ("Punk", "Rock")}, "found none for: Punk"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: dict, message: str):
    with pytest.raises(CatalogError, match=message):
        load_fma(write_tables(tmp_path), **arguments)


def test_unusable_tables(tmp_path: Path):
    with pytest.raises(CatalogError, match="folder that holds fma_metadata"):
        load_fma(tmp_path)
    with pytest.raises(CatalogError, match=r"track\.genres_all"):
        load_fma(write_tables(tmp_path / "a", drop=("track", "genres_all")))
    write_tables(tmp_path / "b")
    for text in ("", "one line\n", "a,b\nc,d\n\x00"):
        (tmp_path / "b" / "fma_metadata" / "tracks.csv").write_text(text)
        with pytest.raises(CatalogError, match=r"tracks\.csv"):
            load_fma(tmp_path / "b")


def test_real_tables(tmp_path: Path):
    source = shared("fma_metadata_head")
    (tmp_path / "fma_metadata").symlink_to(source)
    (tmp_path / "fma_full").mkdir()
    truth = pd.read_csv(source / "tracks.csv", index_col=0, header=[0, 1])
    rows = truth[truth["track", "genre_top"].notna()]
    catalog = load_fma(tmp_path, "full", keep_known_bad_clips=True)
    # Every root genre chosen: what is left is what FMA itself calls the top genre.
    labels = catalog.tracks.set_index("track_id")["label"]
    assert labels.to_dict() == rows["track", "genre_top"].to_dict()
    assert catalog.tracks.set_index("track_id")["split"].to_dict() == rows["set", "split"].to_dict()
    # Several labels a track: every root genre of its genres_all, of whatever depth.
    several = load_fma(tmp_path, "full", keep_known_bad_clips=True, multi_label=True)
    genres = pd.read_csv(source / "genres.csv", index_col=0)
    root_title = genres["title"].loc[genres["top_level"]].set_axis(genres.index)
    roots = {i: {root_title[g] for g in json.loads(ids)} for i, ids in truth["track", "genres_all"].items()}
    assert {i: set(label.split("|")) for i, label in several.tracks.set_index("track_id")["label"].items()} == {
        i: titles for i, titles in roots.items() if titles
    }
    assert several.targets(several.tracks).sum(axis=1).max() > 1
    punk = load_fma(tmp_path, "full", ("Punk", "Hip-Hop")).tracks
    assert all(
        "25" in text for text in truth.loc[punk.loc[punk["label"] == "Punk", "track_id"], ("track", "genres_all")]
    )


def test_real_music():
    catalog = load_fma(shared("real_music"))
    check_artists(catalog.tracks)
    assert catalog.labels == ("Classical", "Electronic", "Rock")
    assert catalog.tracks["split"].value_counts().to_dict() == {"training": 72, "test": 30, "validation": 24}
