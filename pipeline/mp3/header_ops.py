"""Parses MPEG audio frame headers by TensorFlow ops, to find a stream's frames for decoding in a graph.

The rules are those of `pipeline.mp3.frames`, vectorised over many bytes at once. Source of the Xing frame's fields: the
Xing VBR header's and the LAME tag's descriptions (gabriel.mp3-tech.org/mp3infotag.html).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipeline.mp3 import frames as mp3_frames

_DECODER_DELAY = 529  # samples by which every Layer III decoder is late
_MAX_FRAME_BYTES = 2048  # more than any frame has
_MIN_FRAME_BYTES = 24
_FIRST_LOOK_BYTES = 512
_COUNTED_BYTES = 1 << 22
_MAX_TAG_BYTES = 4096  # that are taken for tags at a file's end without a look
_JOINED_FRAMES = 8  # so many are not found in a picture by chance


class Stream(NamedTuple):
    """An MPEG audio stream. The attributes are scalar tensors, except for `byte_places`.

    Attributes:
        found: whether there is a stream.
        offset: of the first frame of audio, past tags and a Xing, Info or VBRI frame.
        kind: a number that frames of the same version, layer and rate share.
        sample_rate_hz: sample rate of the stream.
        frame_samples: samples per channel in a frame.
        frame_bytes: mean length of a frame, float64.
        frame_count: number of frames of audio, float64: stated by a Xing or Info frame, else counted.
        is_constant_bit_rate: whether all frames are about equally long, so that the number of a frame follows from its offset.
        promised_samples: the number of samples that such a frame states, at most 2^31 - 1; 0 without such a frame.
        is_credible: whether a file of that size can hold so many frames.
        delay_samples: delay of encoder and decoder, to be cut from the beginning; 0 without such a frame.
        padding_samples: padding to be cut from the end; 0 without such a frame.
        byte_places: where each hundredth of the stream begins, float64 [101].
        is_joined: whether other frames follow those that a Xing or Info frame counts.
    """

    found: tf.Tensor
    offset: tf.Tensor
    kind: tf.Tensor
    sample_rate_hz: tf.Tensor
    frame_samples: tf.Tensor
    frame_bytes: tf.Tensor
    frame_count: tf.Tensor
    is_constant_bit_rate: tf.Tensor
    promised_samples: tf.Tensor
    is_credible: tf.Tensor
    delay_samples: tf.Tensor
    padding_samples: tf.Tensor
    byte_places: tf.Tensor
    is_joined: tf.Tensor


def read_stream(mp3: tf.Tensor) -> Stream:
    """Finds the stream of an MP3 and parses its first frames.

    Args:
        mp3: string scalar, the contents of a file.
    """
    size = tf.strings.length(mp3)
    start = tf.minimum(_skip_id3v2(mp3), size)
    look = _find_frames(mp3, start, _FIRST_LOOK_BYTES)  # almost every stream begins where it should
    frames = tf.cond(
        tf.size(look.places) > 0, lambda: look, lambda: _find_frames(mp3, start, mp3_frames.MAX_JUNK_BYTES)
    )
    place = _first(frames.places)
    header = _Header(*(column[_first(frames.rows)] for column in map(_column, _Header._fields)))
    data = tf.cast(frames.data[place : place + _MAX_FRAME_BYTES], tf.int32)
    tag = 4 + header.side_info_bytes
    is_variable, is_constant = _has(data, tag, b"Xing"), _has(data, tag, b"Info")
    # Behind the tag: flags, then what each of the lower four announces, then the encoder's name and settings.
    announced = tf.bitwise.bitwise_and(tf.bitwise.right_shift(data[tag + 7], [0, 1, 2, 3]), 1)
    fields = tag + 8 + tf.cumsum(announced * [4, 4, 100, 4], exclusive=True)
    counts_frames = (is_variable | is_constant) & (announced[0] == 1)
    has_table = is_variable & counts_frames & (announced[2] == 1)
    gapless = tag + 8 + tf.reduce_sum(announced * [4, 4, 100, 4]) + 21
    delay_and_padding = tf.cast(_big_endian(data, gapless, 3), tf.int32)  # 12 bits each
    in_frame = gapless + 3 <= header.frame_bytes
    stated_count = _big_endian(data, fields[0], 4)
    bytes_behind = tf.cast(size - start - place, tf.float64)
    stated_bytes = tf.where(announced[1] == 1, _big_endian(data, fields[1], 4), bytes_behind)

    stated_end = tf.cast(start + place, tf.float64) + stated_bytes
    more_than_tags = counts_frames & (tf.cast(size, tf.float64) - stated_end > _MAX_TAG_BYTES)
    is_joined = tf.cond(
        more_than_tags, lambda: _frames_follow(mp3, tf.cast(stated_end, tf.int32)), lambda: tf.constant(False)
    )

    length_frame = is_variable | is_constant | _has(data, 36, b"VBRI")
    offset = tf.minimum(start + place + tf.where(length_frame, header.frame_bytes, 0), size)
    bytes_left = tf.cast(size - offset, tf.float64)
    rate = tf.cast(tf.maximum(header.sample_rate_hz, 1), tf.float64)
    by_bit_rate = tf.cast(header.samples * header.bit_rate_kbps, tf.float64) * 125 / rate
    frame_bytes, is_constant_bit_rate = tf.case(
        [
            (is_constant & counts_frames, lambda: (by_bit_rate, tf.constant(True))),
            (counts_frames, lambda: (bytes_left / tf.maximum(stated_count, 1), tf.constant(False))),
        ],
        default=lambda: _count_frames(mp3, offset, header.kind),
    )
    frame_bytes = tf.maximum(frame_bytes, _MIN_FRAME_BYTES)
    frame_count = tf.where(counts_frames, stated_count, bytes_left / frame_bytes)

    promised = tf.where(counts_frames, stated_count, 0) * tf.cast(header.samples, tf.float64)
    capacity = mp3_frames.MAX_SAMPLES_PER_BYTE * tf.cast(size, tf.float64)

    table = tf.cast(data[fields[2] : fields[2] + 100], tf.float64) / 256 * stated_bytes
    by_table = tf.concat([table, [stated_bytes]], axis=0) + tf.cast(start + place, tf.float64)
    even = tf.cast(offset, tf.float64) + tf.range(101, dtype=tf.float64) / 100 * frame_count * frame_bytes
    return Stream(
        found=tf.size(frames.places) > 0,
        offset=offset,
        kind=header.kind,
        sample_rate_hz=header.sample_rate_hz,
        frame_samples=tf.maximum(header.samples, 1),
        frame_bytes=frame_bytes,
        frame_count=frame_count,
        is_constant_bit_rate=is_constant_bit_rate,
        promised_samples=tf.cast(tf.minimum(promised, tf.int32.max), tf.int32),
        is_credible=promised <= capacity + mp3_frames.TRUNCATION_TOLERANCE_SECONDS * rate,
        delay_samples=tf.where(counts_frames, tf.where(in_frame, delay_and_padding // 4096, 0) + _DECODER_DELAY, 0),
        padding_samples=tf.where(counts_frames & in_frame, tf.maximum(delay_and_padding % 4096 - _DECODER_DELAY, 0), 0),
        byte_places=tf.clip_by_value(tf.where(has_table, by_table, even), 0, tf.cast(size, tf.float64)),
        is_joined=is_joined,
    )


def _frames_follow(mp3: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Returns whether frames follow from `offset` on, behind an ID3v2 tag if one is there."""
    offset += _skip_id3v2(tf.strings.substr(mp3, offset, tf.strings.length(mp3) - offset))
    offset = tf.minimum(offset, tf.strings.length(mp3))
    return tf.size(_find_frames(mp3, offset, mp3_frames.MAX_JUNK_BYTES).places) >= _JOINED_FRAMES


