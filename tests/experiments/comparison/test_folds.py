"""Folds by artist: who is in which split of each, that labels stay in training, and what cannot be cut."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold
from support.places import shared

from experiments.builders.data import load_catalog
from experiments.comparison.folds import ARTIST, check_output_dir, draw_folds, write_folds
from experiments.comparison.trials import list_trials
from experiments.settings import Settings


def tracks_of(artists: dict[str, str], clips: int = 4) -> pd.DataFrame:
    """Clips of artists with these labels; of two labels, written as a|b, in turn."""
    rows = [
        {"path": f"{artist}/{i}.mp3", "label": labels.split("|")[i % (1 + labels.count("|"))], "artist": artist}
        for artist, labels in artists.items()
        for i in range(clips)
    ]
    return pd.DataFrame(rows).assign(track_id=range(len(rows)), split="training", album="", title="")


def many_artists(rng, count: int = 40) -> pd.DataFrame:
    """Clips of artists of three labels, the third of which is rare; each eighth artist has clips of two."""
    tracks = pd.concat(
        [
            tracks_of({f"artist {i}": ["Rock", "Folk", "Rock|Folk", "Rock", "Jazz"][i % 5]}, int(rng.integers(1, 12)))
            for i in range(count)
        ],
        ignore_index=True,
    )
    return tracks.assign(track_id=range(len(tracks)))


def check_folds(tracks: pd.DataFrame, splits: list[pd.Series], artists: pd.Series) -> None:
    """What holds of any folds."""
    assert all((split.index == tracks.index).all() for split in splits)
    tests = pd.concat([split == "test" for split in splits], axis=1)
    assert (tests.sum(axis=1) == 1).all() and (tests.sum(axis=0) > 0).all()
    for split in splits:
        assert split.groupby(artists).nunique().max() == 1
        assert set(split) == {"training", "validation", "test"}
        assert set(tracks["label"][split == "training"]) == set(tracks["label"])


@pytest.mark.parametrize("folds", [2, 3, 6, 15, ARTIST])
def test_no_artist_is_in_two_splits_and_training_has_every_label(rng, folds):
    tracks = many_artists(rng)
    splits = draw_folds(tracks, folds, seed=1)
    check_folds(tracks, splits, tracks["artist"])
    assert len(splits) == (40 if folds == ARTIST else folds)
    parts = 6 if folds == ARTIST else min(6, max(2, folds - 1))
    for split in splits:
        rest = split != "test"
        validation = (split == "validation")[rest]
        assert validation.mean() == pytest.approx(1 / parts, abs=0.1)
        for label in ("Rock", "Folk"):
            assert validation[tracks["label"][rest] == label].mean() == pytest.approx(1 / parts, abs=0.2)
    if folds == ARTIST:
        assert [set(tracks["artist"][split == "test"]) for split in splits] == [
            {artist} for artist in sorted(set(tracks["artist"]))
        ]
        return
    theirs = StratifiedGroupKFold(folds, shuffle=True, random_state=1)
    for (_, rows), split in zip(theirs.split(tracks, tracks["label"], tracks["artist"]), splits, strict=True):
        assert list(tracks.index[split == "test"]) == rows.tolist()


def test_seed_decides_the_folds(rng):
    tracks = many_artists(rng)
    first, again, other = (draw_folds(tracks, 4, seed) for seed in (0, 0, 1))
    assert all(map(pd.Series.equals, first, again)) and not any(map(pd.Series.equals, first, other))


def test_last_artists_of_a_label_stay_in_training():
    """Jazz has two artists: when one is tested, validation cannot have the other."""
    tracks = tracks_of({"a": "Jazz", "b": "Jazz"} | {f"r{i}": "Rock" for i in range(6)})
    for folds in (2, 4, ARTIST):
        splits = draw_folds(tracks, folds, 0)
        check_folds(tracks, splits, tracks["artist"])
        alone = [split for split in splits if "Jazz" in set(tracks["label"][split == "test"])]
        assert len(alone) == 2
        assert all("Jazz" not in set(tracks["label"][split == "validation"]) for split in alone)


def test_validation_has_a_rare_label_where_it_can():
    """Jazz has three artists: at least two beside the test fold, and so one for validation, in some of the four parts."""
    tracks = tracks_of({f"j{i}": "Jazz" for i in range(3)} | {f"r{i}": "Rock" for i in range(12)})
    for split in draw_folds(tracks, 5, 0):
        assert set(tracks["label"][split == "validation"]) == {"Jazz", "Rock"}


def test_clips_of_unknown_artist_are_artists_of_their_own():
    tracks = tracks_of({f"{label}{i}": label for label in ("Jazz", "Rock") for i in range(3)})
    tracks.loc[:5, "artist"] = ""
    tracks.loc[:1, "album"] = "Blue"
    splits = draw_folds(tracks, ARTIST, 0)
    groups = tracks["artist"].where(tracks["artist"] != "", [f"clip {i}" for i in tracks.index])
    groups[:2] = "an album"
    check_folds(tracks, splits, groups)
    assert len(splits) == groups.nunique() == 10


@pytest.mark.parametrize(
    ("artists", "folds", "message"),
    [
        ({"a": "Jazz", "b": "Rock", "c": "Rock"}, 2, "two artists for every label, found one for Jazz .such as 'a'"),
        ({"a": "Jazz", "b": "Jazz", "c": "Rock", "d": "Rock"}, 5, "no more folds than artists, .*--folds=5 for 4"),
        ({f"{i}": ("Jazz", "Rock")[i % 2] for i in range(20)}, 15, "than clips of the most frequent label, .* for 10"),
        ({"a": "Jazz", "b": "Jazz", "c": "Rock", "d": "Rock"}, 2, "none that training can spare"),
        ({f"{i}": ("Jazz", "Rock")[i % 2] for i in range(1002)}, ARTIST, "at most 1000 artists"),
        ({"a": "Jazz", "b": "Jazz", "c": "Rock", "d": "Rock"}, 1, "from 2 to 100 or artist, received 1"),
    ],
)
def test_what_cannot_be_cut(artists: dict[str, str], folds: int | str, message: str):
    tracks = tracks_of(artists, clips=4 if len(artists) < 20 else 1)
    with pytest.raises(ValueError, match=message):
        draw_folds(tracks, folds, 0)


def test_a_fold_with_all_artists_of_a_label_is_refused():
    """The six other labels of both artists of Jazz pull them away from the large artist."""
    others = [label for label in "abcdef" for _ in range(5)]
    labels = {"large": others * 6, "first": [*others, *others, "Jazz"], "second": [*others, "Jazz"]}
    rows = [(artist, label) for artist, own in labels.items() for label in own]
    tracks = pd.DataFrame(rows, columns=["artist", "label"]).assign(album="")
    with pytest.raises(ValueError, match="has all artists of Jazz; choose another number of --folds"):
        draw_folds(tracks, 2, 0)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of 30 clips of 10 artists, one of them written in two ways, two clips of unknown artist, one file twice."""
    tracks = tracks_of({f"artist {i}": ("Rock", 'a, "b"')[i % 2] for i in range(10)}, 3)
    tracks.loc[0, "artist"] += "  "
    tracks.loc[28:, "artist"] = ""
    again = tracks.iloc[[5]].assign(track_id=99, split="test")
    tracks = pd.concat([tracks, again]).assign(split=lambda rows: rows["split"])
    (tmp_path / "music").mkdir()
    for path in tracks["path"]:
        (tmp_path / "music" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "music" / path).touch()
    tracks.to_csv(tmp_path / "music" / "clips.csv", index=False)
    return tmp_path / "music" / "clips.csv"


