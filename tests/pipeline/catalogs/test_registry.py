"""The registry of data sources: its names cost nothing, every entry loads, and a new one needs its line alone."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from support.collections_on_disk import fill, write_tables
from support.places import ROOT

from experiments.builders.data import load_catalog
from experiments.settings import Settings
from pipeline.catalogs import registry
from pipeline.catalogs.catalog import Catalog, make_catalog
from pipeline.catalogs.fma import load_fma
from pipeline.catalogs.folders import load_folders
from pipeline.catalogs.pack import pack_records
from pipeline.catalogs.registry import SOURCES, Source, load_source
from pipeline.catalogs.table import load_csv


def test_names_are_read_without_heavy_libraries():
    code = (
        "import sys; from pipeline.catalogs.registry import SOURCES; print(*SOURCES);"
        "assert not {'pandas', 'tensorflow', 'sklearn', 'numpy'} & set(sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert shown.split() == ["fma", "folders", "csv", "demo", "records"]


def test_every_source_says_what_its_place_is():
    sentence = registry.data_dir_help()
    for name, source in SOURCES.items():
        assert source.data_dir in sentence and f"{name}" in sentence
    assert sentence.count("fma_metadata/") == 1  # of fma and demo, which are laid out alike


def test_each_loads_what_its_own_function_loads(tmp_path: Path, small_fma: Path):
    tables, folders = write_tables(tmp_path / "fma"), fill(tmp_path / "folders", Jazz=12, Rock=12)
    table = tmp_path / "table.csv"
    (tables / "fma_medium").mkdir()
    expected = {
        "fma": (tables, load_fma(tables, "medium", ("rock",), keep_known_bad_clips=True)),
        "folders": (folders, load_folders(folders, ("rock",), seed=3)),
    }
    load_folders(folders).tracks.drop(columns="split").to_csv(table, index=False)
    expected["csv"] = (table, load_csv(table, ("rock",), seed=3))
    shared = {"genres": ("rock",), "seed": 3, "subset": "medium", "keep_known_bad_clips": True, "multi_label": False}
    for name, (place, catalog) in expected.items():
        loaded = load_source(name, str(place), **shared, n_mels=128)
        pd.testing.assert_frame_equal(loaded.tracks, catalog.tracks)
        assert loaded.labels == catalog.labels and loaded.notes == catalog.notes
        settings = Settings(dataset=name, data_dir=str(place), **shared)
        pd.testing.assert_frame_equal(load_catalog(settings).tracks, catalog.tracks)
    pack_records(load_fma(small_fma), str(tmp_path / "records"), num_shards=2)
    packed = load_source("records", str(tmp_path / "records"), **shared | {"genres": ()})
    assert packed.tracks["track_id"].tolist() == load_fma(small_fma).tracks["track_id"].tolist()


def test_the_demo_set_is_made_before_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = []

    def write(data_dir: str, progress=None) -> None:
        write_tables(Path(data_dir))
        made.append((data_dir, progress))

    monkeypatch.setattr("pipeline.catalogs.demo.write_demo_data", write)
    place = str(tmp_path / "demo")
    catalog = load_source("demo", place, seed=9, progress="a progress bar")
    assert made == [(place, "a progress bar")]
    assert len(catalog.tracks) == len(load_fma(place).tracks)


def load_two_clips(place: str, seed: int = 0, decoder: str = "") -> Catalog:
    rows = {"track_id": [1, 2], "path": [f"{place}/a", f"{place}/b"], "label": [decoder, "x"], "split": "training"}
    return make_catalog(pd.DataFrame(rows), (), (f"seed {seed}",))


def test_a_new_source_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(SOURCES, "two", Source("support_module:load_two_clips", "anything"))
    monkeypatch.setitem(sys.modules, "support_module", sys.modules[__name__])
    catalog = load_source("two", "here", seed=5, decoder="tfio", epochs=3)
    assert catalog.labels == ("tfio", "x") and catalog.notes == ("seed 5",)
    assert catalog.tracks["path"].tolist() == ["here/a", "here/b"]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"received 'folder'; choose one of: folders, .*records"):
        load_source("folder", "x")
