"""The Free Music Archive's archives, and the steps from nothing to a folder that `load_fma` reads.

Source: the repository mdeff/fma (README: addresses, SHA-1; issue 5: they are packed with bzip2).
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.download.archives import ArchiveError, extract, parse_checksums
from pipeline.download.http_client import DownloadError, in_words, remote_bytes
from pipeline.download.resumable import ByteProgress, download, no_progress, sha1_of
from pipeline.download.verified import read_record, size_of, wrong_files

BASE_URL = "https://os.unil.cloud.switch.ch/fma/"
_MAX_GROWTH = 2  # a mirror may have packed its own archives; one of more than twice the size is no such thing


@dataclasses.dataclass(frozen=True)
class FmaArchive:
    """One of FMA's archives.

    Attributes:
        name: of the folder that it holds; the file is name + ".zip".
        sha1: of the file.
        archive_bytes: size of the file.
        growth: about the size of its files together, relative to the archive's.
    """

    name: str
    sha1: str
    archive_bytes: int
    growth: float = 1.0


METADATA = FmaArchive("fma_metadata", "f0df49ffe5f2a6008d7dc83c6915b31835dfe733", 358_412_441, growth=4.5)
AUDIO = {
    "small": FmaArchive("fma_small", "ade154f733639d52e35e32f5593efe5be76c6d70", 7_679_594_875),
    "medium": FmaArchive("fma_medium", "c67b69ea232021025fca9231fc1c7c1a063ab50b", 23_825_005_356),
    "large": FmaArchive("fma_large", "497109f4dd721066b5ce5e5f250ec604dc78939e", 100_306_112_191),
    "full": FmaArchive("fma_full", "0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab", 879 << 30),  # as rounded by its authors
}


@dataclasses.dataclass(frozen=True)
class Step:
    """What is left to do for one archive.

    Attributes:
        archive: the one.
        path: where the file is or will be.
        done: whether its folder is complete.
        lost: files that were verified once and are missing or different now.
        fetch_bytes: how much is left to fetch.
        extract_bytes: about how much is left to extract.
    """

    archive: FmaArchive
    path: Path
    done: bool
    lost: tuple[str, ...] = ()
    fetch_bytes: int = 0
    extract_bytes: int = 0


def choose_archives(subset: str, sha1sums: str | Path | None = None) -> tuple[FmaArchive, ...]:
    """The archives that a subset needs.

    Args:
        subset: "small", "medium", "large", "full", or "" for the metadata alone.
        sha1sums: a file as `sha1sum` writes it, with the archives of a mirror that has packed its own.

    Raises:
        DownloadError: the file does not name an archive.
    """
    archives = (METADATA, AUDIO[subset]) if subset else (METADATA,)
    if sha1sums is None:
        return archives
    listed = parse_checksums(Path(sha1sums).read_text(encoding="utf-8"), str(sha1sums))
    absent = [archive.name for archive in archives if f"{archive.name}.zip" not in listed]
    if absent:
        raise DownloadError(f"expected a line for {absent[0]}.zip in {sha1sums}, found none")
    return tuple(dataclasses.replace(archive, sha1=listed[f"{archive.name}.zip"]) for archive in archives)


def plan(
    archives: tuple[FmaArchive, ...],
    data_dir: Path,
    base_url: str,
    every_byte: bool = False,
    progress: ByteProgress = no_progress,
) -> list[Step]:
    """Finds what is left to do, and checks that the disk has room for it.

    A folder is complete if its record says that all of its files were verified and each has the size it had then.

    Args:
        archives: the wanted ones.
        data_dir: where they and their folders are.
        base_url: is asked for the sizes of archives that are not there.
        every_byte: whether to compare the SHA-1 of each extracted file, too.
        progress: is called with the stage, the bytes done, and their total.

    Raises:
        DownloadError: an archive is not on the server, or the disk is too small.
    """
    steps = [_step(archive, data_dir, base_url, every_byte, progress) for archive in archives]
    needed = sum(step.fetch_bytes + step.extract_bytes for step in steps)
    free = shutil.disk_usage(data_dir).free
    if needed > free:
        parts = ", ".join(
            f"{step.archive.name}: {gib(step.fetch_bytes)} to fetch and {gib(step.extract_bytes)} to extract"
            for step in steps
            if not step.done
        )
        raise DownloadError(
            f"expected {gib(needed)} free in {data_dir} ({parts}), found {gib(free)}; make room, or choose another "
            "--data_dir or a smaller --subset"
        )
    return steps


def _step(archive: FmaArchive, data_dir: Path, base_url: str, every_byte: bool, progress: ByteProgress) -> Step:
    path, folder = data_dir / f"{archive.name}.zip", data_dir / archive.name
    record = read_record(folder)
    lost = tuple(wrong_files(folder, record, every_byte, progress))
    if record and not lost:
        return Step(archive, path, done=True)
    size, fetch = size_of(path), 0
    if size < 0:
        size = remote_bytes(base_url + path.name) or archive.archive_bytes
        fetch = max(size - max(size_of(path.with_name(path.name + ".part")), 0), 0)
    extracted = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Step(archive, path, False, lost, fetch, max(round(size * archive.growth) - extracted, 0))


def carry_out(
    step: Step,
    base_url: str,
    keep_archive: bool = True,
    progress: ByteProgress = no_progress,
    say: Callable[[str], None] = print,
    retries: int = 20,
    stall_seconds: float = 60,
) -> None:
    """Fetches and extracts one archive.

    Args:
        step: of the plan.
        base_url: the server's folder.
        keep_archive: whether the archive stays when all of its files have been verified.
        progress: is called with the stage, the bytes done, and their total.
        say: is told what was done, in single lines.
        retries: as in `download`.
        stall_seconds: as in `download`.

    Raises:
        DownloadError, ArchiveError: what was fetched cannot be used; the message says why and what to do.
    """
    archive, path = step.archive, step.path
    if not step.done:
        if not path.is_file():
            limit = _MAX_GROWTH * archive.archive_bytes
            download(base_url + path.name, path, archive.sha1, limit, progress, say, retries, stall_seconds)
            say(f"{path.name}: fetched, SHA-1 verified")
        elif (found := sha1_of(path, progress)) != archive.sha1:
            raise ArchiveError(
                f"expected {path} to have the SHA-1 {archive.sha1}, found {found}; delete it to have it fetched anew, or "
                f"rename it to {path.name}.part if it is the beginning of the archive, to have the rest fetched"
            )
        result = extract(path, progress)
        say(f"{archive.name}: files written: {result.written:,}, kept: {result.kept:,}; every SHA-1 verified")
        if result.unlisted:
            say(f"note: {archive.name}/checksums leaves out {some(result.unlisted)}: verified by CRC-32")
        if result.absent:
            say(f"note: {archive.name}/checksums names {some(result.absent)}, which the archive does not hold")
    if path.is_file() and not keep_archive:
        path.unlink()
        say(f"{path.name}: removed")


def gib(size: int) -> str:
    """A size in bytes for people."""
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.1f} MiB"


def some(names: tuple[str, ...]) -> str:
    """How many files, and one of them."""
    return f"{len(names):,} file{'s' * (len(names) > 1)} ({'such as ' * (len(names) > 1)}{in_words(names[0])})"
