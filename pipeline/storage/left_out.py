"""What a data set or a prediction does not use of the files that are there, each with its reason."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath
from typing import NamedTuple

_MOST_ENDINGS = 5  # that a note names
_MOST_NAMES = 10


@enum.unique
class Kind(enum.Enum):
    """How a note counts what is left out: its words for one and for several. What is `NOTED` is counted elsewhere."""

    SOUND = "sound file of another kind", "sound files of other kinds"  # the note names the kinds instead
    OUTSIDE = "audio file outside of the label folders", "audio files outside of the label folders"
    UNREADABLE = "folder not readable", "folders not readable"
    SPECIAL = "link that leads nowhere, pipe or device", "links that lead nowhere, pipes or devices"
    LINK = "link to a folder, not followed", "links to folders, not followed"
    REPEATED = "link to what is used under another name", "links to what is used under other names"
    LABEL = "label without audio", "labels without audio"
    EMPTY = "folder of a label without audio in this split", "folders of labels without audio in their splits"
    HIDDEN = "hidden file", "hidden files"
    OTHER = "other file", "other files"
    NOTED = "noted elsewhere", "noted elsewhere"


class LeftOut(NamedTuple):
    """One file or folder that is not used.

    Attributes:
        path: of the file; of a folder with a slash at its end.
        reason: why it is not used, in words.
        kind: how a note counts it.
    """

    path: str
    reason: str
    kind: Kind = Kind.NOTED

    @property
    def is_folder(self) -> bool:
        """Whether this is a folder, or a link to one."""
        return self.path.endswith("/")

    @property
    def may_be_music(self) -> bool:
        """Whether it may hold music: it has no other kind of ending, such as that of a cover or a list."""
        return self.kind is not Kind.NOTED and not (self.kind is Kind.OTHER and PurePath(self.path).suffix)


def describe_left_out(left_out: Iterable[LeftOut]) -> str:
    """Counts what is left out, by kind.

    Args:
        left_out: all of it; that of `Kind.NOTED` is not counted.

    Returns:
        Such as "left out: 12 .m4a files (libsndfile does not read them), 1 folder not readable"; "" for nothing.
    """
    by_kind: dict[Kind, list[LeftOut]] = {kind: [] for kind in Kind}
    for item in left_out:
        by_kind[item.kind].append(item)
    parts = []
    for kind, items in by_kind.items():
        if not items or kind is Kind.NOTED:
            continue
        if kind is Kind.SOUND:
            endings = [f"{count} {ending} file{'s' * (count > 1)}" for ending, count in _count_endings(items)]
            parts.append(f"{', '.join(endings)} (libsndfile does not read {'it' if len(items) == 1 else 'them'})")
            continue
        text = f"{len(items)} {kind.value[len(items) > 1]}"
        if kind is Kind.LABEL:
            text += f" ({quote_names(item.path.rstrip('/').rpartition('/')[2] for item in items)})"
        if kind is Kind.OTHER:
            text += f" ({', '.join(f'{count} {ending}' for ending, count in _count_endings(items))})"
        parts.append(text)
    return f"left out: {', '.join(parts)}" if parts else ""


def quote_names(names: Iterable[str], most: int = _MOST_NAMES) -> str:
    """Lists names in quotes for a message, and says how many more there are than the `most` that it lists."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def _count_endings(items: list[LeftOut]) -> list[tuple[str, int]]:
    """Counts files by ending, the most frequent first, and those beyond a few together."""
    counts = Counter(_show_ending(item.path) for item in items)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(count for _, count in ranked[_MOST_ENDINGS:])
    return ranked[:_MOST_ENDINGS] + ([("of other endings", rest)] if rest else [])


def _show_ending(path: str) -> str:
    ending = PurePath(path).suffix.lower()
    if len(ending) < 2:
        return "without ending"
    return ending if len(ending) <= 12 and ending.isprintable() else "of odd endings"  # it is printed to a terminal
