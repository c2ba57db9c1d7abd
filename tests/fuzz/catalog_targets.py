"""Tables: FMA's, a CSV of paths and labels, and the metadata beside folders."""

import csv
import io
import os
import random
from collections.abc import Callable
from pathlib import Path

from fuzz.target import Prepared, Target, require
from pipeline.catalogs.catalog import COLUMNS, SPLITS, Catalog, CatalogError
from pipeline.catalogs.fma import load_fma
from pipeline.catalogs.folders import load_folders
from pipeline.catalogs.metadata import METADATA_FILE
from pipeline.catalogs.table import load_csv

_MAX_MESSAGE = 5000  # characters that a terminal can show
_CELLS = (
    "", " ", "0", "-1", "1.5", "1e400", "NaN", "inf", "9" * 30, "0x10", "١٢", "=cmd|' /C calc'!A0", "@SUM(1)", "+1", "-",
    "<script>alert(1)</script>", "$x^{", "../../../etc/passwd", "/etc/passwd", "a\0b", "\r", "a\nb", '"', "''", ",", ";",
    "[", "[]", "[[1]]", "{}", "null", "[null]", "[1e999]", '["12"]', "[" * 3000, "[" + "1," * 500 + "1]", "\ufeff", "\u202e",
    "\x1b[31m", "training", "test", "holdout", "x" * 5000, "x" * 200_000, "é" * 300, "CON", "~", "%s%n", "{0}", "\\",
    "small", "full", "12", "[12]", "21", "999999", str(1 << 31), str(1 << 63), str(-(1 << 63)), str(1 << 64),
)  # fmt: skip
_Rows = list[list[str]]


def _fma_tracks() -> _Rows:
    columns = [
        ("album", "title"), ("artist", "id"), ("artist", "name"), ("set", "split"), ("set", "subset"),
        ("track", "genre_top"), ("track", "genres_all"), ("track", "title"),
    ]  # fmt: skip
    rows = [["", *(first for first, _ in columns)], ["", *(second for _, second in columns)], ["track_id"] + [""] * 8]
    for i in range(12):
        genre = ("12", "21")[i % 2]
        rows.append([
            str(2 + 5 * i), f"Album {i}", str(i // 3), f"Artist {i // 4}", SPLITS[i % 3], ("small", "medium")[i // 9],
            "Rock", f"[{genre}, 25]" if i % 4 == 0 else f"[{genre}]", f"Title {i}",
        ])  # fmt: skip
    return rows


def _fma_genres() -> _Rows:
    return [
        ["genre_id", "#tracks", "parent", "title", "top_level"],
        ["12", "9", "0", "Rock", "12"], ["25", "5", "12", "Punk", "12"], ["21", "4", "0", "Hip-Hop", "21"],
        ["109", "2", "25", "Hardcore", "12"],
    ]  # fmt: skip


def _paths_and_labels() -> _Rows:
    columns = ["path", "label", "split", "artist", "album", "title", "track_id"]
    return [columns] + [
        [f"a/{i}.mp3", ("Rock", "Jazz")[i % 2], SPLITS[i % 3], f"Artist {i // 2}", "", f"T{i}", str(i)]
        for i in range(12)
    ]


def _metadata() -> _Rows:
    return [["path", "artist", "split"]] + [
        [f"{label}/{i}.mp3", f"{label} {i // 2}", ""] for label in ("Rock", "Jazz") for i in range(8)
    ]


def _make(rows: _Rows) -> Callable[[random.Random], bytes]:
    def make(rng: random.Random) -> bytes:
        table = [list(row) for row in rows]
        for _ in range(rng.choice((0, 1, 1, 2, 4))):
            rng.choice((_change_cell, _change_column, _drop_column, _drop_row, _repeat_row, _add_cell, _swap_rows))(
                table, rng
            )
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=rng.choice(",,,,,,,;\t"), lineterminator=rng.choice(("\n", "\n", "\r\n", "\r")),
                            quoting=rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)))  # fmt: skip
        writer.writerows(table)
        data = bytearray(
            text.getvalue().encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16")), "replace")
        )
        for _ in range(rng.choice((0, 0, 0, 1, 5))):
            if data:
                data[rng.randrange(len(data))] = rng.choice((0, 0x22, 0x2C, 0x0A, 0x0D, 0xFF, 0x80, rng.randrange(256)))
        return bytes(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.1 else data)

    return make


