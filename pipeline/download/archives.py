"""Zip archives that list their files' SHA-1: extracted safely, in parallel, and continued after an interruption.

An archive NAME.zip holds the folder NAME alone, and in it a file `checksums` with lines `<sha1>  <path in the folder>`,
as the Free Music Archive's do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pipeline.download.archive_rules import ArchiveError, check_members
from pipeline.download.http_client import in_words
from pipeline.download.resumable import ByteProgress, new_sha1, no_progress
from pipeline.download.verified import VerifiedFile, blocks, in_parallel, size_of, write_record

CHECKSUMS = "checksums"
_MAX_CHECKSUMS_BYTES = 64 << 20
# zipfile sets no limit to what one piece becomes: 45 bytes of bzip2 may hold 900 kB, so these at most 82 MB.
_PIECE_BYTES = 4096
# What zipfile raises on archives that are damaged or none; bz2 raises OSError.
_DAMAGE = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError),
    *(NotImplementedError, OverflowError, MemoryError, IndexError, KeyError),
)


@dataclasses.dataclass(frozen=True)
class Extraction:
    """What became of an archive.

    Attributes:
        written: number of files that were written.
        kept: number of files that were there already, and right.
        unlisted: files that `checksums` does not name; the archive's CRC-32 alone vouches for them.
        absent: files that `checksums` names and the archive does not hold.
    """

    written: int
    kept: int
    unlisted: tuple[str, ...]
    absent: tuple[str, ...]


def extract(path: str | Path, progress: ByteProgress = no_progress) -> Extraction:
    """Extracts NAME.zip beside itself, as the folder NAME, verifies each file, and writes the folder's record.

    Files that are there already and right are kept. Each file is written under a temporary name and renamed when its
    size, its CRC-32 and its SHA-1 in `checksums` are right. `check_members` says what is refused.

    Args:
        path: of the archive.
        progress: is called with the stage, the bytes done, and their total.

    Raises:
        ArchiveError: the archive is damaged or holds what it must not, or the disk has too little room.
    """
    path = Path(path)
    folder = path.with_suffix("")
    try:
        archive = zipfile.ZipFile(path)
    except (FileNotFoundError, PermissionError):
        raise
    except _DAMAGE as error:
        raise _damaged(path, "the table of contents", in_words(error)) from error
    with archive:
        files = check_members(archive, path.stem)
        sha1s = _listed_sha1s(archive, path, files)
        _check_room(folder, files)

        def extract_one(name: str, advance: Callable[[int], None]) -> tuple[VerifiedFile, bool]:
            return _extract_one(archive, files[name], folder / name, sha1s.get(name), advance)

        sizes = {name: member.file_size for name, member in files.items()}
        done = in_parallel(extract_one, sizes, f"extracting {path.name}", progress)
    write_record(folder, {name: file for name, (file, _) in done.items()})
    written = sum(new for _, new in done.values())
    unlisted = tuple(name for name in files if name not in sha1s and name != CHECKSUMS)
    return Extraction(written, len(files) - written, unlisted, tuple(name for name in sha1s if name not in files))


def parse_checksums(text: str, where: str) -> dict[str, str]:
    """SHA-1 by path, from lines as `sha1sum` writes them.

    Args:
        text: of the list.
        where: it is from, for the message.

    Raises:
        ArchiveError: a line is something else.
    """
    sha1s = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], 1):
        match = re.fullmatch(r"([0-9a-fA-F]{40}) [ *](?:\./)?(.+?)\r?", line)
        if match is None:
            raise ArchiveError(f"expected `<sha1>  <path>` in line {number} of {where}, found {in_words(line)}")
        sha1s[match[2]] = match[1].lower()
    return sha1s


def _listed_sha1s(archive: zipfile.ZipFile, path: Path, files: Mapping[str, zipfile.ZipInfo]) -> dict[str, str]:
    where = f"{path.stem}/{CHECKSUMS} in {path}"
    if CHECKSUMS not in files:
        raise ArchiveError(f"expected {where}, found none; fetch the archive as it was published")
    if files[CHECKSUMS].file_size > _MAX_CHECKSUMS_BYTES:
        raise ArchiveError(f"expected {where} to be a list, found {files[CHECKSUMS].file_size:,} bytes")
    text = b"".join(_contents(archive, files[CHECKSUMS])).decode("utf-8", errors="replace")
    return parse_checksums(text, where)


def _check_room(folder: Path, files: Mapping[str, zipfile.ZipInfo]) -> None:
    needed = sum(member.file_size for name, member in files.items() if size_of(folder / name) != member.file_size)
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise ArchiveError(
            f"expected room for {needed:,} bytes in {folder}, found {free:,}; make room and run the same command again"
        )


def _extract_one(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, sha1: str | None, advance: Callable[[int], None]
) -> tuple[VerifiedFile, bool]:
    """Writes a file unless it is there and right; returns what it is and whether it was written."""
    if size_of(target) == member.file_size:
        found, crc = _sha1_and_crc(target)
        if found == sha1 or (sha1 is None and crc == member.CRC):
            advance(member.file_size)
            return VerifiedFile(found, member.file_size), False
    temporary = target.with_name(f".{target.name}.partial")  # no member's name begins with a dot
    digest = new_sha1()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with open(temporary, "xb") as file:
            for piece in _contents(archive, member):
                file.write(piece)
                digest.update(piece)
                advance(len(piece))
        if sha1 is not None and digest.hexdigest() != sha1:
            raise _damaged(
                archive.filename, member.filename, f"its SHA-1 is {digest.hexdigest()}, not {sha1} as `checksums` says"
            )
        os.replace(temporary, target)
    except OSError as error:
        raise ArchiveError(
            f"expected to write {target}, received: {in_words(error)}; make room or mend it, and run the same command again"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return VerifiedFile(digest.hexdigest(), member.file_size), True


def _contents(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yields a member's bytes: exactly as many as announced, with the announced CRC-32."""
    size = 0
    try:
        with archive.open(member) as file:
            while piece := file.read(_PIECE_BYTES):
                size += len(piece)
                yield piece
    except _DAMAGE as error:
        raise _damaged(archive.filename, member.filename, in_words(error)) from error
    if size != member.file_size:
        raise _damaged(
            archive.filename, member.filename, f"it has {size:,} bytes, not {member.file_size:,} as announced"
        )


def _sha1_and_crc(path: Path) -> tuple[str, int]:
    digest, crc = new_sha1(), 0
    with open(path, "rb") as file:
        for block in blocks(file):
            digest.update(block)
            crc = zlib.crc32(block, crc)
    return digest.hexdigest(), crc


def _damaged(path: str | Path | None, what: str, problem: str) -> ArchiveError:
    return ArchiveError(
        f"expected {what} of {path} to be readable, but it is damaged: {problem}; files that were extracted are kept: "
        "delete the archive and run the same command again to fetch it anew"
    )
