"""What a zip archive may hold: the rules that its table of contents must keep before anything is written."""

from __future__ import annotations

import re
import stat
import unicodedata
import zipfile

from pipeline.download.http_client import in_words

# Limits. FMA's largest archives have 107,000 members; its longest tracks are hours long; its tables pack four to one.
MAX_MEMBERS = 200_000
MAX_MEMBER_BYTES = 4 << 30
MAX_RATIO = 20  # of all files to the archive; of single files it proves nothing: digital silence packs 1000 to 1
_SMALL_BYTES = 1 << 20  # for which the ratio does not matter

# LZMA is left out: a few bytes of it may ask for 4 GiB of memory.
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2}
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_LOCAL_HEADER_BYTES = 30
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's categories of control characters, line ends and the like
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])( *\..*)?", re.IGNORECASE)


class ArchiveError(ValueError):
    """An archive that cannot be extracted; the message names the archive, the member, and the remedy."""


def check_members(archive: zipfile.ZipFile, archive_bytes: int, folder: str) -> dict[str, zipfile.ZipInfo]:
    """Checks an archive's table of contents.

    Refused are: names that are absolute, leave `folder`, are hidden, name devices, hold control characters or differ
    in case or Unicode form only; links and special files; encryption; compression other than deflate and bzip2;
    overlapping members; and more members or bytes than the limits above.

    Args:
        archive: an open archive.
        archive_bytes: its size.
        folder: the one that all its members must be in.

    Returns:
        The files by their path below `folder`.

    Raises:
        ArchiveError: a rule is broken.
    """
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise ArchiveError(f"expected at most {MAX_MEMBERS:,} members in {archive.filename}, found {len(members):,}")
    files: dict[str, zipfile.ZipInfo] = {}
    is_folder_of: dict[str, bool] = {}  # by name, as a system knows it that folds case
    for member in members:
        if problem := _problem(member, folder):
            raise ArchiveError(
                f"expected only plain files in {archive.filename}, found {in_words(member.orig_filename)}: {problem}"
            )
        parts = member.filename.rstrip("/").split("/")
        for depth in range(1, len(parts) + 1):
            name = _folded("/".join(parts[:depth]))
            is_folder = depth < len(parts) or member.is_dir()
            if name in is_folder_of and not (is_folder and is_folder_of[name]):
                raise ArchiveError(
                    f"expected one file of each name in {archive.filename}, found {member.filename!r} beside another"
                )
            is_folder_of[name] = is_folder
        if not member.is_dir():
            files["/".join(parts[1:])] = member
    _check_sizes(archive, archive_bytes, files)
    return files


def _problem(member: zipfile.ZipInfo, folder: str) -> str:
    """What is wrong with a member, or nothing."""
    name = member.orig_filename  # as the archive has it: zipfile cuts names at a zero byte
    parts = name.removesuffix("/").split("/")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if any(unicodedata.category(letter) in _UNPRINTABLE for letter in name) or "\\" in name or ":" in name:
        return "a name with \\, : or control characters"
    if name != member.filename:
        return f"it has a second name, {in_words(member.filename)}"
    if parts[0] != folder or (len(parts) == 1 and not member.is_dir()):
        return f"not below {folder}/"
    if any(part.startswith(".") or part == "" or part != part.strip() for part in parts):
        return "a name with .., empty or hidden parts"
    if any(len(part.encode()) > 200 for part in parts) or len(name.encode()) > 1000:
        return "a name that is too long"
    if any(_DEVICES.fullmatch(part) for part in parts):
        return "the name of a device"
    if kind not in (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG):
        return "a link or a special file"
    if member.flag_bits & _ENCRYPTED:
        return "encrypted"
    if member.compress_type not in _METHODS:
        return f"compression method {member.compress_type}, which is none of stored, deflate and bzip2"
    if member.file_size > MAX_MEMBER_BYTES:
        return f"{member.file_size:,} bytes, of at most {MAX_MEMBER_BYTES:,}"
    return ""


def _check_sizes(archive: zipfile.ZipFile, archive_bytes: int, files: dict[str, zipfile.ZipInfo]) -> None:
    end = 0
    for member in sorted(files.values(), key=lambda member: member.header_offset):
        if member.header_offset < end:
            raise ArchiveError(
                f"expected members side by side in {archive.filename}, found {member.filename!r} in another"
            )
        end = member.header_offset + _LOCAL_HEADER_BYTES + member.compress_size
    if end > archive_bytes:
        raise ArchiveError(f"expected the end of {archive.filename} after its members, found it before: it is cut off")
    total = sum(member.file_size for member in files.values())
    if total > max(MAX_RATIO * archive_bytes, _SMALL_BYTES):
        raise ArchiveError(
            f"expected {archive.filename} to hold at most {MAX_RATIO} times its own size of {archive_bytes:,} bytes, "
            f"found {total:,} bytes announced"
        )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