def _count_frames(mp3: tf.Tensor, offset: tf.Tensor, kind: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Counts the frames of a stream that does not state their number; of a long stream, the frames of its beginning.

    Returns:
        The mean length of a frame in bytes, float64, and whether all frames are about equally long.
    """
    frames = _find_frames(mp3, offset, _COUNTED_BYTES)
    rows = tf.boolean_mask(frames.rows, tf.gather(_column("kind"), frames.rows) == kind)
    counted = tf.minimum(tf.strings.length(mp3) - offset, _COUNTED_BYTES)
    rates = tf.gather(_column("bit_rate_kbps"), rows)
    mean = tf.cast(counted, tf.float64) / tf.maximum(tf.cast(tf.size(rows), tf.float64), 1)
    return mean, tf.reduce_all(rates == _first(rates))


def byte_place(stream: Stream, frame: tf.Tensor) -> tf.Tensor:
    """Estimates where a frame begins, to search from there: its number, float64 scalar, to an offset, int32 scalar."""
    position = tf.clip_by_value(frame / tf.maximum(stream.frame_count, 1.0) * 100, 0.0, 100.0)
    below = tf.minimum(tf.cast(position, tf.int32), 99)
    first, second = stream.byte_places[below], stream.byte_places[below + 1]
    return tf.cast(first + (second - first) * (position - tf.cast(below, tf.float64)), tf.int32)


def next_frame(mp3: tf.Tensor, start: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
    """Returns the offset of the first frame of that kind from `start` on, int32; `start` if no such frame is near."""
    start = tf.minimum(start, tf.strings.length(mp3))
    frames = _find_frames(mp3, start, _MAX_FRAME_BYTES)
    return start + _first(tf.boolean_mask(frames.places, tf.gather(_column("kind"), frames.rows) == kind))


class _Header(NamedTuple):
    """The fields of a frame header, int32."""

    kind: tf.Tensor  # the same for frames of one stream (version, layer and rate); 0: not a header
    sample_rate_hz: tf.Tensor
    bit_rate_kbps: tf.Tensor
    frame_bytes: tf.Tensor
    side_info_bytes: tf.Tensor
    samples: tf.Tensor


class _Frames(NamedTuple):
    """The frames in a piece of a file: their offsets in it and their rows in the table of headers, int32 [frames]."""

    places: tf.Tensor
    rows: tf.Tensor
    data: tf.Tensor  # uint8, the piece and zeros behind it


def _find_frames(mp3: tf.Tensor, start: tf.Tensor, search_bytes: int) -> _Frames:
    """Finds the frames from `start` on that are followed by one of the same stream, or that end the file."""
    data = tf.io.decode_raw(tf.strings.substr(mp3, start, search_bytes + 2 * _MAX_FRAME_BYTES), tf.uint8)
    data = tf.pad(data, [[0, 2 * _MAX_FRAME_BYTES]])
    end = tf.minimum(tf.size(data) - 2 * _MAX_FRAME_BYTES, search_bytes)
    places = tf.cast(tf.where(data[:end] == 0xFF)[:, 0], tf.int32)
    rows = _rows(data, places)
    places, rows = tf.boolean_mask(places, rows > 0), tf.boolean_mask(rows, rows > 0)
    kind, frame_bytes = tf.gather(_column("kind"), rows), tf.gather(_column("frame_bytes"), rows)
    left = tf.strings.length(mp3) - start - places - frame_bytes  # a header has four bytes
    is_followed = (tf.gather(_column("kind"), _rows(data, places + frame_bytes)) == kind) & (left >= 4)
    verified = is_followed | (left == 0)
    return _Frames(tf.boolean_mask(places, verified), tf.boolean_mask(rows, verified), data)


def _rows(data: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Looks the four bytes at each place up in the table of headers; returns row 0 where they are not a header."""
    first, second, third, fourth = (tf.cast(tf.gather(data, places + i), tf.int32) for i in range(4))
    row = (second - 0xE0) * 0x200 + third * 2 + tf.cast(fourth >= 0xC0, tf.int32)
    row = tf.where((first == 0xFF) & (second >= 0xE0), row, 0)
    return tf.where(tf.gather(_column("kind"), row) > 0, row, 0)


def _column(name: str) -> tf.Tensor:
    return tf.constant(_header_table()[..., _Header._fields.index(name)].ravel())


def _first(values: tf.Tensor) -> tf.Tensor:
    return tf.concat([values, [0]], axis=0)[0]


@functools.cache
def _header_table() -> np.ndarray:
    """Parses every possible header; returns int32 [second byte - 0xE0, third byte, is mono, field]."""
    table = np.zeros((0x20, 0x100, 2, len(_Header._fields)), np.int32)
    for second, third, is_mono in np.ndindex(0x20, 0x100, 2):
        header = mp3_frames.parse_header(bytes((0xFF, 0xE0 + second, third, 0xC0 * is_mono)))
        if header is not None:
            table[second, third, is_mono] = (
                1 + (header.version_bits << 4 | header.layer << 2 | third >> 2 & 3),
                header.sample_rate_hz,
                header.bit_rate_kbps,
                header.frame_bytes,
                header.side_info_bytes,
                header.samples,
            )
    return table


def _skip_id3v2(mp3: tf.Tensor) -> tf.Tensor:
    """Returns the offset of the first byte after any ID3v2 tags."""
    size = tf.strings.length(mp3)

    def is_tag(offset: tf.Tensor) -> tf.Tensor:
        return (tf.strings.substr(mp3, tf.minimum(offset, size), 3) == "ID3") & (offset + 10 <= size)

    def skip(offset: tf.Tensor) -> tuple[tf.Tensor]:
        head = tf.cast(tf.io.decode_raw(tf.strings.substr(mp3, offset, 10), tf.uint8), tf.int32)
        head = tf.ensure_shape(head, [10])
        syncsafe = tf.reduce_sum((head[6:] % 128) * tf.constant([1 << 21, 1 << 14, 1 << 7, 1]))  # seven bits a byte
        has_footer = tf.bitwise.bitwise_and(head[5], 0x10) > 0
        return (offset + 10 + syncsafe + tf.where(has_footer, 10, 0),)

    return tf.while_loop(is_tag, skip, (tf.constant(0),), maximum_iterations=mp3_frames.MAX_TAGS)[0]


def _has(data: tf.Tensor, place: tf.Tensor | int, tag: bytes) -> tf.Tensor:
    return tf.reduce_all(data[place : place + len(tag)] == list(tag))


def _big_endian(data: tf.Tensor, place: tf.Tensor, size: int) -> tf.Tensor:
    """Reads an unsigned number as float64, which is exact where int32 would overflow."""
    digits = tf.cast(data[place : place + size], tf.float64)
    return tf.reduce_sum(digits * [256.0**i for i in reversed(range(size))])
