"""Reads clips' files, by name, or shards, from beginning to end, before their crops are read at random.

What is read is thrown away: it stays in the operating system's page cache, from which the crops then come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from pipeline.storage.clips import find_place
from pipeline.storage.files import is_remote, open_file

_BLOCK_BYTES = 1 << 20
_GAP_BYTES = 1 << 20  # a disk's arm needs longer to skip less than it needs to read on


def read_ahead(paths: Iterable[str]) -> None:
    """Reads clips, those of a shard from its beginning to its end; remote ones are left out, having no page cache.

    What cannot be read is left to the decoder, which says so.
    """
    for path, begin, end in _ranges(paths):
        with suppress(OSError), open_file(path) as file:
            file.seek(begin)
            while end is None or begin < end:
                block = file.read(_BLOCK_BYTES if end is None else min(_BLOCK_BYTES, end - begin))
                if not block:
                    break
                begin += len(block)


def _ranges(paths: Iterable[str]) -> Iterator[tuple[str, int, int | None]]:
    """(file, first byte, byte behind the last; None for its end) of what holds the clips, sorted, neighbours joined."""
    files, parts = set(), set()
    for path in paths:
        place = find_place(path)
        if is_remote(path):
            continue
        if place is None:
            files.add(path)
        else:
            parts.add((place.shard, place.record, place.record + place.skip + place.length))
    for path in sorted(files):
        yield path, 0, None
    joined: tuple[str, int, int] | None = None
    for shard, begin, end in sorted(parts):
        if joined and joined[0] == shard and begin - joined[2] <= _GAP_BYTES:
            joined = shard, joined[1], end
            continue
        if joined:
            yield joined
        joined = shard, begin, end
    if joined:
        yield joined
