"""What the demo plants is found."""

from pathlib import Path

import pandas as pd
import pytest

from experiments.audit.audit import run_audit
from experiments.audit.labels import audit_labels
from pipeline.catalogs.fma import load_fma
from pipeline.catalogs.registry import load_source
from pipeline.demo.dataset import write_demo_data
from pipeline.demo.planted import plant_faults

pytestmark = pytest.mark.slow


def test_the_planted_copy_is_found_and_the_label_is_another(tmp_path: Path):
    tracks = load_fma(
        write_demo_data(tmp_path / "demo", 3, tracks_per_split=dict.fromkeys(("training", "validation", "test"), 2))
    ).tracks
    table = plant_faults(tracks, tmp_path / "planted")
    clips = pd.read_csv(table, keep_default_na=False)
    assert (clips["planted"] == "").sum() == len(tracks) - 1 and len(clips) == len(tracks) + 1
    (mislabelled,) = clips.index[clips["planted"] == "label"]
    assert clips["label"][mislabelled] != tracks["label"].iloc[mislabelled]
    catalog = load_source("csv", str(table), needs_splits=False)
    # A model that knows the truth.
    truth = (
        pd.get_dummies(tracks["label"])
        .astype(float)
        .clip(0.05, 0.9)
        .add_prefix("probability_")
        .assign(path=tracks["path"])
    )
    ranking = audit_labels(catalog.tracks, catalog.labels, truth).ranking
    assert ranking["path"].iloc[0] == clips["path"][mislabelled]
    run_audit(catalog, tmp_path / "audit", ("copies",), None)
    found = pd.read_csv(tmp_path / "audit" / "audit.csv").query("finding == 'copy'")
    original = clips["path"][tracks.index[tracks["split"] == "training"][0]]
    (pair,) = found[["clip", "partner"]].to_numpy().tolist()
    assert sorted(pair) == sorted([str(tmp_path / "planted" / "copy.mp3"), original])
