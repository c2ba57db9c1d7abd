"""Which names a zip archive's files may have: the rule that keeps an extraction inside its own folder.

An archive is extracted only after its SHA-1 was found to be the published one, so these rules do not defend against a
forger: they keep an archive that was published with a mistake from writing elsewhere, from writing two files to one
place, and from taking unbounded memory.
"""

from __future__ import annotations

import stat
import unicodedata
import zipfile

from pipeline.download.http_client import in_words

# LZMA is left out: a few bytes of it may ask for 4 GiB of memory.
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2}
_CONTROL = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # categories of characters that end lines or steer a terminal


class ArchiveError(ValueError):
    """An archive that cannot be extracted; the message names the archive, the member, and the remedy."""


def check_members(archive: zipfile.ZipFile, folder: str) -> dict[str, zipfile.ZipInfo]:
    """Checks an archive's table of contents before anything is written.

    Args:
        archive: an open archive.
        folder: the one that all its members must be in.

    Returns:
        The files by their path below `folder`.

    Raises:
        ArchiveError: a name leads out of `folder`, is hidden, as temporary files are, or holds control characters; a
            member is a link or a special file; it is compressed in a way that takes unbounded memory; or two members
            have one place, on some file system.
    """
    files: dict[str, zipfile.ZipInfo] = {}
    taken: set[str] = set()  # by files
    parents: set[str] = set()  # of files
    for member in archive.infolist():
        name = member.filename.partition("/")[2]
        place = unicodedata.normalize("NFC", name).casefold()  # as macOS and exFAT compare names
        folders = {place[:i] for i, character in enumerate(place) if character == "/"}
        problem = _problem(member, folder)
        if not problem and not member.is_dir():
            if place in taken or place in parents or folders & taken:
                problem = "another member has its place"
            taken.add(place)
            parents |= folders
            files[name] = member
        if problem:
            raise ArchiveError(
                f"expected only plain files in {archive.filename}, found {in_words(member.filename)}: {problem}"
            )
    return files


def _problem(member: zipfile.ZipInfo, folder: str) -> str:
    """What is wrong with a member, or nothing."""
    first, *others = member.filename.removesuffix("/").split("/")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if first != folder or (not others and not member.is_dir()):
        return f"not below {folder}/"
    if any(part == "" or part.startswith(".") for part in others):
        return "a name with .., empty or hidden parts"
    # A line of the record holds a name, and messages show it in a terminal.
    if any(unicodedata.category(character) in _CONTROL for character in member.filename):
        return "a name with control characters"
    if kind not in (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG):
        return "a link or a special file"
    if member.compress_type not in _METHODS:
        return f"compression method {member.compress_type}, which is none of stored, deflate and bzip2"
    return ""
