"""Recipes: each parses, builds its model, gives way to the flags beside it, and has the clips of the official split."""

from pathlib import Path

import pandas as pd
import pytest
from absl import flags
from absl.testing import flagsaver
from support.collections_on_disk import write_tables
from support.places import shared
from support.tensorflow_io import DECODER_PARAMS

from experiments import settings, settings_flags
from experiments.builders.data import load_catalog
from experiments.builders.model import build_model
from experiments.recipes import recipe_names, with_recipe
from pipeline.catalogs.catalog import SPLITS, check_artists, check_splits
from pipeline.decoding.registry import DEFAULT_DECODER


@pytest.fixture(scope="module", autouse=True)
def defined_flags():
    before = set(flags.FLAGS)
    settings_flags.define_flags("data", "features", "training")
    yield
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)


def parse(*arguments: str) -> settings.Settings:
    with flagsaver.flagsaver():
        flags.FLAGS(with_recipe(["train", *arguments]))
        return settings_flags.settings_from_flags(flags.FLAGS)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_parses_and_builds(name: str):
    parsed = parse(f"--recipe={name}")
    assert parsed != settings.Settings()
    assert len(parsed.genres) in (0, 2, 3, 4)
    model = build_model(parsed, max(2, len(parsed.genres)))
    if len(parsed.genres) == 3:
        assert model.count_params() == 202_115  # as published


def test_the_study_sees_640_frames():
    parsed = parse("--recipe=study")
    assert 1 + round(parsed.crop_seconds * parsed.sample_rate_hz) // parsed.hop_length == 640


def test_flags_beside_a_recipe_override_it_wherever_they_stand():
    for arguments in (
        ["--recipe=rock_hiphop", "--genres=Rock,Electronic"],
        ["--genres=Rock,Electronic", "--recipe=rock_hiphop"],
    ):
        parsed = parse(*arguments)
        assert parsed.genres == ("Rock", "Electronic") and parsed.model == "cnn2d"
    assert parse().model == settings.Settings().model


def test_recipe_of_a_recipe_and_unknown_names():
    study = with_recipe(["train", "--recipe=study"])[1:-1]
    expected = ["train", *study, "--genres=Rock,Hip-Hop", "--recipe=rock_hiphop"]
    assert with_recipe(["train", "--recipe=rock_hiphop"]) == expected
    with pytest.raises(flags.IllegalFlagValueError, match="rock_hiphop_instrumental"):
        parse("--recipe=rock_hipop")


@pytest.mark.parametrize("name", DECODER_PARAMS)
def test_a_data_service_leaves_the_choice_of_the_decoder(name: str):
    assert parse("--data_service=grpc://there:5050").decoder == parse().decoder == DEFAULT_DECODER
    assert parse("--data_service=grpc://there:5050", f"--decoder={name}").decoder == name


@pytest.fixture(scope="module")
def official_dir(tmp_path_factory) -> Path:
    """FMA's tables of the official 8,000 tracks of FMA small, in FMA's layout, without audio."""
    rows = pd.read_csv(shared("fma_official") / "fma_small_8000.csv", dtype=str, keep_default_na=False)
    tracks = zip(
        rows["track_id"], rows["artist"], rows["artist_id"], rows["split"], ["small"] * len(rows),
        rows["genre"], rows["genres_all"], strict=True,
    )  # fmt: skip
    genres = (shared("fma_metadata_head") / "genres.csv").read_text()
    return write_tables(tmp_path_factory.mktemp("fma"), tracks=tracks, genres=genres)


# The six of FMA's known bad clips that are in FMA small, all of training.
BAD_CLIPS = {"Electronic": 1, "Experimental": 1, "Hip-Hop": 3, "Rock": 1}


@pytest.mark.parametrize("name", sorted(set(recipe_names()) - {"study"}))
def test_every_recipe_has_the_official_clips(official_dir: Path, name: str):
    for keep in (True, False):
        parsed = parse(f"--recipe={name}", f"--data_dir={official_dir}", f"--keep_known_bad_clips={keep}")
        catalog = load_catalog(parsed)
        check_splits(catalog)
        check_artists(catalog.tracks)
        assert len(catalog.labels) == (len(parsed.genres) or 8) and set(parsed.genres) <= set(catalog.labels)
        counts = pd.crosstab(catalog.tracks["label"], catalog.tracks["split"])
        assert {label: [counts.loc[label, split] for split in SPLITS] for label in counts.index} == {
            label: [800 - (0 if keep else BAD_CLIPS.get(label, 0)), 100, 100] for label in catalog.labels
        }
