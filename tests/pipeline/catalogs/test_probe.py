"""Probe files: what they say, and that an interrupted run goes on."""

import os
from pathlib import Path

import pandas as pd
import pytest
import soundfile

from pipeline.catalogs import probe
from pipeline.catalogs.catalog import CatalogError, make_catalog


def test_probe_says_what_soundfile_decodes(clips, tmp_path: Path):
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(clips[1].read_bytes()[:2000])
    paths = [*map(str, clips), str(bad), str(tmp_path / "missing.mp3")]
    table = pd.read_csv(probe.probe_files(paths, tmp_path / "probe.csv"), keep_default_na=False)
    assert table["path"].tolist() == paths
    for row, path in zip(table.itertuples(), clips, strict=False):
        audio, rate_hz = soundfile.read(path, always_2d=True)
        assert (int(row.sample_rate_hz), int(row.channels)) == (rate_hz, audio.shape[1])
        assert float(row.duration_seconds) == pytest.approx(len(audio) / rate_hz, abs=1e-3)
    assert table["decodable"].tolist() == [1] * 12 + [0, 0]
    assert "truncated" in table["reason"][12] and table["reason"][13] == "file not found"


def test_interrupted_probe_goes_on_and_changed_files_are_probed_again(clips, tmp_path: Path, monkeypatch):
    probed = []

    def counting(path: str, probe_file=probe.probe_file):
        probed.append(path)
        if len(probed) == 8:
            raise KeyboardInterrupt
        return probe_file(path)

    monkeypatch.setattr(probe, "probe_file", counting)
    monkeypatch.setattr(probe.os, "cpu_count", lambda: 1)
    copies = [tmp_path / path.name for path in clips]
    for copy, path in zip(copies, clips, strict=True):
        copy.write_bytes(path.read_bytes())
    output = tmp_path / "probe.csv"
    with pytest.raises(KeyboardInterrupt):
        probe.probe_files(map(str, copies), output)
    assert not output.exists()
    with open(f"{output}.partial", "a") as file:
        file.write(f"{copies[5]},12")  # half a line, as a kill leaves it
    probed.extend([""] * 8)
    known = len(probe._read_rows(Path(f"{output}.partial")))
    assert known >= 4
    probed.clear()
    probed.extend([""] * 8)
    probe.probe_files(map(str, copies), output)
    assert len(probed) - 8 == 12 - known
    table = pd.read_csv(output)
    assert table["path"].tolist() == [str(copy) for copy in copies] and table["decodable"].all()

    probed.clear()
    probed.extend([""] * 8)
    probe.probe_files(map(str, copies), output)
    assert len(probed) == 8, "nothing had changed"
    copies[3].write_bytes(b"overwritten")
    probe.probe_files(map(str, copies), output)
    assert probed[8:] == [str(copies[3])]
    assert not pd.read_csv(output)["decodable"][3]


def test_undecodable_clips_are_left_out_and_counted(clips, tmp_path: Path):
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"no audio")
    paths = [*map(str, clips), str(bad)]
    rows = pd.DataFrame({"path": paths, "label": "Rock", "split": "training", "track_id": range(13)})
    catalog = make_catalog(rows, ())
    output = probe.probe_files(paths, tmp_path / "probe.csv")
    kept = probe.leave_out_undecodable(catalog, output)
    assert kept.tracks["path"].tolist() == paths[:12]
    assert "left out 1 clips" in kept.notes[0]
    assert [(item.path, item.reason) for item in kept.left_out] == [(str(bad), f"undecodable, says {output}")]
    other = make_catalog(rows.assign(path="elsewhere"), ())
    with pytest.raises(CatalogError, match="found none of its paths"):
        probe.leave_out_undecodable(other, output)
    with pytest.raises(CatalogError, match="found no path"):
        (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
        probe.leave_out_undecodable(catalog, tmp_path / "wrong.csv")


def test_names_that_are_no_text_come_back(clips, tmp_path: Path):
    names = [os.fsencode(tmp_path) + b"/caf\xe9.mp3", os.fsencode(tmp_path) + b"/gone\xff.mp3"]
    Path(os.fsdecode(names[0])).write_bytes(clips[0].read_bytes())
    paths = [os.fsdecode(name) for name in names]
    rows = pd.DataFrame({"path": paths, "label": "Rock", "split": "training", "track_id": range(2)})
    for _ in range(2):  # the second brings the first's file up to date
        output = probe.probe_files(paths, tmp_path / "probe.csv")
    assert [line.split(b",")[0] for line in output.read_bytes().splitlines()[1:]] == names
    kept = probe.leave_out_undecodable(make_catalog(rows, ()), output).tracks["path"]
    assert [os.fsencode(path) for path in kept] == names[:1]
