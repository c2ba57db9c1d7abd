"""Paths as people and programs write them in tables, and the files that they mean.

Tables come from other systems: with backslashes, with a leading `./`, with spaces at the end, or with letters composed
otherwise than on the disk (macOS takes é apart into e and an accent). None of that is a guess: each such path means one file.
"""

from __future__ import annotations

import os
import posixpath
import unicodedata
from pathlib import Path


def path_key(path: str) -> str:
    """Returns what all ways to write one path have in common: slashes, no `.` and `..`, composed letters, no outer spaces."""
    path = unicodedata.normalize("NFC", path.strip().replace("\\", "/"))
    return posixpath.normpath(path) if path else ""


class WrittenPaths:
    """Finds files by their paths in a table, however these are written.

    Args:
        folder: that relative paths start from.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._listings: dict[str, dict[str, list[str]]] = {}

    def find(self, path: str) -> str | None:
        """Returns the path of the file that a path of the table means.

        Returns:
            The path as it is written, under the folder, if such a file exists; otherwise the path of the one file that it
            means in another spelling; None if there is none, or more than one.
        """
        written = str(Path(self._folder, path))
        if os.path.isfile(written):
            return written
        key = path_key(path)
        if key == "~" or key.startswith("~/"):
            key = os.path.expanduser(key)
        found = "/" if key.startswith("/") else self._folder
        for part in key.strip("/").split("/"):
            if part == "..":
                found = os.path.join(found, part)
                continue
            names = self._names(found).get(part, [])
            if part in names:
                found = os.path.join(found, part)
            elif len(names) == 1:
                found = os.path.join(found, names[0])
            else:
                return None
        return found if os.path.isfile(found) else None

    def _names(self, folder: str) -> dict[str, list[str]]:
        """The names in a folder by their keys; none if it cannot be read."""
        if folder not in self._listings:
            names: dict[str, list[str]] = {}
            try:
                for name in os.listdir(folder):
                    names.setdefault(path_key(name), []).append(name)
            except (OSError, ValueError):
                pass
            self._listings[folder] = names
        return self._listings[folder]
