"""MP3 bytes to a waveform as TensorFlow ops, by tensorflow-io: for graphs that are saved or sent to other processes.

The default decoder (`pipeline.decode`) is faster and reads every format, but is Python, which no graph can hold.
`tensorflow_io.audio.decode_mp3` refuses clips that were cut from longer MP3s, as all of FMA's are: their Info frame
promises more than can be decoded (tensorflow/io#1785). So the stream is handed to it from the first frame of audio on.
It does not say the sample rate either, which is read here from that frame's header.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from pipeline import mp3_frames

_DECODER_DELAY = 529  # samples by which every Layer III decoder is late
_FRAME_BYTES = 4096  # more than any frame has


class MissingOpsError(ValueError):
    """tensorflow-io's native library cannot be loaded."""


def load_ops() -> Any:
    """Loads tensorflow-io's native ops, which a process must do before it decodes with them or loads a saved graph.

    Importing the package is not enough: it loads its library at the first use of an op.

    Returns:
        The module of its ops.

    Raises:
        MissingOpsError: the package is missing, or does not fit the installed TensorFlow.
    """
    try:
        from tensorflow_io.python.ops import core_ops

        core_ops.io_audio_decode_mp3  # noqa: B018
    except (ImportError, AttributeError, NotImplementedError, tf.errors.OpError) as error:
        raise MissingOpsError(
            f"expected tensorflow-io of the version that fits TensorFlow {tf.__version__} (0.37.1 for 2.16 and 2.17), "
            f"but its ops cannot be loaded: {error}"
        ) from error
    return core_ops


class FirstFrame(NamedTuple):
    """The first frame of a stream, as scalar tensors: see `mp3_frames.FrameHeader`."""

    found: tf.Tensor
    offset: tf.Tensor  # of the first frame of audio: past tags and an Info frame
    sample_rate_hz: tf.Tensor
    promised_samples: tf.Tensor  # what a Xing or Info frame says; 0 without one
    delay_samples: tf.Tensor  # of encoder and decoder at the beginning, to be cut; 0 without such a frame
    padding_samples: tf.Tensor  # at the end, to be cut


