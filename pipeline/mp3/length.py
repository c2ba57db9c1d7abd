"""Finds the true length of MP3s that do not state it, and makes libsndfile, which would guess, read all of it."""

from __future__ import annotations

import functools
import io

from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3.excerpt import group_runs
from pipeline.mp3.frames import FrameHeader
from pipeline.mp3.runs import find_runs
from pipeline.storage.clips import ClipFile, clip_version, open_clip

_HEAD_BYTES = 8192


@functools.lru_cache(maxsize=200_000)
def counted_samples(path: str, *version: int) -> int | None:
    """Counts an MP3's samples per channel from its frame headers, up to where its rate or channels change.

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
        found = _find_first(file)
        if found is None:
            return None
        offset, header, states_length = found
        if states_length:
            return None
        streams, _ = group_runs(find_runs(file, offset, header))
        return sum(run.count for run in streams[0]) * header.samples if streams else 0


def held_seconds(path: str) -> float | None:
    """Counts how many seconds all frames of a file hold, of whatever layer, rate and channels, and whatever a tag states.

    Args:
        path: an MP3, or a clip's path in a record shard.

    Returns:
        The seconds; None if there is no frame.

    Raises:
        OSError: the file cannot be read.
    """
    with open_clip(path) as file:
        found = _find_first(file)
        return None if found is None else sum(run.seconds for run in find_runs(file, found[0], found[1]))


def with_info_frame(path: str) -> io.BytesIO:
    """Returns an MP3's bytes with an Info frame that states their true length in front.

    Raises:
        OSError: the file cannot be read, or is no longer an MP3.
    """
    with open_clip(path) as file:
        found = _find_first(file)
        counted = counted_samples(path, *clip_version(path))
        if found is None or not counted:
            raise OSError("it changed while it was being read")
        offset, header, _ = found
        file.seek(offset)
        return io.BytesIO(mp3_frames.info_frame(header, counted // header.samples) + file.read())


def _find_first(file: ClipFile) -> tuple[int, FrameHeader, bool] | None:
    """Finds the first frame of an MP3: its offset, its header, and whether it states the stream's length."""
    begin = mp3_frames.skip_id3v2(file.read(_HEAD_BYTES))
    for size in (_HEAD_BYTES, mp3_frames.MAX_JUNK_BYTES + _HEAD_BYTES):  # most files need no more than the first
        file.seek(begin)
        head = file.read(size)
        found = mp3_frames.find_frame(head, 0)
        if found is not None:
            return begin + found[0], found[1], mp3_frames.has_length_tag(head, *found)
    return None
