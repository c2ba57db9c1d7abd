"""Pairs of clips that are copies of one another, of every kind, as findings."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from experiments.audit.clip_analysis import ClipAnalysis
from experiments.audit.copies import find_copies
from experiments.audit.findings import Finding
from pipeline.catalogs.catalog import SPLITS, name_key
from pipeline.catalogs.duplicates import find_equal_files


def find_pairs(tracks: pd.DataFrame, clips: Sequence[ClipAnalysis]) -> Iterator[Finding]:
    """Finds copies: equal files, the same recording, and the same artist and title.

    A pair is named once, by the first of these. Its `clip` is the one to leave out: the one in training rather than in
    validation, in validation rather than in test; in one split the one of the lower rate, then of the smaller file, then the
    later. So of several copies one is never left out, and the scores of the other splits stay what they were. Of files that
    are equal, and of clips of one title, each is paired with the best alone.

    Args:
        tracks: of the catalog.
        clips: the analysis of each, in the order of `tracks`.

    Yields:
        A finding for each pair; for one in two splits `leak` too, and under two labels `other_label`.
    """
    rank = {clip.path: _worth(row, clip, n) for n, (row, clip) in enumerate(zip(_rows(tracks), clips, strict=True))}
    row_of = {row["path"]: row for row in _rows(tracks)}
    seen: set[tuple[str, str]] = set()

    def describe(paths: Iterable[str], kind: str, score: float, detail: str) -> Iterator[Finding]:
        partner, clip = sorted(paths, key=rank.__getitem__)
        if (clip, partner) in seen:
            return
        seen.add((clip, partner))
        row, other = row_of[clip], row_of[partner]
        names = {name: str(row[name]) for name in ("track_id", "label", "split")}
        yield Finding(clip, kind, score, partner, detail=detail, **names)
        if row["split"] != other["split"]:
            detail = f"in {row['split'] or 'no split'}, its partner in {other['split'] or 'no split'}"
            yield Finding(clip, "leak", score, partner, detail=detail, **names)
        if row["label"] != other["label"]:
            detail = f"{row['label']}, its partner {other['label']}"
            yield Finding(clip, "other_label", score, partner, detail=detail, **names)

    equal = [sorted(group, key=rank.__getitem__) for group in find_equal_files(clip.path for clip in clips)]
    for best, *others in equal:
        for other in others:
            yield from describe((best, other), "equal_bytes", 1.0, "equal byte for byte")
    again = set(itertools.chain.from_iterable(group[1:] for group in equal))
    heard = [clip for clip in clips if clip.path not in again]
    for copy in find_copies([(clip.hashes, clip.frames) for clip in heard]):
        pair = heard[copy.first].path, heard[copy.second].path
        detail = f"{100 * copy.share:.0f} % of the landmarks agree over {copy.overlap_seconds:.0f} s"
        if abs(copy.offset_seconds) >= 0.1:
            detail += f"; one begins {abs(copy.offset_seconds):.1f} s after the other"
        yield from describe(pair, "copy", copy.share, detail)
    for best, *others in _by_title(tracks, rank):
        for other in others:
            title = f"{row_of[best]['artist']}: {row_of[best]['title']}"
            yield from describe((best, other), "same_title", 1.0, title)


def _rows(tracks: pd.DataFrame) -> list[dict]:
    return tracks.to_dict("records")


def _worth(row: dict, clip: ClipAnalysis, number: int) -> tuple[int, int, int, int]:
    """What of two copies is smaller for the one to keep."""
    split = SPLITS.index(row["split"]) if row["split"] in SPLITS else -1
    return -split, -clip.sample_rate_hz, -clip.file_bytes, number


def _by_title(tracks: pd.DataFrame, rank: dict[str, tuple[int, int, int, int]]) -> list[list[str]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for artist, title, path in zip(tracks["artist"], tracks["title"], tracks["path"], strict=True):
        if artist.strip() and title.strip():
            groups.setdefault((name_key(artist), name_key(title)), []).append(path)
    return [sorted(set(group), key=rank.__getitem__) for group in groups.values() if len(set(group)) > 1]