def _row(table: _Rows, rng: random.Random) -> list[str]:
    return rng.choice(table) if table else []


def _change_cell(table: _Rows, rng: random.Random) -> None:
    row = _row(table, rng)
    if row:
        row[rng.randrange(len(row))] = rng.choice(_CELLS)


def _change_column(table: _Rows, rng: random.Random) -> None:
    column, value = rng.randrange(9), rng.choice(_CELLS)
    for row in table[rng.randrange(4) :]:
        if column < len(row):
            row[column] = value


def _drop_column(table: _Rows, rng: random.Random) -> None:
    column = rng.randrange(9)
    for row in table[rng.randrange(3) :]:
        del row[column : column + 1]


def _drop_row(table: _Rows, rng: random.Random) -> None:
    del table[rng.randrange(len(table) + 1) :][:1]
    if table:
        del table[rng.randrange(len(table))]


def _repeat_row(table: _Rows, rng: random.Random) -> None:
    table.append(list(_row(table, rng)))


def _add_cell(table: _Rows, rng: random.Random) -> None:
    row = _row(table, rng)
    row.insert(rng.randrange(len(row) + 1), rng.choice(_CELLS))


def _swap_rows(table: _Rows, rng: random.Random) -> None:
    if table:
        i, j = rng.randrange(len(table)), rng.randrange(len(table))
        table[i], table[j] = table[j], table[i]


def _checked(table: Path, load: Callable[[], Catalog]) -> Callable[[bytes], str]:
    def check(data: bytes) -> str:
        table.write_bytes(data)
        try:
            catalog = load()
        except CatalogError as error:
            require(0 < len(str(error)) <= _MAX_MESSAGE, f"a message of {len(str(error))} characters")
            return "CatalogError"
        tracks = catalog.tracks
        require(tuple(tracks.columns) == COLUMNS and len(tracks), f"columns {list(tracks.columns)}, {len(tracks)} rows")
        require(set(tracks["split"]) <= set(SPLITS), f"splits {set(tracks['split'])}")
        require(set(tracks["label"]) <= set(catalog.labels), "a label without an index")
        for column in COLUMNS[1:]:
            texts = tracks[column]
            require(all(isinstance(text, str) and "\0" not in text for text in texts), f"{column} that is no text")
            require(max(map(len, texts)) <= 5000, f"{column} of {max(map(len, texts))} characters")
        for path in tracks["path"]:
            os.path.isfile(path)
            os.fsencode(path)
        return "catalog"

    return check


def _prepare_fma(rows: _Rows, name: str) -> Callable[[Path], Prepared]:
    def prepare(folder: Path) -> Prepared:
        metadata = folder / "fma_metadata"
        metadata.mkdir()
        for subset in ("small", "medium"):
            (folder / f"fma_{subset}").mkdir()
        for table, content in (("tracks.csv", _fma_tracks()), ("genres.csv", _fma_genres())):
            with open(metadata / table, "w", newline="") as file:
                csv.writer(file).writerows(content)

        def load() -> Catalog:
            catalog = load_fma(folder, "medium")
            inside = all(Path(path).resolve().is_relative_to(folder.resolve()) for path in catalog.tracks["path"])
            require(inside, "a path outside the data set")
            return catalog

        return Prepared(_make(rows), _checked(metadata / name, load))

    return prepare


def _prepare_csv(folder: Path) -> Prepared:
    table = folder / "table.csv"
    return Prepared(_make(_paths_and_labels()), _checked(table, lambda: load_csv(table)))


def _prepare_folders(folder: Path) -> Prepared:
    for row in _metadata()[1:]:
        (folder / row[0]).parent.mkdir(exist_ok=True)
        (folder / row[0]).touch()

    def load() -> Catalog:
        catalog = load_folders(folder)
        require(len(catalog.tracks) == 16, f"{len(catalog.tracks)} clips of 16 files")
        return catalog

    return Prepared(_make(_metadata()), _checked(folder / METADATA_FILE, load))


TARGETS = {
    "fma_tracks": Target("load_fma: tracks.csv", 5_000, _prepare_fma(_fma_tracks(), "tracks.csv")),
    "fma_genres": Target("load_fma: genres.csv", 5_000, _prepare_fma(_fma_genres(), "genres.csv")),
    "csv_table": Target("load_csv", 5_000, _prepare_csv),
    "folder_metadata": Target("load_folders: metadata.csv", 5_000, _prepare_folders),
}
