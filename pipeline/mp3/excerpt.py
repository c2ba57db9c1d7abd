"""Cuts a short MP3 out of a long one, so that a crop of it is decoded without reading what comes before.

libmpg123 (inside libsndfile) seeks by reading every frame header up to the wanted place. That takes 1.5 us a frame: a tenth
of a crop's time in a clip of 30 s, and most of it in a track of five minutes. It then decodes the four frames before the
wanted one, which are too few where frames are small: music of a variable bit rate loses a frame or two after silence.
Here the offset of a frame follows from the constant bit rate, or comes from an index that one pass over the file makes,
and the cut begins as many frames earlier as the wanted frame refers to. The cut begins with the file's own Info or Xing
frame, so the decoder drops the same delay from its beginning. If the cut's first frame of audio is frame n, then sample s
of the file is sample s - 1152 n of the cut (576 n below 32 kHz). Every frame of a cut is decoded, those before the wanted
one as silence, and their number is such that the cut has the bits of the whole file, not only the same samples to 1e-7.

Source: as `pipeline.mp3.frames`; delay and padding in the Info frame are at most 4095 samples (LAME), to which libmpg123 adds
its decoder's 529.
"""

from __future__ import annotations

import dataclasses
import itertools
import struct
from collections.abc import Iterable, Sequence

from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3.frame_places import ConstantFrames, IndexedFrames, constant_frames, index_frames, phase_frames
from pipeline.mp3.frames import DECODER_DELAY_SAMPLES, FrameHeader
from pipeline.mp3.runs import FrameRun, find_runs, has_frames
from pipeline.storage.clips import open_clip

_HEAD_BYTES = 8192
_MAX_DELAY_SAMPLES = 4095 + DECODER_DELAY_SAMPLES
_MAX_PADDING_SAMPLES = 4095
_HAS_FRAMES, _HAS_BYTES = 0x1, 0x2


