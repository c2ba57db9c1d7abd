"""What decoding a clip once gives the audit, its measures and its fingerprint, and the files that keep it for the next time."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from experiments.audit import fingerprints, sound
from experiments.audit.sound import SoundMeasures
from pipeline.decoding.auto_decoder import find_remark, read_info
from pipeline.decoding.channels import decode_channels
from pipeline.decoding.decoder import DecodeError
from pipeline.storage.clips import clip_size

MAX_SECONDS = 120.0  # of a clip are decoded at most: 42 MB in stereo
_VERSION = f"{sound.VERSION}.{fingerprints.VERSION}"
_PENDING_PER_WORKER = 4
_LANDMARK = np.dtype([("hash", "<u4"), ("frame", "<u2")])
_MEASURES = tuple(field.name for field in dataclasses.fields(SoundMeasures))
COLUMNS = (
    *("path", "file_bytes", "version", "sample_rate_hz", "channels", "reason", "remark"),
    *_MEASURES,
    *("first_landmark", "landmarks"),
)
Progress = Callable[[Iterable, int], Iterable]


@dataclasses.dataclass(frozen=True)
class ClipAnalysis:
    """What decoding a clip gave.

    Attributes:
        path: as in the catalog.
        file_bytes: size of the file, or of the clip in a shard; 0 where it cannot be read.
        sample_rate_hz, channels: of the file; 0 where it cannot be opened.
        reason: why it cannot be decoded, or "".
        remark: what to know of it although it can be decoded, or "".
        measures: None where it cannot be decoded.
        hashes, frames: its fingerprint, uint32 and uint16 [landmarks].
    """

    path: str
    file_bytes: int
    sample_rate_hz: int = 0
    channels: int = 0
    reason: str = ""
    remark: str = ""
    measures: SoundMeasures | None = None
    hashes: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.uint32))
    frames: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.uint16))


def analyse_clip(path: str) -> ClipAnalysis:
    """Decodes the first `MAX_SECONDS` of a clip, measures its sound and takes its fingerprint."""
    result = ClipAnalysis(path, _file_bytes(path))
    try:
        info = read_info(path)
        result = dataclasses.replace(result, sample_rate_hz=info.sample_rate_hz, channels=info.channels)
        audio, rate_hz = decode_channels(path, MAX_SECONDS)
    except DecodeError as error:
        return dataclasses.replace(result, reason=str(error))
    mono = audio[:, 0].copy()
    for channel in range(1, audio.shape[1]):  # adding columns is several times faster than a mean over pairs
        mono += audio[:, channel]
    if audio.shape[1] == 2 and 4 * np.dot(mono, mono) < np.dot(audio[:, 0], audio[:, 0]):
        mono = audio[:, 0].copy()  # the channels cancel one another; what is left would be an encoder's noise
    hashes, frames = fingerprints.fingerprint(mono / audio.shape[1], rate_hz)
    return dataclasses.replace(
        result,
        remark=find_remark(path),
        measures=sound.measure_sound(audio, rate_hz, info.duration_seconds),
        hashes=hashes,
        frames=frames,
    )


def analyse_clips(
    paths: Iterable[str], folder: Path, progress: Progress = lambda items, total: items
) -> list[ClipAnalysis]:
    """Analyses clips in parallel, and keeps what each gave in two files of a folder.

    clips.csv has a row a clip with `COLUMNS`, fingerprints.bin the landmarks, to which the rows point. Both are appended to
    as soon as a clip is known. A clip whose file has the size that its row says is not decoded again.

    Args:
        paths: of the clips.
        folder: where the two files are, or will be.
        progress: wraps the iterable of results and its length, for a progress bar.

    Returns:
        The analysis of each clip, in the order of `paths`, each path once.
    """
    paths = list(dict.fromkeys(paths))
    table, binary = folder / "clips.csv", folder / "fingerprints.bin"
    known = {
        path: row for path, row in _read_rows(table, binary).items() if row["file_bytes"] == str(_file_bytes(path))
    }
    todo = [path for path in paths if path not in known]
    folder.mkdir(parents=True, exist_ok=True)
    with (
        open(table, "a", encoding="utf-8", errors="surrogateescape", newline="") as rows,
        open(binary, "ab") as landmarks,
    ):
        # A killed run may have left half a line, or half a landmark.
        rows.write("\r\n" if rows.tell() else ",".join(COLUMNS) + "\r\n")
        landmarks.write(bytes(-landmarks.tell() % _LANDMARK.itemsize))
        writer = csv.writer(rows)
        for clip in progress(_in_parallel(todo), len(todo)):
            row = _as_row(clip, landmarks.tell() // _LANDMARK.itemsize)
            landmarks.write(_as_landmarks(clip).tobytes())
            landmarks.flush()  # before the row that points at them
            writer.writerow(row.values())
            rows.flush()
            known[clip.path] = {name: str(value) for name, value in row.items()}
    held = np.fromfile(binary, _LANDMARK)
    return [_from_row(known[path], held) for path in paths]


def _in_parallel(paths: Sequence[str]) -> Iterator[ClipAnalysis]:
    """Yields results in the order of `paths`, with a bounded number of clips under way."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:  # decoding and Fourier transforms happen without Python's lock
        for first in range(0, len(paths), size := workers * _PENDING_PER_WORKER):
            yield from pool.map(analyse_clip, paths[first : first + size])


def _as_landmarks(clip: ClipAnalysis) -> np.ndarray:
    landmarks = np.empty(len(clip.hashes), _LANDMARK)
    landmarks["hash"], landmarks["frame"] = clip.hashes, clip.frames
    return landmarks


def _as_row(clip: ClipAnalysis, first_landmark: int) -> dict[str, Any]:
    measures = dataclasses.asdict(clip.measures) if clip.measures else dict.fromkeys(_MEASURES, "")
    return {
        **{name: getattr(clip, name) for name in ("path", "file_bytes")},
        "version": _VERSION,
        **{name: getattr(clip, name) for name in ("sample_rate_hz", "channels", "reason", "remark")},
        **measures,
        "first_landmark": first_landmark,
        "landmarks": len(clip.hashes),
    }


def _from_row(row: dict[str, str], held: np.ndarray) -> ClipAnalysis:
    landmarks = held[int(row["first_landmark"]) :][: int(row["landmarks"])]
    return ClipAnalysis(
        path=row["path"],
        file_bytes=int(row["file_bytes"]),
        sample_rate_hz=int(row["sample_rate_hz"]),
        channels=int(row["channels"]),
        reason=row["reason"],
        remark=row["remark"],
        measures=None if row["reason"] else SoundMeasures(*(float(row[name]) for name in _MEASURES)),
        hashes=landmarks["hash"],
        frames=landmarks["frame"],
    )


def _read_rows(table: Path, binary: Path) -> dict[str, dict[str, str]]:
    """Reads the complete rows of this version by path; none if there is no such file."""
    if not table.is_file() or not binary.is_file():
        return {}
    held = binary.stat().st_size // _LANDMARK.itemsize
    with open(table, encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("version") == _VERSION]
    return {row["path"]: row for row in rows if _is_complete(row, held)}


def _is_complete(row: dict[str, str], held: int) -> bool:
    """Whether a row can be read, which half a line or one of another table cannot."""
    try:
        _from_row(row, np.empty(0, _LANDMARK))
        return list(row) == list(COLUMNS) and int(row["first_landmark"]) + int(row["landmarks"]) <= held
    except (KeyError, TypeError, ValueError):
        return False


def _file_bytes(path: str) -> int:
    try:
        return clip_size(path)
    except OSError:
        return 0
