"""The demo data set: repeatable, laid out as FMA is, plainly synthetic, careful with what is in its way."""

from ast import literal_eval
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy import signal

from pipeline.demo.dataset import CLIP_SECONDS, write_demo_data
from pipeline.demo.instruments import draw_artist_sound
from pipeline.demo.plan import GENRES, plan_tracks
from pipeline.demo.styles import RECIPES, compose

SEED = 3
FEW_TRACKS = {"training": 1, "validation": 1, "test": 1}  # of each of three styles, and the broken file

# The two header rows of the real tracks.csv, copied from it.
FMA_COLUMNS = {
    "album": (
        "comments date_created date_released engineer favorites id information listens producer tags title tracks type"
    ),
    "artist": (
        "active_year_begin active_year_end associated_labels bio comments date_created favorites id "
        "latitude location longitude members name related_projects tags website wikipedia_page"
    ),
    "set": "split subset",
    "track": (
        "bit_rate comments composer date_created date_recorded duration favorites genre_top genres "
        "genres_all information interest language_code license listens lyricist number publisher tags "
        "title"
    ),
}


@pytest.fixture(scope="module")
def demo_dir(tmp_path_factory):
    return write_demo_data(tmp_path_factory.mktemp("demo") / "data", SEED, tracks_per_split=FEW_TRACKS)


