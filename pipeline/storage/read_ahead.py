"""Reads the files or shards of clips from beginning to end, before their crops are read at random.

The bytes are thrown away, but they stay in the operating system's page cache, from which the crops are then read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from pipeline.storage.clips import find_record_span
from pipeline.storage.files import is_remote, open_file

_BLOCK_BYTES = 1 << 20
_GAP_BYTES = 1 << 20  # a disk's arm needs longer to skip less than it needs to read on


def read_ahead(paths: Iterable[str]) -> None:
    """Reads clips; those of a shard in their order in the shard. Remote clips are left out: they have no page cache.

    Clips that cannot be read are left to the decoder, which reports them.
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
    """Yields (file, first byte, byte after the last, or None for the end of the file), sorted, with neighbours joined."""
    files, parts = set(), set()
    for path in paths:
        span = find_record_span(path)
        if is_remote(path):
            continue
        if span is None:
            files.add(path)
        else:
            parts.add((span.shard, span.record, span.record + span.skip + span.length))
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
