"""One large file over HTTP: continued where it stopped, and verified before it gets its name."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pipeline.download.http_client import (
    BLOCK_BYTES,
    DownloadError,
    InterruptedDownload,
    RefusedError,
    announced_bytes,
    in_words,
    opened,
    received,
    validator,
)

# Is called with what is being done, the bytes done so far, and all bytes where their number is known.
ByteProgress = Callable[[str, int, int | None], None]
_LONGEST_PAUSE_SECONDS = 60


def no_progress(stage: str, done: int, total: int | None) -> None:
    """Shows nothing."""


def download(
    url: str,
    path: str | Path,
    sha1: str,
    max_bytes: int,
    progress: ByteProgress = no_progress,
    say: Callable[[str], None] = print,
    retries: int = 20,
    stall_seconds: float = 60,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Downloads a file whose SHA-1 is known; `path` appears once that has been verified, never before.

    What has arrived is kept in `path` + ".part" and continued (RFC 9110: Range, If-Range) after any interruption, from
    another server too. The file is complete when its SHA-1 is right, whatever length the server announced.

    Args:
        url: http or https.
        path: of the file to write.
        sha1: 40 lower-case hexadecimal digits.
        max_bytes: a server that announces or sends more is refused.
        progress: is called with the stage, the bytes done, and their total where known.
        say: is told of each retry and each new start, in one line.
        retries: attempts in a row that bring nothing new, before giving up; pauses of 1, 2, 4 … 60 s lie between.
        stall_seconds: a connection that brings less than 1 KiB a second over this time is given up and tried again.
        sleep: waits that many seconds.

    Raises:
        DownloadError: the server refuses, the connection fails too often, the disk is full, or the file is not the
            expected one, which is then deleted.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".part")
    with open(partial, "a+b", buffering=0) as file:
        part = _Part(path, file, progress)
        furthest, failures = part.size, 0
        while part.sha1 != sha1:
            try:
                _attempt(url, part, sha1, max_bytes, progress, say, stall_seconds)
            except InterruptedDownload as interruption:
                if part.sha1 == sha1:  # the server announced more than there is
                    break
                failures = 0 if part.size > furthest else failures + 1
                furthest = max(furthest, part.size)
                if failures > retries:
                    raise DownloadError(
                        f"expected {url}, received nothing new in {failures} attempts, at last: {interruption}; "
                        f"{part.size:,} bytes are kept: run the same command again later, or choose another --base_url"
                    ) from interruption
                pause = min(interruption.pause_seconds or 2.0 ** max(failures - 1, 0), _LONGEST_PAUSE_SECONDS)
                say(f"{path.name}: {interruption}; going on at byte {part.size:,} in {pause:g} s")
                sleep(pause)
        part.finish()


def sha1_of(path: str | Path, progress: ByteProgress = no_progress) -> str:
    """The SHA-1 of a file as 40 hexadecimal digits."""
    with open(path, "rb") as file:
        return _sha1_of_open(file, Path(path).name, progress).hexdigest()


def new_sha1() -> hashlib._Hash:
    """An empty SHA-1: the digest that FMA publishes, no protection against a forger."""
    return hashlib.sha1(usedforsecurity=False)


class _Part:
    """What has arrived of a file: on disk, its size in bytes, and its SHA-1."""

    def __init__(self, path: Path, file: io.FileIO, progress: ByteProgress) -> None:
        self.path = path
        self._partial = Path(file.name)
        self._source = path.with_name(path.name + ".part.json")
        self._file = file
        self._file.seek(0)
        self._digest = _sha1_of_open(self._file, f"reading {self._partial.name}", progress)
        self.size = self._file.tell()

    @property
    def sha1(self) -> str:
        return self._digest.hexdigest()

    def append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise DownloadError(
                f"expected to write to {self._partial}, received: {in_words(error)}; {self.size:,} bytes are kept: make "
                "room and run the same command again"
            ) from error
        self._digest.update(data)
        self.size += len(data)

    def restart(self) -> None:
        self._file.truncate(0)
        self._source.unlink(missing_ok=True)
        self._digest = new_sha1()
        self.size = 0

    def delete(self) -> None:
        self._partial.unlink()
        self._source.unlink(missing_ok=True)

    def finish(self) -> None:
        os.fsync(self._file.fileno())  # the name must not outlive the bytes when the power fails
        os.replace(self._partial, self.path)
        self._source.unlink(missing_ok=True)

    def note_source(self, url: str, version: str) -> None:
        self._source.write_text(json.dumps({"url": url, "validator": version}), encoding="utf-8")

    def validator(self, url: str) -> str:
        """What the server called this version of the file; "" if it did not, or if this is another server."""
        try:
            source = json.loads(self._source.read_text(encoding="utf-8"))
            return str(source["validator"]) if source["url"] == url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def _attempt(
    url: str,
    part: _Part,
    sha1: str,
    max_bytes: int,
    progress: ByteProgress,
    say: Callable[[str], None],
    stall_seconds: float,
) -> None:
    """Fetches what is missing; returns if the file is complete then."""
    headers = {}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if version := part.validator(url):
            headers["If-Range"] = version
    try:
        with opened(url, stall_seconds, headers) as response:
            total = _whole_bytes(response, part, say)
            if total is not None and total > max_bytes:
                raise DownloadError(
                    f"expected at most {max_bytes:,} bytes from {url}, the server announced {total:,}; choose another "
                    "--base_url"
                )
            if not part.size:
                part.note_source(url, validator(response))
            progress(part.path.name, part.size, total)
            for data in received(response, stall_seconds):
                if part.size + len(data) > max_bytes:
                    part.delete()
                    raise DownloadError(
                        f"expected at most {max_bytes:,} bytes from {url}, received more; they were deleted: choose "
                        "another --base_url"
                    )
                part.append(data)
                progress(part.path.name, part.size, total)
    except RefusedError as refusal:
        if refusal.code != 416 or not part.size:
            raise
        had = part.size
        part.restart()
        raise InterruptedDownload(f"the server's file ends before byte {had:,} (HTTP 416): starting over") from refusal
    if part.sha1 == sha1:
        return
    if total is not None and part.size < total:
        raise InterruptedDownload(f"the connection closed {total - part.size:,} bytes early")
    part.delete()
    raise DownloadError(
        f"expected {url} to have the SHA-1 {sha1}, received {part.size:,} bytes with {part.sha1}; they were deleted: run "
        "the same command again to fetch them anew, or choose another --base_url"
    )


def _whole_bytes(response: http.client.HTTPResponse, part: _Part, say: Callable[[str], None]) -> int | None:
    """The whole file's size as announced; a part that the answer does not continue is emptied."""
    if response.status != 206:
        if part.size:
            say(
                f"{part.path.name}: the server sends the file from its beginning (it has changed there, or the server "
                "sends no parts): starting over"
            )
            part.restart()
        return announced_bytes(response)
    content_range = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", content_range)
    if match is None or int(match[1]) != part.size:
        had = part.size
        part.restart()
        raise InterruptedDownload(
            f"asked for the bytes from {had:,} on, received {in_words(content_range)}: starting over"
        )
    return None if match[2] == "*" else int(match[2])


def _sha1_of_open(file: BinaryIO | io.FileIO, stage: str, progress: ByteProgress) -> hashlib._Hash:
    """The SHA-1 of an open file from its position to its end."""
    digest, done, total = new_sha1(), 0, os.fstat(file.fileno()).st_size
    while data := file.read(BLOCK_BYTES):
        digest.update(data)
        done += len(data)
        progress(stage, done, total)
    return digest
