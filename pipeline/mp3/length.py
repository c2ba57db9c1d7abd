"""Finds the true length of MP3s that do not state it, and makes libsndfile, which would guess, read all of it."""

from __future__ import annotations

import functools
import io

from pipeline.mp3 import frames as mp3_frames
from pipeline.storage.clips import open_clip, read_clip

_HEAD_BYTES = 8192


@functools.lru_cache(maxsize=200_000)
def counted_samples(path: str, *version: int) -> int | None:
    """Counts an MP3's samples per channel from its frame headers.

    The result is cached, because the count reads the whole file and a clip is cropped again in every epoch.

    Args:
        path: an MP3, or a clip's path in a record shard.
        version: what changes with the file (see `clip_version`): a part of the cache's key.

    Returns:
        The number of samples; None if a Xing, Info or VBRI frame states the length, or if there is no frame.

    Raises:
        OSError: the file cannot be read.
    """
    del version
    with open_clip(path) as file:
        tag_bytes = mp3_frames.skip_id3v2(file.read(_HEAD_BYTES))
        file.seek(tag_bytes)
        head = file.read(_HEAD_BYTES)
        first = mp3_frames.find_frame(head, 0)
        if first is not None and mp3_frames.has_length_tag(head, *first):
            return None
        file.seek(tag_bytes)
        data = file.read()
    first = mp3_frames.find_frame(data, 0)
    return None if first is None else mp3_frames.count_frames(data, *first) * first[1].samples


def with_info_frame(path: str) -> io.BytesIO:
    """Returns an MP3's bytes with an Info frame that states their true length in front.

    Raises:
        OSError: the file cannot be read, or is no longer an MP3.
    """
    data = read_clip(path)
    first = mp3_frames.find_frame(data, mp3_frames.skip_id3v2(data))
    if first is None:
        raise OSError("it changed while it was being read")
    offset, header = first
    frame_count = mp3_frames.count_frames(data, offset, header)
    return io.BytesIO(mp3_frames.info_frame(header, frame_count) + data[offset:])
