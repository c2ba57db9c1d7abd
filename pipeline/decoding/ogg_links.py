"""Finds the streams that were joined in one Ogg file (`cat a.ogg b.ogg`), of which libsndfile reads the first alone.

Source: RFC 3533 (Ogg), 4 and 6.
"""

from __future__ import annotations

from pipeline.storage.clips import ClipFile, part_paths

MARKER = b"OggS"
_BLOCK_BYTES = 1 << 20
_MAX_PAGE_BYTES = 65307
_HEADER_BYTES = 27
_BEGINS_STREAM = 0x02


def find_ogg_links(path: str, file: ClipFile) -> tuple[str, ...]:
    """Returns the paths of the Ogg files that were joined in one, each as a part of it.

    Args:
        path: of the clip.
        file: the same, opened.

    Raises:
        OSError: the file cannot be read.
    """
    starts: list[int] = []
    data, base, offset, was_first = b"", 0, 0, False
    while offset + _HEADER_BYTES <= file.size:
        if offset < base or offset + _MAX_PAGE_BYTES > base + len(data) < file.size:
            file.seek(offset)
            data, base = file.read(_BLOCK_BYTES), offset
        at = offset - base
        if data[at : at + 4] != MARKER:
            found = data.find(MARKER, at)
            offset = base + found if found >= 0 else base + max(len(data) - 3, at + 1)
            continue
        segments = data[at + 26]
        is_first = bool(data[at + 5] & _BEGINS_STREAM)
        if is_first and not was_first:  # several first pages in a row begin streams that stand side by side
            starts.append(offset)
        was_first = is_first
        offset += _HEADER_BYTES + segments + sum(data[at + _HEADER_BYTES : at + _HEADER_BYTES + segments])
    return part_paths(path, starts, file.size)
