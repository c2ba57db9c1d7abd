"""Decides, once a file, whether the native decoder decodes it, and holds what that decoder has to know of its stream."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from pipeline.decoding.clip_parts import find_parts
from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3.excerpt import SeekableMp3
from pipeline.mp3.frame_places import IndexedFrames
from pipeline.mp3.native.bands import band_edges
from pipeline.storage.clips import clip_version, open_clip

_HEAD_BYTES = 4096  # more than two frames have
_FEWEST_FRAMES = 3  # in fewer, libmpg123 is not sure what is a frame


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class NativeStream:
    """An MP3 that the native decoder decodes.

    Attributes:
        path: the clip.
        mp3: the places of its frames.
        samples: the clip's length in samples per channel.
        offset: where the clip begins, in samples from the beginning of its first frame.
        frame_bytes: int32 [256], length of a frame for each third byte of its header.
        long_edges: int32 [23], the bands of its long blocks.
        short_edges: int32 [14], the bands of its short blocks.
    """

    path: str
    mp3: SeekableMp3
    samples: int
    offset: int
    frame_bytes: np.ndarray
    long_edges: np.ndarray
    short_edges: np.ndarray

    @property
    def sample_rate_hz(self) -> int:
        """The file's own rate."""
        return self.mp3.header.sample_rate_hz


def native_stream(path: str) -> NativeStream | str:
    """Returns the stream of a clip, or the reason why another decoder has to decode it.

    Args:
        path: an audio file, or a clip's path in a record shard.

    Raises:
        DecodeError: the file cannot be opened as audio.
    """
    return _native_stream(path, *clip_version(path))


@functools.lru_cache(maxsize=200_000)
def _native_stream(path: str, *version: int) -> NativeStream | str:
    del version
    clip = find_parts(path)
    if clip.container != "MP3":
        return f"{clip.container} file"
    mp3 = clip.parts[0].mp3
    if mp3 is None:
        return "MP3 without an index of its frames (another layer, or a tag that leaves the length open)"
    if len(clip.parts) > 1:
        return "joined files"
    if isinstance(mp3.frames, IndexedFrames) and len(mp3.frames.runs) > 1:
        return "damaged stream (something else stands between its frames)"
    delay = mp3_frames.delay_samples(mp3.info_frame, mp3.counts_offset)
    if delay is None:
        return "MP3 with an Info frame that holds sound"
    if mp3.states_length and int.from_bytes(mp3.info_frame[mp3.counts_offset :][:4], "big") != mp3.frame_count:
        return "MP3 with another number of frames than its Info frame states"
    if mp3.frame_count < _FEWEST_FRAMES:
        return f"MP3 of fewer than {_FEWEST_FRAMES} frames"
    if not _begins_with_frame(path):
        return "MP3 with junk before its first frame"
    header = mp3.header
    if (header.sample_rate_hz, header.channels) != (clip.info.sample_rate_hz, clip.info.channels):
        return "MP3 whose Info frame is of another rate or number of channels"
    table, edges = _frame_bytes(header.version_bits, header.sample_rate_hz), band_edges(header.sample_rate_hz)
    return NativeStream(path, mp3, clip.info.samples, delay - mp3.lead_samples, table, *edges)


def _begins_with_frame(path: str) -> bool:
    """Returns whether the first frame stands directly behind the tags at the beginning, all of a kind that libmpg123 knows."""
    with open_clip(path) as file:
        place = 0
        for _ in range(mp3_frames.MAX_TAGS):
            file.seek(place)
            head = file.read(10)
            if not head.startswith(b"ID3") or len(head) < 10:
                break
            if 0xFF in head[3:5] or max(head[6:]) > 0x7F:
                return False
            place += mp3_frames.skip_id3v2(head)
        file.seek(place)
        found = mp3_frames.find_frame(file.read(_HEAD_BYTES), 0)
    return found is not None and found[0] == 0


@functools.cache
def _frame_bytes(version_bits: int, sample_rate_hz: int) -> np.ndarray:
    second = 0xE3 | version_bits << 3  # of a header, Layer III
    return np.array(mp3_frames.frame_lengths(second, sample_rate_hz), np.int32)
