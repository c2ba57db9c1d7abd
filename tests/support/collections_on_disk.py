"""Data sets on disk, small and without sound: FMA's tables, and folders of empty files."""

import csv
from collections.abc import Iterable
from pathlib import Path

GENRES = "genre_id,#tracks,parent,title,top_level\n12,9,0,Rock,12\n25,5,12,Punk,12\n109,2,25,Hardcore,12\n21,4,0,Hip-Hop,21\n"
# track_id, artist, artist id, split, subset, genre_top, genres_all
TRACKS = [
    (2, "A", 1, "training", "small", "Hip-Hop", "[21]"),
    (5, "B", 2, "training", "small", "Rock", "[12]"),
    (10, "B", 3, "test", "medium", "Rock", "[12, 25]"),
    (99134, "C", 4, "training", "small", "Rock", "[12]"),
    (140, "D", 5, "validation", "large", "Rock", "[12, 25, 109]"),
    (141, "E", 6, "validation", "large", "", "[12, 21]"),
    (142, "F", 7, "test", "large", "", "[]"),
]


def write_tables(
    root: Path, drop: tuple[str, str] | None = None, tracks: Iterable[tuple] = TRACKS, genres: str = GENRES
) -> Path:
    columns = [
        ("album", "title"), ("artist", "id"), ("artist", "name"), ("set", "split"), ("set", "subset"),
        ("track", "genre_top"), ("track", "genres_all"), ("track", "title"),
    ]  # fmt: skip
    kept = [column for column in columns if column != drop]
    (root / "fma_metadata").mkdir(parents=True)
    (root / "fma_small").mkdir()
    with open(root / "fma_metadata" / "tracks.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["", *(c[0] for c in kept)], ["", *(c[1] for c in kept)], ["track_id"] + [""] * len(kept)])
        for track_id, artist, artist_id, split, subset, top, genres_all in tracks:
            row = dict(zip(columns, ["Al\nbum", artist_id, artist, split, subset, top, genres_all, "t"], strict=True))
            writer.writerow([track_id, *(row[column] for column in kept)])
    (root / "fma_metadata" / "genres.csv").write_text(genres)
    return root


def fill(root: Path, **clips: int) -> Path:
    for label, count in clips.items():
        for i in range(count):
            file = root / label / f"album{i % 3}" / f"{i:03d}.mp3"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return root
