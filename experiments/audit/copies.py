"""Finds clips of the same recording by their fingerprints, in a time that grows with the clips, not with their pairs.

All landmarks of a data set are sorted by their hash, so that equal ones stand side by side; each is compared with its next
few neighbours only. Two clips of one recording share many landmarks at one distance in time, all along the time that they
have in common. Clips that share a loop do not: it comes at many distances, or takes a part of the time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from experiments.audit.fingerprints import HOP_SECONDS

_NEIGHBOURS = 16  # a landmark that more clips have says little: each is compared with so many of the next ones
_BLOCK = 1 << 22  # landmarks that are compared in one go
_MOST_MATCHES = 30_000_000  # that are held at a time, 240 MB
_MOST_FRAMES = 1 << 13  # more than the frames of a clip that are fingerprinted
# Of 24 planted copies (64 to 320 kbit/s, 22.05 kHz, beginnings cut off, -6 dB, 10 s of 30), the weakest share 65 landmarks,
# 7.8 % of what there is, and in 9 of 10 seconds; different clips up to 26, 3.9 %, or in few seconds.
LEAST_MATCHES = 20
LEAST_SHARE = 0.05
LEAST_COVERAGE = 0.5
LEAST_OVERLAP_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Copy:
    """Two clips of one recording.

    Attributes:
        first, second: places of the clips, first < second.
        share: of the landmarks in the time that both have, how many agree.
        offset_seconds: where the first clip's beginning lies in the second; negative if the second begins later.
        overlap_seconds: length of what both have.
    """

    first: int
    second: int
    share: float
    offset_seconds: float
    overlap_seconds: float


def find_copies(fingerprints: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Copy]:
    """Finds pairs of clips that hold the same recording, or one an excerpt of the other.

    Args:
        fingerprints: of each clip, hashes uint32 and frames uint16 as `fingerprint` returns them.

    Returns:
        The pairs, the largest share first.
    """
    starts = np.concatenate(([0], np.cumsum([len(hashes) for hashes, _ in fingerprints]))).astype(np.int64)
    if not starts[-1]:
        return []
    hashes = np.concatenate([hashes for hashes, _ in fingerprints])
    frames = np.concatenate([frames for _, frames in fingerprints])
    pairs: dict[tuple[int, int], tuple[int, int]] = {}  # how many landmarks agree, and at which distance
    for first, second, offset, count in _aligned_matches(_sorted_index(hashes), frames, starts):
        if count > pairs.get((first, second), (0, 0))[0]:
            pairs[first, second] = (count, offset)
    copies = (
        _compare(first, second, offset, fingerprints[first], fingerprints[second])
        for (first, second), (_, offset) in pairs.items()
    )
    return sorted((copy for copy in copies if copy), key=lambda copy: (-copy.share, copy.first, copy.second))


def _sorted_index(hashes: np.ndarray) -> np.ndarray:
    """Returns each landmark's hash and place, uint64 [landmarks], in order: of all sorts the one that needs least memory."""
    index = hashes.astype(np.uint64) << np.uint64(32) | np.arange(len(hashes), dtype=np.uint64)
    index.sort()
    return index


def _matches(index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the places of landmarks with equal hashes, pair by pair in two arrays; the first is the earlier place."""
    for begin in range(0, len(index), _BLOCK):
        block = index[begin : begin + _BLOCK + _NEIGHBOURS]
        hashes = (block >> np.uint64(32)).astype(np.uint32)
        for step in range(1, min(_NEIGHBOURS, len(block) - 1) + 1):
            equal = np.flatnonzero(hashes[:-step] == hashes[step:])
            equal = equal[equal < _BLOCK]  # those behind are the next block's
            if not len(equal):
                break
            place = (block & np.uint64(0xFFFFFFFF)).astype(np.int64)
            yield place[equal], place[equal + step]


def _aligned_matches(index: np.ndarray, frames: np.ndarray, starts: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """Counts the landmarks that two clips share at one distance in time, of neighbouring frames together.

    Yields:
        First and second clip, the distance in frames, and the number, where it is at least `LEAST_MATCHES`.
    """
    clips = len(starts) - 1
    total = sum(len(first) for first, _ in _matches(index))
    rounds = 1 + total // _MOST_MATCHES  # each counts the pairs of some of the clips
    for number in range(rounds):
        keys = []
        for first, second in _matches(index):
            a = np.searchsorted(starts, first, side="right") - 1
            b = np.searchsorted(starts, second, side="right") - 1
            chosen = (a != b) & (a % rounds == number)
            offset = frames[second[chosen]].astype(np.int64) - frames[first[chosen]]
            keys.append((a[chosen] * clips + b[chosen]) * (2 * _MOST_FRAMES) + offset + _MOST_FRAMES)
        found, counts = np.unique(np.concatenate(keys or [np.empty(0, np.int64)]), return_counts=True)
        # A cut between two frames spreads the matches over both. Offsets of one pair are neighbours in `found`.
        follows = np.flatnonzero(np.diff(found) == 1)
        joined = counts.copy()
        joined[follows] += counts[follows + 1]
        for key, count in zip(
            found[joined >= LEAST_MATCHES].tolist(), joined[joined >= LEAST_MATCHES].tolist(), strict=True
        ):
            pair, offset = divmod(key, 2 * _MOST_FRAMES)
            yield *divmod(pair, clips), offset - _MOST_FRAMES, count


def _compare(
    first: int, second: int, offset: int, a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]
) -> Copy | None:
    """Looks closer at two clips: at all of their landmarks that agree at a distance of `offset` or one frame more."""
    begins, ends = (
        max(0, -offset),
        min(int(a[1][-1]), int(b[1][-1]) - offset),
    )  # of the overlap, in the first clip's frames
    overlap_seconds = (ends - begins) * HOP_SECONDS
    if overlap_seconds < LEAST_OVERLAP_SECONDS:
        return None
    own = set(zip(a[0].tolist(), a[1].tolist(), strict=True))
    agreeing = set()
    for value, frame in zip(b[0].tolist(), b[1].tolist(), strict=True):
        agreeing |= {(value, frame - offset), (value, frame - offset - 1)} & own
    fewer = min(
        np.count_nonzero((a[1] >= begins) & (a[1] <= ends)),
        np.count_nonzero((b[1] >= begins + offset) & (b[1] <= ends + offset)),
    )
    share = min(1.0, len(agreeing) / fewer) if fewer else 0.0
    seconds = {int((frame - begins) * HOP_SECONDS) for _, frame in agreeing}
    if share < LEAST_SHARE or len(seconds) < LEAST_COVERAGE * overlap_seconds:
        return None
    return Copy(first, second, share, offset * HOP_SECONDS, overlap_seconds)