def decode_mp3(mp3: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Decodes a whole MP3 to mono. Nothing in the bytes makes it fail: what is wrong with them is returned.

    As libsndfile does, it cuts the delay and padding that a Xing or Info frame states, and puts silence for frames
    that such a frame counts but that cannot be decoded.

    Args:
        mp3: string scalar, the contents of a file.

    Returns:
        The waveform, float32 [samples] at the file's own rate; that rate in Hz, int32 (1 where it is unknown); and the
        reason why there is no audio, a string that is empty where there is.
    """
    ops = load_ops()
    frame = find_first_frame(mp3)

    def decode(stream: tf.Tensor) -> tf.Tensor:
        return ops.io_audio_decode_mp3(stream, shape=tf.constant([-1, -1], tf.int64))

    size = tf.strings.length(mp3)
    stream = tf.strings.substr(mp3, frame.offset, tf.where(frame.found, size, 0))
    # The op's failure would be that of the whole graph, other files of the batch included. A data set's can be caught.
    decoded = (
        tf.data.Dataset.from_tensors(stream)
        .map(decode)
        .ignore_errors()
        .reduce(tf.zeros([0, 1]), lambda nothing, audio: audio)
    )  # [samples, channels]
    waveform = (decoded[:, 0] + decoded[:, -1]) * 0.5  # of one channel or two
    samples = tf.size(waveform)
    tolerated = tf.cast(mp3_frames.TRUNCATION_TOLERANCE_SECONDS * tf.cast(frame.sample_rate_hz, tf.float32), tf.int32)
    error = tf.case(
        [
            (size == 0, lambda: tf.constant("empty file")),
            (~frame.found, lambda: tf.constant("not recognised as MP3: no MPEG audio frame in its first 64 KiB")),
            (samples == 0, lambda: tf.constant("not decodable as MP3")),
            (
                samples < frame.promised_samples - tolerated,
                lambda: tf.strings.format(
                    "truncated: {} samples where its header promises {}", (samples, frame.promised_samples)
                ),
            ),
        ],
        default=lambda: tf.constant(""),
    )
    # What is missing was at the beginning, where a clip's first frames refer to a part of the stream that was cut away.
    ok = error == ""
    missing = tf.where(ok, tf.maximum(frame.promised_samples - samples, 0), 0)
    begin = tf.maximum(frame.delay_samples - missing, 0)
    end = tf.where(ok, tf.maximum(samples - frame.padding_samples, begin), begin)
    waveform = tf.pad(waveform[begin:end], [[tf.maximum(missing - frame.delay_samples, 0), 0]])
    return waveform, tf.where(frame.found, frame.sample_rate_hz, 1), error


def find_first_frame(mp3: tf.Tensor) -> FirstFrame:
    """Finds the first frame of audio: behind ID3v2 tags, junk, and a Xing, Info or VBRI frame.

    The same rules as `mp3_frames.skip_id3v2`, `find_frame` and `has_length_tag`.

    Args:
        mp3: string scalar, the contents of a file.
    """
    start = _skip_id3v2(mp3)
    size = tf.strings.length(mp3)
    window = tf.strings.substr(mp3, tf.minimum(start, size), mp3_frames.MAX_JUNK_BYTES + _FRAME_BYTES)
    data = tf.cast(tf.io.decode_raw(window, tf.uint8), tf.int32)
    data = tf.pad(data, [[0, mp3_frames.MAX_JUNK_BYTES + 2 * _FRAME_BYTES - tf.size(data)]])
    places = tf.range(mp3_frames.MAX_JUNK_BYTES)
    headers = _parse_headers(data)
    ends = places + headers.frame_bytes[: mp3_frames.MAX_JUNK_BYTES]
    is_last = start + ends == size
    followed = headers.stream[: mp3_frames.MAX_JUNK_BYTES] == tf.gather(headers.stream, ends)
    candidates = tf.where((headers.stream[: mp3_frames.MAX_JUNK_BYTES] > 0) & (followed | is_last))[:, 0]
    found = tf.size(candidates) > 0
    place = tf.cast(tf.concat([candidates, [0]], axis=0)[0], tf.int32)

    behind_side_info = place + 4 + headers.side_info_bytes[place]
    has_xing = _has(data, behind_side_info, b"Xing") | _has(data, behind_side_info, b"Info")
    offset = start + place + tf.where(has_xing | _has(data, place + 36, b"VBRI"), headers.frame_bytes[place], 0)
    # Behind the tag: flags, then what each of the lower four announces, then the encoder's name and settings.
    flags = data[behind_side_info + 7]
    announced = tf.bitwise.bitwise_and(tf.bitwise.right_shift(flags, [0, 1, 2, 3]), 1)
    counts_frames = has_xing & (announced[0] == 1)
    gapless = behind_side_info + 8 + tf.reduce_sum(announced * [4, 4, 100, 4]) + 21
    delay_and_padding = _big_endian(data, gapless, 3)  # 12 bits each
    in_frame = gapless + 3 <= place + headers.frame_bytes[place]
    delay, padding = delay_and_padding // 4096, delay_and_padding % 4096
    return FirstFrame(
        found,
        tf.minimum(offset, size),
        headers.sample_rate_hz[place],
        tf.where(counts_frames, _big_endian(data, behind_side_info + 8, 4), 0) * headers.samples[place],
        tf.where(counts_frames, tf.where(in_frame, delay, 0) + _DECODER_DELAY, 0),
        tf.where(counts_frames & in_frame, tf.maximum(padding - _DECODER_DELAY, 0), 0),
    )


def _has(data: tf.Tensor, place: tf.Tensor, tag: bytes) -> tf.Tensor:
    return tf.reduce_all(data[place : place + len(tag)] == list(tag))


def _big_endian(data: tf.Tensor, place: tf.Tensor, size: int) -> tf.Tensor:
    return tf.reduce_sum(data[place : place + size] * [256**i for i in reversed(range(size))])


class _Headers(NamedTuple):
    """What a frame header at each byte would say, int32 [bytes]."""

    stream: tf.Tensor  # the same for frames of one stream (version, layer and rate); 0: not a header
    sample_rate_hz: tf.Tensor
    frame_bytes: tf.Tensor
    side_info_bytes: tf.Tensor
    samples: tf.Tensor


@functools.cache
def _header_table() -> np.ndarray:
    """Every header there can be, parsed by `mp3_frames`, int32 [second byte - 0xE0, third byte, is mono; 5]."""
    table = np.zeros((0x20, 0x100, 2, 5), np.int32)
    for second, third, is_mono in np.ndindex(0x20, 0x100, 2):
        header = mp3_frames.parse_header(bytes((0xFF, 0xE0 + second, third, 0xC0 * is_mono)))
        if header is not None:
            stream = 1 + (header.version_bits << 4 | header.layer << 2 | third >> 2 & 3)
            table[second, third, is_mono] = (
                stream,
                header.sample_rate_hz,
                header.frame_bytes,
                header.side_info_bytes,
                header.samples,
            )
    return table


def _parse_headers(data: tf.Tensor) -> _Headers:
    """Parses the four bytes at each place of [bytes + _FRAME_BYTES], as int32."""
    count = tf.size(data) - _FRAME_BYTES
    first, second, third, fourth = (data[i : count + i] for i in range(4))
    is_sync = (first == 0xFF) & (second >= 0xE0)
    is_mono = tf.cast(tf.bitwise.right_shift(fourth, 6) == 3, tf.int32)
    rows = tf.stack([tf.maximum(second - 0xE0, 0), third, is_mono], axis=1)
    parsed = tf.gather_nd(_header_table(), rows) * tf.cast(is_sync, tf.int32)[:, tf.newaxis]  # [bytes, 5]
    return _Headers(*tf.unstack(parsed, axis=1))


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

    return tf.while_loop(is_tag, skip, (tf.constant(0),), maximum_iterations=64)[0]
