"""What every file of a data set holds, found by decoding it all once."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.catalogs.catalog import Catalog, CatalogError
from pipeline.catalogs.read_table import read_table
from pipeline.decoding.auto_decoder import decode_blocks, describe_route, find_remark, read_info
from pipeline.decoding.decoder import DecodeError
from pipeline.decoding.silence import describe_silence
from pipeline.storage.atomic import atomic_write
from pipeline.storage.clips import clip_size

Progress = Callable[[Iterable, int], Iterable]
_PENDING_PER_WORKER = 4


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """One row of a probe file.

    Attributes:
        path: as in the catalog.
        file_bytes: size of the file; a row whose size has changed is probed again.
        sample_rate_hz, channels: of the file; "" where it cannot be opened.
        duration_seconds: of the audio that was decoded.
        decodable: 1 if the whole file could be decoded, else 0.
        reason: why not.
        remark: what to know of a file that could be decoded: that it has no sound, or that a part of it is not used.
        decoder: "native", or that libsndfile decodes the file or some of it, and why (see `pipeline.decoding.auto_decoder`).
    """

    path: str
    file_bytes: int
    sample_rate_hz: int | str = ""
    channels: int | str = ""
    duration_seconds: float = 0.0
    decodable: int = 0
    reason: str = ""
    remark: str = ""
    decoder: str = ""


FIELDS = tuple(field.name for field in dataclasses.fields(ProbeResult))


def probe_file(path: str) -> ProbeResult:
    """Decodes a whole file and says what it holds."""
    result = ProbeResult(path, _file_bytes(path))
    samples, peak = 0, 0.0
    try:
        info = read_info(path)
        result = dataclasses.replace(result, sample_rate_hz=info.sample_rate_hz, channels=info.channels)
        for block in decode_blocks(path):
            samples += len(block)
            peak = max(peak, float(np.abs(block).max()))
        seconds = samples / info.sample_rate_hz
        remark = describe_silence(peak, seconds) or find_remark(path)
        return dataclasses.replace(
            result, duration_seconds=round(seconds, 3), decodable=1, remark=remark, decoder=describe_route(path)
        )
    except DecodeError as error:
        return dataclasses.replace(result, reason=str(error))


def probe_files(paths: Iterable[str], output: str | Path, progress: Progress = lambda items, total: items) -> Path:
    """Probes files in parallel and writes a CSV with `FIELDS`, in the order of `paths`.

    Rows already in `output`, or in the `.partial` file of an interrupted run, are kept if the file's size has not
    changed. Each row is written to the `.partial` file as soon as it is known; the output appears whole at the end.

    Args:
        paths: files to probe.
        output: the CSV.
        progress: wraps the iterable of results and its length, for a progress bar.

    Returns:
        The path of the CSV.
    """
    paths, output = list(dict.fromkeys(paths)), Path(output)
    partial = output.with_name(output.name + ".partial")
    known = {**_read_rows(output), **_read_rows(partial)}
    known = {path: row for path, row in known.items() if row["file_bytes"] == str(_file_bytes(path))}
    output.parent.mkdir(parents=True, exist_ok=True)
    todo = [path for path in paths if path not in known]
    with open(partial, "a", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write("\r\n" if file.tell() else ",".join(FIELDS) + "\r\n")  # a killed run may have left half a line
        writer = csv.DictWriter(file, FIELDS)
        for result in progress(_probe_in_parallel(todo), len(todo)):
            known[result.path] = {name: str(value) for name, value in dataclasses.asdict(result).items()}
            writer.writerow(known[result.path])
            file.flush()
    with (
        atomic_write(output) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(known[path] for path in paths)
    partial.unlink()
    return output


def leave_out_undecodable(catalog: Catalog, probe_csv: str | Path) -> Catalog:
    """Drops the clips that a probe file calls undecodable.

    Raises:
        CatalogError: the file is no probe file, or is one of another data set.
    """
    probe = read_table(Path(probe_csv), ("path", "decodable"))  # an older file has fewer columns
    if not catalog.tracks["path"].isin(probe["path"]).any():
        raise CatalogError(f"expected rows of this data set in {probe_csv}, found none of its paths; probe it first")
    bad = probe.loc[probe["decodable"] != "1", "path"]
    mask: pd.Series = ~catalog.tracks["path"].isin(bad)
    note = f"left out {(~mask).sum()} clips that {probe_csv} calls undecodable"
    return catalog.keep(mask, note, f"undecodable, says {probe_csv}")


def _probe_in_parallel(paths: list[str]) -> Iterator[ProbeResult]:
    """Yields results in the order of `paths`, with a bounded number of files under way."""
    workers = os.cpu_count() or 1
    # Decoding happens in C without Python's lock, so threads scale.
    with ThreadPoolExecutor(workers) as pool:
        size = workers * _PENDING_PER_WORKER
        for first in range(0, len(paths), size):
            yield from pool.map(probe_file, paths[first : first + size])


def _read_rows(path: Path) -> dict[str, dict[str, str]]:
    """Reads the complete rows of a probe file by path; none if there is no such file."""
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["path"]: row for row in rows if list(row) == list(FIELDS) and row["decodable"] in ("0", "1")}


def _file_bytes(path: str) -> int:
    try:
        return clip_size(path)
    except OSError:
        return 0