@dataclasses.dataclass(frozen=True, slots=True)
class SeekableMp3:
    """An MP3 whose frames can be found without reading the frames before them.

    Attributes:
        info_frame: the file's Info or Xing frame; for a file without such a frame, an Info frame that was made for it.
        counts_offset: where in `info_frame` the number of frames begins, which the number of bytes may follow.
        has_byte_count: whether the number of bytes follows.
        header: header of the first frame of audio.
        frame_count: number of frames of audio.
        frames: the frames' offsets.
        states_length: whether `info_frame` is the file's own.
        lead_samples: number of samples by which a cut begins later than its first frame. libmpg123 removes the decoder's
            delay from a cut because it has an Info frame, but not from a file without one.
        is_follower: whether it follows another stream.
        followers: the streams of the same rate that follow in the same file, because files were joined (`cat a.mp3
            b.mp3`) or the number of channels changes. All their samples count, as mpg123 plays them: delay and padding
            too.
        unread_seconds: length of what follows those, which begins with a stream of another rate.
    """

    info_frame: bytes
    counts_offset: int
    has_byte_count: bool
    header: FrameHeader
    frame_count: int
    frames: ConstantFrames | IndexedFrames
    states_length: bool = True
    lead_samples: int = 0
    is_follower: bool = False
    followers: tuple[SeekableMp3, ...] = ()
    unread_seconds: float = 0.0

    @property
    def samples(self) -> int:
        """The samples per channel in all frames: the length of a follower."""
        return self.frame_count * self.header.samples

    def cut(self, path: str, start: int, samples: int) -> tuple[list[bytes], int] | None:
        """Cuts out an MP3 that holds [start, start + samples) of the file's samples per channel.

        Returns:
            The cut's bytes in pieces, and the number of the file's sample that is the cut's first. None if the file has
            changed since it was indexed, or if the samples are at its very beginning. The cut must be decoded from its
            beginning: after a seek in it the decoder would have too few frames before the wanted one.
        """
        header = self.header
        target, end = self.frames_of(start, samples)
        found = self.frames.read(path, target, end, header) if target < end else None
        if found is None:
            return None
        data, first, end = found
        data = _silenced(data, target - first, header)
        if first == 0 and self.is_follower:
            # Frames of silence, for the decoder to remove its delay from.
            data, first = mp3_frames.empty_frame(header, 0) * phase_frames(header) + data, -phase_frames(header)
        first_sample = first * header.samples + self.lead_samples
        return ([self._tag(end - first, len(data)), data], first_sample) if first_sample <= start else None

    def frames_of(self, start: int, samples: int) -> tuple[int, int]:
        """Returns the first frame of a cut that is decoded, and its last one plus one."""
        header = self.header
        # Each granule of 576 samples overlaps with the next, and is smoothed by the one before that.
        target = max(0, start // header.samples - 1152 // header.samples)
        # One frame more than delay and padding take, so that neither reaches the samples that are wanted.
        last_sample = start + samples + _MAX_DELAY_SAMPLES + _MAX_PADDING_SAMPLES
        return target, min(self.frame_count, last_sample // header.samples + 2)

    def _tag(self, frame_count: int, audio_bytes: int) -> bytes:
        counts = struct.pack(">I", frame_count)
        if self.has_byte_count:
            counts += struct.pack(">I", len(self.info_frame) + audio_bytes)
        at = self.counts_offset
        return self.info_frame[:at] + counts + self.info_frame[at + len(counts) :]


def index_mp3(path: str) -> SeekableMp3 | None:
    """Finds out where the frames of an MP3 are.

    A file of variable or unknown bit rate is read once from beginning to end; of a file of constant bit rate, the beginning
    and what is behind its last frame suffice.

    Args:
        path: a file, or a clip's path in a record shard.

    Returns:
        The first stream of the file. None if the file is not an MP3 of Layer III, or states its length in another way than
        by a number of frames in an Info or Xing frame.

    Raises:
        OSError: the file cannot be read.
    """
    with open_clip(path) as file:
        tag_bytes = mp3_frames.skip_id3v2(file.read(_HEAD_BYTES))
        file.seek(tag_bytes)
        head = file.read(_HEAD_BYTES)
        found = mp3_frames.find_frame(head, 0)
        if found is None:  # behind junk, perhaps
            file.seek(tag_bytes)
            head = file.read(mp3_frames.MAX_JUNK_BYTES + _HEAD_BYTES)
            found = mp3_frames.find_frame(head, 0)
        if found is None or found[1].layer != 3:
            return None
        offset, header = found
        if not mp3_frames.has_length_tag(head, offset, header):
            streams, unread_seconds = group_runs(find_runs(file, tag_bytes + offset, header))
            if not streams:
                return None
            first_stream = _unstated(streams[0])
            return dataclasses.replace(first_stream, followers=_followers(streams[1:]), unread_seconds=unread_seconds)
        tag = offset + 4 + header.side_info_bytes
        if head[tag : tag + 4] not in (b"Info", b"Xing") or tag + 16 > len(head):
            return None
        flags, frame_count, byte_count = struct.unpack_from(">III", head, tag + 4)
        audio = offset + header.frame_bytes
        first = mp3_frames.parse_header(head, audio)
        if first is None or first.layer != 3 or not flags & _HAS_FRAMES or not frame_count:
            return None
        info_frame, counts_offset, has_byte_count = head[offset:audio], tag + 8 - offset, bool(flags & _HAS_BYTES)
        if (
            has_byte_count
            and head[tag : tag + 4] == b"Info"
            and not has_frames(file, tag_bytes + offset + byte_count, first)
        ):
            audio_bytes = min(byte_count - header.frame_bytes, file.size - tag_bytes - audio)
            places = constant_frames(head[audio : audio + 4], first, tag_bytes + audio, frame_count, audio_bytes)
            if places is not None:
                return SeekableMp3(info_frame, counts_offset, has_byte_count, first, frame_count, places)
        streams, unread_seconds = group_runs(find_runs(file, tag_bytes + audio, first), frame_count)
    if not streams:
        return None
    return SeekableMp3(
        info_frame,
        counts_offset,
        has_byte_count,
        first,
        sum(run.count for run in streams[0]),
        index_frames(streams[0]),
        followers=_followers(streams[1:]),
        unread_seconds=unread_seconds,
    )


def group_runs(runs: Iterable[FrameRun], first_count: int | None = None) -> tuple[list[list[FrameRun]], float]:
    """Groups the runs of a file to streams, which a decoder can read in one go.

    Args:
        runs: of the file.
        first_count: how many frames the first stream has; None means that it goes on until its channels change.

    Returns:
        The runs of each stream, all of one rate, and how many seconds of audio follow them.
    """
    streams: list[list[FrameRun]] = []
    unread_seconds, left = 0.0, first_count
    for run in runs:
        if unread_seconds or (streams and not mp3_frames.is_same_stream(run.header, streams[0][0].header)):
            unread_seconds += run.seconds
            continue
        if not streams or run.header.channels != streams[-1][0].header.channels or left == 0:
            streams.append([])
            left = left if len(streams) == 1 else None
        head, rest = run, None
        if left is not None:
            if left < run.count:
                head, rest = run.split(left)
            left -= head.count
        streams[-1].append(head)
        if rest is not None:
            streams.append([rest])
            left = None
    # A frame or two behind those that a header counts are the encoder's slip.
    tolerance = mp3_frames.TRUNCATION_TOLERANCE_SECONDS
    followers = [stream for stream in streams[1:] if sum(run.seconds for run in stream) > tolerance]
    return [*streams[:1], *followers], unread_seconds if unread_seconds > tolerance else 0.0


def _followers(streams: Sequence[Sequence[FrameRun]]) -> tuple[SeekableMp3, ...]:
    """Indexes the streams behind the first one of a file."""
    return tuple(
        dataclasses.replace(_unstated(stream), lead_samples=DECODER_DELAY_SAMPLES, is_follower=True)
        for stream in streams
    )


def _unstated(stream: Sequence[FrameRun]) -> SeekableMp3:
    """Indexes a stream that does not state its length."""
    header, count = stream[0].header, sum(run.count for run in stream)
    made, counts_offset = mp3_frames.info_frame(header, 0), 4 + header.side_info_bytes + 8
    return SeekableMp3(made, counts_offset, False, header, count, index_frames(stream), states_length=False)


def _silenced(data: bytes, count: int, header: FrameHeader) -> bytes:
    """Empties the first frames of a cut, which are there for the bits that later frames take from them.

    Their own bits begin before the cut. The decoder would skip such a frame, and its synthesis would then stand at another
    place. What is left of a frame is how far back its bits begin, but not before the cut.

    Args:
        data: the cut.
        count: how many frames to empty.
        header: of a frame of the stream.
    """
    emptied = bytearray(data)
    has_nine_bits = header.version_bits == 3  # for that distance; else eight
    held = 0
    for place in itertools.islice(mp3_frames.walk(data, 0, header), count):
        frame = mp3_frames.parse_header(data, place)
        side = place + (4 if data[place + 1] & 1 else 6)  # behind the checksum, if there is one
        if frame is None or side + header.side_info_bytes > len(data):
            break
        distance = data[side] << 1 | data[side + 1] >> 7 if has_nine_bits else data[side]
        distance = min(distance, held)
        bits = bytes((distance >> 1, (distance & 1) << 7)) if has_nine_bits else bytes((distance,))
        emptied[side : side + header.side_info_bytes] = bits.ljust(header.side_info_bytes, b"\0")
        held += place + frame.frame_bytes - side - header.side_info_bytes
    return bytes(emptied)
