"""Which files of a folder are audio, by their names, and what of the folder is left out."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from pipeline.storage.left_out import Kind, LeftOut

# fmt: off
AUDIO_SUFFIXES = frozenset((
    ".mp3", ".flac", ".ogg", ".oga", ".opus", ".wav", ".aif", ".aiff", ".aifc", ".au", ".caf", ".mp2", ".rf64", ".w64",
    ".wave", ".snd", ".mp1", ".mpga",
))
# Endings of files that hold sound, or may, and that libsndfile does not read.
UNREAD_SUFFIXES = frozenset((
    ".3ga", ".3gp", ".aa", ".aac", ".aax", ".ac3", ".adts", ".alac", ".amr", ".ape", ".asf", ".avi", ".dff", ".dsf", ".dts",
    ".eac3", ".f4a", ".f4v", ".flv", ".it", ".m4a", ".m4b", ".m4p", ".m4r", ".m4v", ".mid", ".midi", ".mka", ".mkv", ".mod",
    ".mov", ".mp4", ".mpc", ".mpeg", ".mpg", ".ofr", ".ogv", ".ra", ".ram", ".rm", ".s3m", ".shn", ".spx", ".tak", ".tta",
    ".ts", ".vob", ".webm", ".wma", ".wmv", ".wv", ".xm",
))
# Folders that systems and programs put among a user's own, beside those whose names begin with a dot.
_SYSTEM_FOLDERS = frozenset((
    "__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "$recycle.bin", "recycler", "lost+found",
    "system volume information",
))
# fmt: on


@dataclasses.dataclass(frozen=True)
class FoundAudio:
    """What a folder holds.

    Attributes:
        files: the audio files, as paths relative to the folder, in order.
        folders: the folders that were searched, likewise.
        left_out: every other file, and every folder that could not be searched; their paths begin with the folder's.
    """

    files: tuple[str, ...]
    folders: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def find_audio(root: str | Path, link_depth: int | None = None) -> FoundAudio:
    """Searches a folder for audio files, and accounts for every other file in it.

    Links are followed. Each folder and each file counts once, whatever the number of its names: a name that is no link
    comes before one that is, and then the first in order. Hidden files and folders, and those of systems, are left out.

    Args:
        root: the folder.
        link_depth: how deep below it links to folders are followed: 1 for those in the folder itself, 0 for none; None
            for all. Links to files always are.

    Raises:
        OSError: the folder itself cannot be read.
    """
    root = str(Path(root))
    with os.scandir(root):  # raises for the root, of which there would be nothing left to say
        pass
    walk = _Walk(root)
    walk.search("", os.path.realpath(root))
    walk.follow_folder_links(link_depth)
    walk.follow_file_links()
    return FoundAudio(
        tuple(sorted(walk.files, key=_by_parts)),
        tuple(sorted(walk.folders.values(), key=_by_parts)),
        tuple(sorted(walk.left_out, key=lambda item: _by_parts(item.path))),
    )


def join_root(root: str | Path, relative: str) -> str:
    """Returns the path of what was found in a folder, as `pathlib` writes it."""
    root = str(Path(root))
    return relative if root == "." else os.path.join(root, relative)


def list_endings() -> str:
    """The endings of the files that are read, for a message."""
    return ", ".join(sorted(AUDIO_SUFFIXES))


class _Walk:
    """A search under way. Paths are relative to its root, but those of `left_out`."""

    def __init__(self, root: str) -> None:
        self.root, self.real_root = root, os.path.realpath(root)
        self.files: list[str] = []
        self.folders: dict[str, str] = {}  # by their real paths
        self.left_out: list[LeftOut] = []
        self._real_files: dict[str, str] = {}
        self._folder_links: list[str] = []
        self._file_links: list[str] = []

    def search(self, folder: str, real: str) -> None:
        """Searches a folder and those below it, without following links, which are kept for later."""
        waiting = [(folder, real)]
        while waiting:
            folder, real = waiting.pop()
            entries = self._entries(folder)
            if entries is None:
                continue
            self.folders[real] = folder
            for entry in entries:
                path, real_path = os.path.join(folder, entry.name), f"{real.rstrip('/')}/{entry.name}"
                if entry.is_symlink():
                    self._keep_link(path, entry.name)
                elif entry.is_dir(follow_symlinks=False):
                    if _is_hidden(entry.name) or entry.name.casefold() in _SYSTEM_FOLDERS:
                        self._list_hidden(path)
                    elif real_path in self.folders:
                        self._leave_out(path + "/", self._same_folder(real_path), Kind.REPEATED)
                    else:
                        waiting.append((path, real_path))
                elif not entry.is_file(follow_symlinks=False):
                    self._leave_out(path, "no regular file, but a pipe, socket or device", Kind.SPECIAL)
                elif self._is_audio(path, entry.name):
                    self.files.append(path)
                    self._real_files[real_path] = path

    def follow_folder_links(self, depth: int | None) -> None:
        """Searches the folders that links lead to, and those that links in them lead to, if they are not yet searched.

        Args:
            depth: how deep a link may lie; None: anywhere.
        """
        while self._folder_links:
            links, self._folder_links = sorted(self._folder_links, key=_by_parts), []
            for path in links:
                real = os.path.realpath(os.path.join(self.root, path))
                if depth is not None and path.count("/") >= depth:
                    self._leave_out(path + "/", "a link to a folder, which is not followed", Kind.LINK)
                elif real in self.folders:
                    self._leave_out(path + "/", self._same_folder(real), Kind.REPEATED)
                elif self.real_root.startswith(real.rstrip("/") + "/"):
                    reason = "a link to a folder that holds the one which is searched"
                    self._leave_out(path + "/", reason, Kind.REPEATED)
                else:
                    self.search(path, real)

    def follow_file_links(self) -> None:
        """Adds the files that links lead to, if they are not yet found."""
        for path in sorted(self._file_links, key=_by_parts):
            real = os.path.realpath(os.path.join(self.root, path))
            if real in self._real_files:
                same = join_root(self.root, self._real_files[real])
                self._leave_out(path, f"the same file as {same}", Kind.REPEATED)
            else:
                self.files.append(path)
                self._real_files[real] = path

    def _keep_link(self, path: str, name: str) -> None:
        target = os.path.join(self.root, path)
        if _is_hidden(name):
            self._leave_out(path, "hidden", Kind.HIDDEN)
        elif os.path.isdir(target):
            self._folder_links.append(path)
        elif not os.path.exists(target):
            self._leave_out(path, "a link that leads nowhere", Kind.SPECIAL)
        elif not os.path.isfile(target):
            self._leave_out(path, "a link to a pipe, socket or device", Kind.SPECIAL)
        elif self._is_audio(path, name):
            self._file_links.append(path)

    def _is_audio(self, path: str, name: str) -> bool:
        """Returns whether a file is audio by its name; any other file is left out."""
        ending = os.path.splitext(name)[1].lower()
        if _is_hidden(name):
            self._leave_out(path, "hidden", Kind.HIDDEN)
        elif ending in AUDIO_SUFFIXES:
            return True
        elif ending in UNREAD_SUFFIXES:
            self._leave_out(path, f"{ending} is sound that libsndfile does not read", Kind.SOUND)
        else:
            self._leave_out(path, "no audio, by the ending of its name", Kind.OTHER)
        return False

    def _list_hidden(self, folder: str) -> None:
        """Leaves out every file below a hidden folder."""
        waiting = [folder]
        while waiting:
            below = waiting.pop()
            for entry in self._entries(below) or ():
                path = os.path.join(below, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                else:
                    reason = f"in the hidden folder {join_root(self.root, folder)}"
                    self._leave_out(path, reason, Kind.HIDDEN)

    def _entries(self, folder: str) -> list[os.DirEntry[str]] | None:
        """Lists a folder; leaves out one that cannot be read, or entered, and returns None."""
        path = os.path.join(self.root, folder)
        try:
            with os.scandir(path) as entries:
                listed = list(entries)
        except OSError as error:
            self._leave_out(folder + "/", f"folder not readable: {error.strerror or error}", Kind.UNREADABLE)
            return None
        if listed and not os.access(path, os.X_OK):  # its names can be read, but no file of it
            self._leave_out(folder + "/", "folder not readable: its files may not be opened", Kind.UNREADABLE)
            for entry in listed:
                self._leave_out(os.path.join(folder, entry.name), "in a folder that may not be entered", Kind.NOTED)
            return None
        return listed

    def _leave_out(self, path: str, reason: str, kind: Kind) -> None:
        self.left_out.append(LeftOut(join_root(self.root, path), reason, kind))

    def _same_folder(self, real: str) -> str:
        return f"the same folder as {join_root(self.root, self.folders[real])}"


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _by_parts(path: str) -> list[str]:
    return path.split("/")
