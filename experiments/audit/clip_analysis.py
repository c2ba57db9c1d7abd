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
from pipeline.storage.clips import clip_size, clip_version

MAX_SECONDS = 120.0  # of a clip are decoded at most: 42 MB in stereo
_VERSION = f"{sound.VERSION}.{fingerprints.VERSION}"
_PENDING_PER_WORKER = 4
_LANDMARK = np.dtype([("hash", "<u4"), ("frame", "<u2")])
_MEASURES = tuple(field.name for field in dataclasses.fields(SoundMeasures))
COLUMNS = (
    *("path", "file_bytes", "file_version", "version", "sample_rate_hz", "channels", "reason", "remark"),
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
        file_version: time and size of the file, which change with it.
        sample_rate_hz, channels: of the file; 0 where it cannot be opened.
        reason: why it cannot be decoded, or "".
        remark: what to know of it although it can be decoded, or "".
        measures: None where it cannot be decoded.
        hashes, frames: its fingerprint, uint32 and uint16 [landmarks].
    """

    path: str
    file_bytes: int
    file_version: str
    sample_rate_hz: int = 0
    channels: int = 0
    reason: str = ""
    remark: str = ""
    measures: SoundMeasures | None = None
    hashes: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.uint32))
    frames: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.uint16))


def analyse_clip(path: str) -> ClipAnalysis:
    """Decodes the first `MAX_SECONDS` of a clip, measures its sound and takes its fingerprint."""
    result = ClipAnalysis(path, *_state(path))
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
    as soon as a clip is known. A clip whose file has the time and the size that its row says is not decoded again, unless it
    could not be: what was in the way may be gone. A table is used up to where it is damaged; clips from there on are decoded
    again. One with other columns is set aside as clips.csv.old.

    Args:
        paths: of the clips.
        folder: where the two files are, or will be.
        progress: wraps the iterable of results and its length, for a progress bar.

    Returns:
        The analysis of each clip, in the order of `paths`, each path once.
    """
    paths = list(dict.fromkeys(paths))
    table, binary = folder / "clips.csv", folder / "fingerprints.bin"
    folder.mkdir(parents=True, exist_ok=True)
    held_rows = _keep_complete_rows(table, binary)
    known = {path: held_rows[path] for path in paths if path in held_rows and _is_current(held_rows[path])}
    todo = [path for path in paths if path not in known]
    with (
        open(table, "a", encoding="utf-8", errors="surrogateescape", newline="") as rows,
        open(binary, "ab") as landmarks,
    ):
        landmarks.write(bytes(-landmarks.tell() % _LANDMARK.itemsize))  # a killed run may have left half of one
        writer = csv.writer(rows)
        if not rows.tell():
            writer.writerow(COLUMNS)
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
        **{name: getattr(clip, name) for name in ("path", "file_bytes", "file_version")},
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
        file_version=row["file_version"],
        sample_rate_hz=int(row["sample_rate_hz"]),
        channels=int(row["channels"]),
        reason=row["reason"],
        remark=row["remark"],
        measures=None if row["reason"] else SoundMeasures(*(float(row[name]) for name in _MEASURES)),
        hashes=landmarks["hash"],
        frames=landmarks["frame"],
    )


def _keep_complete_rows(table: Path, binary: Path) -> dict[str, dict[str, str]]:
    """Reads the rows of this version by path, and cuts the table off where it is damaged.

    A killed run leaves half a row at the end. If a quote is open there, whatever is appended would become part of its field.
    """
    if not table.is_file():
        return {}
    held = binary.stat().st_size // _LANDMARK.itemsize if binary.is_file() else 0
    rows: dict[str, dict[str, str]] = {}
    read, end, line = 0, 0, ""

    def lines(file: Iterable[str]) -> Iterator[str]:
        nonlocal read, line
        for line in file:
            read += len(line.encode("utf-8", "surrogateescape"))
            yield line

    with open(table, encoding="utf-8", errors="surrogateescape", newline="") as file:
        reader = csv.reader(lines(file))
        try:
            if next(reader, None) == list(COLUMNS) and line.endswith("\n"):
                end = read
                for fields in reader:
                    row = dict(zip(COLUMNS, fields, strict=False))
                    if len(fields) != len(COLUMNS) or not line.endswith("\n") or not _is_sound(row, held):
                        break
                    end = read
                    if row["version"] == _VERSION:
                        rows[row["path"]] = row
        except csv.Error:  # a field without end
            pass
    if end:
        os.truncate(table, end)
    else:
        table.replace(f"{table}.old")
        binary.unlink(missing_ok=True)
    return rows


def _is_sound(row: dict[str, str], held: int) -> bool:
    """Whether a row's fields are what they should be, and its landmarks are there."""
    try:
        _from_row(row, np.empty(0, _LANDMARK))
        return 0 <= int(row["first_landmark"]) <= held - int(row["landmarks"])
    except ValueError:
        return False


def _is_current(row: dict[str, str]) -> bool:
    size, version = _state(row["path"])
    return not row["reason"] and row["file_bytes"] == str(size) and row["file_version"] == version


def _state(path: str) -> tuple[int, str]:
    """Returns the size of a clip in bytes, 0 where it cannot be read, and the time and size of its file."""
    try:
        size = clip_size(path)
    except OSError:
        size = 0
    return size, "{}+{}".format(*clip_version(path))