def test_tables_are_data_sets_of_their_own(table: Path, tmp_path: Path, capsys):
    settings = Settings(dataset="csv", data_dir=str(table))
    paths = write_folds(settings, 4, 0, tmp_path / "out")
    assert paths == [tmp_path / "out" / "folds" / f"fold{fold}.csv" for fold in range(4)]
    catalogs = [load_catalog(replace(settings, data_dir=str(path))) for path in paths]
    for catalog in catalogs:
        assert catalog.labels == ("Rock", 'a, "b"') and not catalog.notes
        assert all(Path(path).is_file() and Path(path).is_absolute() for path in catalog.tracks["path"])
        pd.testing.assert_frame_equal(catalog.tracks.drop(columns="split"), catalogs[0].tracks.drop(columns="split"))
    tracks = catalogs[0].tracks
    assert len(tracks) == 30 and tracks["artist"].nunique() == 11
    groups = tracks["artist"].where(tracks["artist"] != "", tracks["path"])
    check_folds(tracks, [catalog.tracks["split"] for catalog in catalogs], groups)
    shown = capsys.readouterr().out
    assert "4 folds of 30 clips of 12 artists, each in one fold, drawn by seed 0" in shown
    assert "2 clips are of unknown artist; each counts as an artist of its own\n" in shown
    assert "1 rows name a file a second time" in shown
    assert [line.split()[-2:] for line in shown.splitlines() if line.startswith("Rock ")] == [["15", "5"]]


