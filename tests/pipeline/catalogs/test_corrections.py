"""Tables that leave clips out or give them another label."""

from pathlib import Path

import pandas as pd
import pytest

from experiments.builders.data import prepare
from experiments.runs.identity import data_identity, same_data
from experiments.settings import Settings, differences
from pipeline.catalogs.catalog import CatalogError, make_catalog
from pipeline.catalogs.corrections import exclude_clips, relabel_clips


def catalog_of(labels: str = "RRJJ", multi_label: bool = False, folder: str = "/music"):
    names = {"R": "Rock", "J": "Jazz"}
    rows = [(f"{folder}/{i}.mp3", names[label], "training", f"id{i}") for i, label in enumerate(labels)]
    return make_catalog(pd.DataFrame(rows, columns=["path", "label", "split", "track_id"]), (), (), multi_label)


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_clips_that_a_table_names_leave_with_their_reasons(tmp_path: Path):
    table = write(
        tmp_path / "audit.csv",
        "clip,finding,score,partner",
        "/music/1.mp3,copy,0.5,/music/0.mp3",
        "/music/1.mp3,leak,0.5,/music/0.mp3",
        "/music/./sub/../3.mp3,silent,99,",
        "/elsewhere/2.mp3,silent,99,",
    )
    kept = exclude_clips(catalog_of(), table)
    assert kept.tracks["track_id"].tolist() == ["id0", "id2"] and kept.labels == ("Jazz", "Rock")
    assert [tuple(item)[:2] for item in kept.left_out] == [
        ("/music/1.mp3", f"copy, leak, says {table}"),
        ("/music/3.mp3", f"silent, says {table}"),
    ]
    stray = "; 1 of its rows names no clip of this data set, such as '/elsewhere/2.mp3'"
    assert kept.notes == (f"left out 2 clips that {table} names{stray}",)


def test_clips_of_a_data_set_that_has_moved_are_found_by_their_ids(tmp_path: Path):
    table = write(tmp_path / "x.csv", "clip,track_id", "/music/1.mp3,id1")
    moved = exclude_clips(catalog_of(folder="/moved"), table)
    assert moved.tracks["track_id"].tolist() == ["id0", "id2", "id3"]
    assert moved.notes == (
        f"left out 1 clips that {table} names, found by track_id and file name, as it has no path of this data set",
    )
    shard = "/r/records-00000-of-00001.tfrecord#0+1+2:/music/1.mp3"
    packed = catalog_of()
    packed = packed.__class__(packed.tracks.assign(path=[shard, *packed.tracks["path"][[0, 2, 3]]]), packed.labels)
    assert exclude_clips(packed, table).tracks["path"].tolist() == packed.tracks["path"].tolist()[1:]


def test_ids_of_another_data_set_name_no_clip(tmp_path: Path):
    """Many data sets count their clips alike; the same id and another file is another clip."""
    rows = ["clip,track_id,label", "/theirs/song.mp3,id0,Jazz", "/theirs/2.mp3,id1,Jazz"]
    for correct in (exclude_clips, relabel_clips):
        with pytest.raises(CatalogError, match="found none among its 2 rows"):
            correct(catalog_of(), write(tmp_path / "theirs.csv", *rows))
    table = write(tmp_path / "mixed.csv", *rows, "/theirs/0.mp3,id0,Jazz")
    relabelled = relabel_clips(catalog_of(), table)
    assert relabelled.tracks["label"].tolist() == ["Jazz", "Rock", "Jazz", "Jazz"]
    assert relabelled.notes[0].endswith(
        "no path of this data set; 2 of its rows name no clip of this data set, such as '/theirs/song.mp3'"
    )


def test_labels_are_replaced_and_counted(tmp_path: Path):
    table = write(
        tmp_path / "relabel.csv",
        "clip,label,likely_label",
        "/music/0.mp3,Rock,jazz",
        "/music/1.mp3,Rock,Rock",
        "/music/2.mp3,Jazz,",
    )
    relabelled = relabel_clips(catalog_of(), table)
    assert relabelled.tracks["label"].tolist() == ["Jazz", "Rock", "Jazz", "Jazz"]
    assert relabelled.notes == (f"1 clips have another label by {table}, which names 2",)
    own = write(tmp_path / "own.csv", "path,label", "/music/3.mp3,Rock | Jazz")
    assert relabel_clips(catalog_of(multi_label=True), own).tracks["label"][3] == "Jazz|Rock"


@pytest.mark.parametrize(
    ("correct", "rows", "message"),
    [
        (exclude_clips, ["clip", "/other/9.mp3"], r"found none among its 1 rows; .*'/music/0.mp3'.*--exclude_csv="),
        (
            exclude_clips,
            ["clip", *(f"/music/{i}.mp3" for i in (0, 1, 2, 3, 0))],
            "leaves clips of this data set over in --exclude_csv, received .*table.csv, which names all 4; keep only",
        ),
        (exclude_clips, ["file", "/music/0.mp3"], "expected a column clip or path .*its columns: file"),
        (relabel_clips, ["clip", "/music/0.mp3"], "expected a column likely_label or label"),
        (relabel_clips, ["clip,label", "/music/0.mp3,Folk"], "expected a known label, received 'Folk'; choose from: "),
        (relabel_clips, ["clip,label", "/music/0.mp3,"], "found none among its 0 rows"),
        (
            relabel_clips,
            ["clip,label", "/music/0.mp3,Jazz", "/music/0.mp3,Rock"],
            "one label for each clip .* 'Jazz' and 'Rock' for '/music/0.mp3'",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused(correct, rows: list[str], message: str, tmp_path: Path):
    with pytest.raises(CatalogError, match=message):
        correct(catalog_of(), write(tmp_path / "table.csv", *rows))


def test_a_run_takes_both_and_knows_its_data_by_them(tmp_path: Path, capsys):
    splits = ("training", "validation", "test")
    rows = [f"{label}{i}.mp3,{label},{splits[i % 3]}" for label in "xy" for i in range(6)]
    for row in rows:
        (tmp_path / row.split(",")[0]).write_text(row)
    table = write(tmp_path / "t.csv", "path,label,split", *rows)
    exclude = write(tmp_path / "exclude.csv", "clip,finding", f"{tmp_path}/x0.mp3,clipped")
    relabel = write(tmp_path / "relabel.csv", "clip,label", f"{tmp_path}/y1.mp3,x", f"{tmp_path}/x0.mp3,y")
    plain = Settings(dataset="csv", data_dir=str(table))
    corrected = Settings(dataset="csv", data_dir=str(table), exclude_csv=str(exclude), relabel_csv=str(relabel))
    catalog, _ = prepare(corrected)
    shown = capsys.readouterr().out
    assert f"left out 1 clips that {exclude} names" in shown and f"2 clips have another label by {relabel}" in shown
    assert len(catalog.tracks) == 11 and (catalog.tracks["label"] == "x").sum() == 6
    assert not same_data(data_identity(prepare(plain)[0]), data_identity(catalog))
    assert differences(plain, corrected) == []  # the identity of the data says it, as for --probe_csv
