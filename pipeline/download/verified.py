"""Folders whose every file has been verified, and the record that says so.

The record of a folder NAME is the file NAME.verified beside it, with lines `<sha1> <bytes> <path in the folder>`. It is
written when all files have been, so it vouches for them all, and sizes alone find what has been lost since.
"""

from __future__ import annotations

import dataclasses
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

from pipeline.download.resumable import BLOCK_BYTES, ByteProgress, new_sha1, no_progress
from pipeline.storage.atomic import write_text

Result = TypeVar("Result")
_BATCH = 256  # files under way at most


@dataclasses.dataclass(frozen=True)
class VerifiedFile:
    """What a file was when it was verified.

    Attributes:
        sha1: 40 hexadecimal digits.
        size: in bytes.
    """

    sha1: str
    size: int


def record_path(folder: Path) -> Path:
    """Where the record of a folder is."""
    return folder.with_name(folder.name + ".verified")


def write_record(folder: Path, files: Mapping[str, VerifiedFile]) -> None:
    """Writes a folder's record, once its files are on the disk."""
    os.sync()  # the record must not outlive the files when the power fails
    write_text(record_path(folder), "".join(f"{file.sha1} {file.size} {name}\n" for name, file in files.items()))


def read_record(folder: Path) -> dict[str, VerifiedFile]:
    """The files of a folder's record by their path in it; empty if there is no record, or a damaged one."""
    try:
        lines = record_path(folder).read_text(encoding="utf-8").split("\n")
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    rows = [re.fullmatch(r"([0-9a-f]{40}) (\d{1,18}) (.+)", line) for line in lines[:-1]]
    if lines[-1] or not all(rows):
        return {}
    return {row[3]: VerifiedFile(row[1], int(row[2])) for row in rows if row}


def wrong_files(
    folder: Path, record: Mapping[str, VerifiedFile], every_byte: bool = False, progress: ByteProgress = no_progress
) -> list[str]:
    """Names the files of a folder that are not as recorded.

    Args:
        folder: the extracted one.
        record: of it.
        every_byte: whether to compare SHA-1, which reads every byte, or sizes alone.
        progress: is called with the stage, the bytes done, and their total.
    """
    right = {name: file.size for name, file in record.items() if size_of(folder / name) == file.size}
    if every_byte:

        def is_right(name: str, advance: Callable[[int], None]) -> bool:
            digest = new_sha1()
            with open(folder / name, "rb") as opened:
                for block in blocks(opened):
                    digest.update(block)
                    advance(len(block))
            return digest.hexdigest() == record[name].sha1

        verdicts = in_parallel(is_right, right, f"verifying {folder.name}", progress)
        return [name for name in record if not verdicts.get(name, False)]
    return [name for name in record if name not in right]


def in_parallel(
    work: Callable[[str, Callable[[int], None]], Result], sizes: Mapping[str, int], stage: str, progress: ByteProgress
) -> dict[str, Result]:
    """Treats files on all cores; the first error ends all.

    Args:
        work: is called in a thread with a file's name, and a function to tell how many more bytes have been done.
        sizes: in bytes, by name.
        stage: for the progress bar.
        progress: is called with the stage, the bytes done, and their total, by one thread at a time.

    Returns:
        What `work` returned, by name.
    """
    names, total, done = list(sizes), sum(sizes.values()), 0
    lock, ended = threading.Lock(), threading.Event()

    def advance(more: int) -> None:
        nonlocal done
        if ended.is_set():
            raise InterruptedError("another file has failed")
        with lock:
            done += more
            progress(stage, done, total)

    results: dict[str, Result] = {}
    # Decompression and SHA-1 run without Python's lock, so threads scale.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            for first in range(0, len(names), _BATCH):
                batch = names[first : first + _BATCH]
                results.update(zip(batch, pool.map(lambda name: work(name, advance), batch), strict=True))
        except BaseException:
            ended.set()
            raise
    return results


def size_of(path: Path) -> int:
    """Size of a file in bytes; -1 if there is no such file."""
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1


def blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Yields the bytes of an open file."""
    while block := file.read(BLOCK_BYTES):
        yield block