def test_an_output_directory_keeps_its_folds(table: Path, tmp_path: Path):
    settings, output_dir = Settings(dataset="csv", data_dir=str(table)), tmp_path / "out"
    paths = write_folds(settings, 4, 0, output_dir)
    before = [path.read_bytes() for path in paths]
    assert write_folds(settings, 4, 0, output_dir) == paths and [path.read_bytes() for path in paths] == before
    with pytest.raises(ValueError, match=r"--folds: 4 there, 5 now\n  the first of --seeds: 0 there, 1 now\nUse these"):
        write_folds(settings, 5, 1, output_dir)
    rows = pd.read_csv(table)
    rows.drop(index=3).to_csv(table, index=False)
    with pytest.raises(ValueError, match="clips: 30 there, 29 now, or other tracks"):
        write_folds(settings, 4, 0, output_dir)
    assert [path.read_bytes() for path in paths] == before
    rows.to_csv(table, index=False)
    moved = table.parent.rename(tmp_path / "moved")  # paths do not count
    write_folds(replace(settings, data_dir=str(moved / "clips.csv")), 4, 0, output_dir)
    assert "/moved/" in paths[0].read_text()
    (output_dir / "folds" / "folds.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot be read"):
        write_folds(replace(settings, data_dir=str(moved / "clips.csv")), 4, 0, output_dir)


def test_an_output_directory_keeps_to_its_kind(tmp_path: Path):
    for with_folds in (False, True):
        check_output_dir(tmp_path, with_folds)
    (tmp_path / "runs").mkdir()
    check_output_dir(tmp_path, False)
    with pytest.raises(ValueError, match="without --folds"):
        check_output_dir(tmp_path, True)
    (tmp_path / "folds").mkdir()
    check_output_dir(tmp_path, True)
    with pytest.raises(ValueError, match="with --folds"):
        check_output_dir(tmp_path, False)


def test_several_labels_and_remote_clips_are_refused(tmp_path: Path, table: Path):
    with pytest.raises(ValueError, match="one label a clip for folds"):
        write_folds(Settings(dataset="csv", data_dir=str(table), multi_label=True), 4, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_real_music_has_three_artists_of_rock(tmp_path: Path, capsys):
    settings = Settings(dataset="fma", data_dir=str(shared("real_music")))
    tables = write_folds(settings, 6, 0, tmp_path / "out")
    shown = capsys.readouterr().out
    assert "6 folds of 126 clips of 16 artists" in shown
    counts = [line.split() for line in shown.splitlines()[1:4]]
    assert counts == [["Classical", "42", "7"], ["Electronic", "42", "6"], ["Rock", "42", "3"]]
    catalogs = [load_catalog(replace(settings, dataset="csv", data_dir=str(table))) for table in tables]
    tracks = catalogs[0].tracks
    check_folds(tracks, [catalog.tracks["split"] for catalog in catalogs], tracks["artist"])
    for catalog in catalogs:  # each label is in validation too
        assert catalog.split("validation")["label"].nunique() == 3


def test_corrections_are_in_the_tables_and_not_made_again(table: Path, tmp_path: Path):
    tracks = load_catalog(Settings(dataset="csv", data_dir=str(table))).tracks
    (tmp_path / "exclude.csv").write_text(f"clip\n{tracks['path'][0]}\n")
    (tmp_path / "relabel.csv").write_text(f"clip,label\n{tracks['path'][1]},{tracks['label'][1]}\n")
    corrections = {"exclude_csv": str(tmp_path / "exclude.csv"), "relabel_csv": str(tmp_path / "relabel.csv")}
    settings = Settings(dataset="csv", data_dir=str(table), model="mfcc_logistic", **corrections)
    tables = write_folds(settings, 4, 0, tmp_path / "out")
    for trial in list_trials(settings, ["mfcc_logistic"], [0], tmp_path / "out", folds=tables):
        assert tracks["path"][0] not in set(load_catalog(trial.settings).tracks["path"])