def read_files(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_same_seed_gives_same_bytes_and_another_seed_others(demo_dir, tmp_path):
    totals = []

    def progress(clips, total):
        totals.append(total)
        return clips

    again = write_demo_data(tmp_path / "again", SEED, progress, FEW_TRACKS)
    assert read_files(again) == read_files(demo_dir)
    assert totals == [10]
    other = write_demo_data(tmp_path / "other", SEED + 1, tracks_per_split=FEW_TRACKS)
    clips, other_clips = (
        {contents for path, contents in read_files(root).items() if path.suffix == ".mp3"} for root in (demo_dir, other)
    )
    assert len(clips) == len(other_clips) == 10
    assert clips.isdisjoint(other_clips)


def test_every_clip_but_the_broken_one_decodes_as_planned(demo_dir):
    *tracks, broken = plan_tracks(SEED, FEW_TRACKS)
    for track in tracks:
        waveform, sample_rate_hz = soundfile.read(demo_dir / track.path, always_2d=True)
        assert sample_rate_hz == track.encoding.sample_rate_hz
        assert waveform.shape[1] == track.encoding.channels
        # Without an Info frame (low bit rates) the encoder's padding of up to four MP3 frames remains.
        assert 0 <= len(waveform) - 10 * sample_rate_hz < 4 * 1152
        assert np.std(waveform) > 0.01
        assert np.abs(waveform).max() <= 1
        assert (demo_dir / track.path).read_bytes().startswith(b"ID3") == track.encoding.tagged
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(demo_dir / broken.path)


def test_tables_have_the_real_columns_and_name_every_file(demo_dir):
    tracks = pd.read_csv(demo_dir / "fma_metadata" / "tracks.csv", index_col=0, header=[0, 1])
    expected = [(group, name) for group, names in FMA_COLUMNS.items() for name in names.split()]
    assert len(expected) == 52
    assert tracks.columns.tolist() == expected
    assert tracks.index.name == "track_id"
    named = {Path("fma_small", f"{track_id:06d}"[:3], f"{track_id:06d}.mp3") for track_id in tracks.index}
    assert named == {path for path in read_files(demo_dir) if path.suffix == ".mp3"}
    genres = pd.read_csv(demo_dir / "fma_metadata" / "genres.csv", index_col=0)
    assert genres.columns.tolist() == ["#tracks", "parent", "title", "top_level"]
    for style, ids in zip(tracks["track", "genre_top"], tracks["track", "genres_all"], strict=True):
        assert {genres.title[genres.top_level[genre_id]] for genre_id in literal_eval(ids)} == {style}


@pytest.mark.parametrize("seed", [0, 1])
def test_full_plan_keeps_splits_apart(seed):
    *tracks, broken = plan_tracks(seed)
    assert (broken.style, broken.split, broken.recipe) == ("Rock", "training", None)
    plan = pd.DataFrame(
        {
            "track_id": track.track_id,
            "style": track.style,
            "split": track.split,
            "artist_id": track.artist.artist_id,
            "artist": track.artist.name,
            "genre_id": track.genre_ids[-1],
        }
        for track in tracks
    )
    assert plan.track_id.is_unique
    counts = plan.groupby("style")["split"].value_counts().unstack()
    assert counts.index.tolist() == ["Hip-Hop", "Instrumental", "Rock"]
    assert all(row.to_dict() == {"training": 34, "validation": 10, "test": 16} for _, row in counts.iterrows())
    assert (plan.groupby("artist_id")["split"].nunique() == 1).all()
    assert plan.groupby("artist")["artist_id"].nunique().eq(1).all()
    assert (plan.groupby("split")["genre_id"].nunique() == len(GENRES)).all()  # sub-genres in every split


@pytest.mark.parametrize("seed", [0, 1])
def test_a_fixed_share_of_labels_contradicts_the_sound(seed):
    contradicting = [track for track in plan_tracks(seed)[:-1] if track.recipe != track.style]
    assert Counter(track.split for track in contradicting) == {"validation": 3, "test": 6}
    validation = [track for track in contradicting if track.split == "validation"]
    assert {track.style for track in validation} == {track.recipe for track in validation} == set(RECIPES)
    # On test, every style once follows every other.
    assert len({(track.style, track.recipe) for track in contradicting if track.split == "test"}) == 6
    few = plan_tracks(seed, {"training": 4, "validation": 2, "test": 2})[:-1]
    assert all(track.recipe == track.style for track in few)


@pytest.mark.parametrize("seed", range(4))
def test_two_thresholds_tell_the_styles_apart(seed):
    rng = np.random.default_rng(seed)
    for style in RECIPES:
        waveform = compose(style, draw_artist_sound(rng), rng, 22_050, CLIP_SECONDS)
        assert waveform.shape == (220_500, 2)
        frequencies_hz, _, spectrum = signal.stft(waveform.mean(axis=1), 22_050, nperseg=1024)
        power = np.abs(spectrum) ** 2
        bass_share = power[frequencies_hz < 100].sum() / power.sum()
        presence_db = 10 * np.log10(power[(frequencies_hz > 3000) & (frequencies_hz < 6000)].sum(axis=0) + 1e-12)
        dynamics_db = np.percentile(presence_db, 95) - np.percentile(presence_db, 30)
        # Without drums there is no deep bass; between guitars there is no silence.
        heard = "Instrumental" if bass_share < 0.005 else "Hip-Hop" if dynamics_db > 15 else "Rock"
        assert heard == style, (bass_share, dynamics_db)


def test_readme_says_synthetic(demo_dir):
    assert "SYNTHETIC" in (demo_dir / "README.txt").read_text(encoding="utf-8")


def test_rerun_does_not_rewrite(demo_dir):
    times = {path: path.stat().st_mtime_ns for path in demo_dir.rglob("*")}
    assert write_demo_data(demo_dir, SEED, tracks_per_split=FEW_TRACKS) == demo_dir
    assert {path: path.stat().st_mtime_ns for path in demo_dir.rglob("*")} == times


def test_anything_else_in_the_way_is_refused(demo_dir, tmp_path):
    with pytest.raises(ValueError, match=r'"seed": 4.*found.*"seed": 3.*--data_dir'):
        write_demo_data(demo_dir, SEED + 1, tracks_per_split=FEW_TRACKS)
    foreign = tmp_path / "foreign.txt"
    foreign.write_text("keep me")
    with pytest.raises(ValueError, match=r"found something else.*remove"):
        write_demo_data(tmp_path)
    assert foreign.read_text() == "keep me"
