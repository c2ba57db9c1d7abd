"""Decodes MP3s to waveforms by TensorFlow ops alone, with tensorflow-io: for graphs that are saved or sent elsewhere.

The default decoder (`pipeline.decoding.soundfile_decoder`) is faster and reads every format, but it is Python code, which a
graph cannot hold. `tensorflow_io.audio.decode_mp3` refuses clips that were cut from longer MP3s, as all of FMA's are:
their Info frame promises more than can be decoded (tensorflow/io#1785). So this module passes it the stream from the first
frame of audio on. It does not return the sample rate either; this module reads the rate from that frame's header.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pipeline import windows
from pipeline.decoding.resample import resample
from pipeline.decoding.tfio_package import MissingOpsError, require_tensorflow_io
from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3.header_ops import Stream, byte_place, next_frame, read_stream
from pipeline.storage.record_ops import is_in_record, read_record


def load_ops() -> Any:
    """Loads tensorflow-io's native ops, which a process must do before it decodes with them or loads a saved graph.

    Importing the package is not enough: it loads its library at the first use of an op.

    Returns:
        The module of its ops.

    Raises:
        MissingOpsError: the package is missing, or does not fit the installed TensorFlow.
    """
    require_tensorflow_io()
    try:
        from tensorflow_io.python.ops import core_ops

        core_ops.io_audio_decode_mp3  # noqa: B018
    # A damaged package, one without the op, no library for this platform, one of another TensorFlow: each its own way.
    except (ImportError, AttributeError, NotImplementedError, tf.errors.OpError) as error:
        raise MissingOpsError(
            f"expected tensorflow-io of the version that fits TensorFlow {tf.__version__} (0.37.1 for 2.16 and 2.17), "
            f"but its ops cannot be loaded: {error}"
        ) from error
    return core_ops


def decode_crop(
    path: tf.Tensor, sample_rate_hz: int, crop_samples: int, position: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a crop of an MP3 file, or with `crop_samples=0` all of it, to mono at a given rate.

    Args:
        path: string scalar, of a file or of a clip in a record shard.
        sample_rate_hz: rate of the returned waveform.
        crop_samples: its length in samples; 0: the whole clip's.
        position: where the crop starts, as a fraction of the possible starts, 0...1.

    Returns:
        The waveform, float32 [crop_samples] or [samples], and the reason why it is silence, empty unless it is.
    """
    mp3 = _read(path)
    if crop_samples:
        waveform, error = decode_mp3_crop(mp3, sample_rate_hz, crop_samples, position)
    else:
        waveform, source_hz, error = decode_mp3(mp3)
        waveform = resample(waveform[tf.newaxis], source_hz, sample_rate_hz)[0]
    return waveform, tf.where(mp3 == "", "empty file, or it cannot be read", error)


def count_windows(path: tf.Tensor, crop_seconds: float) -> tf.Tensor:
    """Returns how many windows cover an MP3 file, and 1 for a file that cannot be decoded.

    Args:
        path: string scalar, of a file or of a clip in a record shard.
        crop_seconds: length of a window; 0 means the whole clip.

    Returns:
        int64 scalar.
    """
    if crop_seconds == 0:
        return tf.constant(1, tf.int64)
    stream = read_stream(_read(path))
    count = windows.window_count(clip_samples(stream), _rate(stream), crop_seconds, tf.math)
    return tf.where(stream.found & stream.is_credible, tf.cast(count, tf.int64), 1)


def decode_mp3(mp3: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Decodes a whole MP3 to mono. No contents make the op fail: the reason for a failure is returned.

    Like libsndfile, the function cuts the delay and padding that a Xing or Info frame states. Frames that such a frame
    counts but that cannot be decoded become silence.

    Args:
        mp3: string scalar, the contents of a file.

    Returns:
        The waveform, float32 [samples] at the file's own rate; that rate in Hz, int32 (1 where it is unknown); and the
        reason why there is no audio, a string that is empty where there is.
    """
    stream = read_stream(mp3)
    size = tf.strings.length(mp3)
    waveform = _decode_range(mp3, stream.offset, tf.where(stream.found, size, 0))
    samples = tf.size(waveform)
    missing = tf.maximum(stream.promised_samples - samples, 0)
    error = _failure(
        stream,
        size,
        samples,
        missing,
        lambda: tf.strings.format(
            "truncated: {} samples where its header promises {}", (samples, stream.promised_samples)
        ),
    )
    # What is missing was at the beginning, where a clip's first frames refer to a part of the stream that was cut away.
    ok = error == ""
    missing = tf.where(ok, missing, 0)
    begin = tf.maximum(stream.delay_samples - missing, 0)
    end = tf.where(ok, tf.maximum(samples - stream.padding_samples, begin), begin)
    waveform = tf.pad(waveform[begin:end], [[tf.maximum(missing - stream.delay_samples, 0), 0]])
    error = tf.where(ok & (tf.size(waveform) == 0), "holds no audio: all of it is delay and padding", error)
    return waveform, tf.where(stream.found, stream.sample_rate_hz, 1), error


def decode_mp3_crop(
    mp3: tf.Tensor, sample_rate_hz: int, crop_samples: int, position: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes one crop of an MP3, from little more than the crop's bytes, to mono at a given rate and of a given length.

    This is the graph's counterpart of `pipeline.decoding.soundfile_decoder.decode_crop`. The place of the crop's bytes is
    computed: exact to the frame for a constant bit rate, and from the Xing frame's table (hundredths of the stream) for a
    variable one.

    Args:
        mp3: string scalar, the contents of a file.
        sample_rate_hz: rate of the returned waveform.
        crop_samples: its length in samples; a clip that ends earlier is padded with zeros.
        position: where the crop starts, as a fraction of the possible starts, 0...1.

    Returns:
        The waveform, float32 [crop_samples], and the reason why it is silence, empty unless it is.
    """
    stream = read_stream(mp3)
    frame_samples = tf.cast(stream.frame_samples, tf.float64)
    total = clip_samples(stream)
    start, wanted = windows.crop_span(
        total, _rate(stream), crop_samples, sample_rate_hz, tf.cast(position, tf.float64), tf.math
    )
    start += tf.cast(stream.delay_samples, tf.float64)
    # Frames before the crop: two whose overlap the decoder needs, and those that hold a part of the next ones' data
    # (at most 511 bytes; a frame of n bytes has room for n - 38).
    lead = 2 + tf.math.ceil(511 / tf.maximum(stream.frame_bytes - 38, 16))
    first = tf.maximum(tf.floor(start / frame_samples) - lead, 0)
    last = tf.math.ceil((start + wanted) / frame_samples) + 1
    guess = tf.maximum(byte_place(stream, first), stream.offset)
    begin = next_frame(mp3, guess, stream.kind)
    size = tf.strings.length(mp3)
    # Half a frame more, because a fragment of a few bytes would cost the frame before it; where places are a guess, a
    # hundredth of the stream.
    spare = tf.where(stream.is_constant_bit_rate, tf.constant(0.5, tf.float64), 1 + stream.frame_count / 100)
    end = tf.cast(byte_place(stream, last), tf.float64) + spare * stream.frame_bytes
    end = tf.cast(tf.minimum(end, tf.cast(size, tf.float64)), tf.int32)
    end = tf.maximum(tf.where(last >= stream.frame_count, size, end), begin)
    first += tf.round(tf.cast(begin - guess, tf.float64) / stream.frame_bytes)
    decoded = _decode_range(mp3, begin, tf.where(stream.found, end - begin, 0))

    # Frames of the range that could not be decoded are its first ones, whose data began before it; or the file ends.
    samples = tf.cast(tf.size(decoded), tf.float64)
    undecoded = tf.maximum((tf.minimum(last, stream.frame_count) - first) * frame_samples - samples, 0)
    undecoded = tf.minimum(tf.round(undecoded / frame_samples), lead) * frame_samples
    skip = start - first * frame_samples - tf.where(stream.is_constant_bit_rate, undecoded, 0)
    # With a variable bit rate the number of a frame is a guess; but the first one, and the file's last, are known.
    from_end = samples - (stream.frame_count * frame_samples - start)
    guessed = tf.where((last >= stream.frame_count) & (first > 0), from_end, skip)
    skip = tf.where(stream.is_constant_bit_rate, skip, tf.clip_by_value(guessed, 0, tf.maximum(samples - wanted, 0)))
    missing = wanted - (samples - skip)
    error = _failure(
        stream,
        size,
        tf.size(decoded),
        missing,
        lambda: tf.strings.format("truncated: {} s of a crop are missing", missing / _rate(stream)),
    )
    silence, skip = tf.cast(tf.maximum(-skip, 0), tf.int32), tf.cast(tf.maximum(skip, 0), tf.int32)
    crop = tf.pad(decoded[skip:], [[silence, 0]])[: tf.cast(wanted, tf.int32)]
    crop = resample(crop[tf.newaxis], tf.maximum(stream.sample_rate_hz, 1), sample_rate_hz)[0, :crop_samples]
    crop = tf.pad(crop, [[0, crop_samples - tf.size(crop)]])
    return tf.where(error == "", crop, 0.0), error


def _read(path: tf.Tensor) -> tf.Tensor:
    """Reads a clip's bytes; returns the empty string if they cannot be read."""

    def read(path: tf.Tensor) -> tf.Tensor:
        return tf.cond(is_in_record(path), lambda: read_record(path), lambda: tf.io.read_file(path))

    return _attempt(path, read, tf.constant(""))


def clip_samples(stream: Stream) -> tf.Tensor:
    """Returns the length of a clip in samples at its own rate, without delay and padding; float64 scalar, at least 1."""
    cut = tf.cast(stream.delay_samples + stream.padding_samples, tf.float64)
    return tf.maximum(stream.frame_count * tf.cast(stream.frame_samples, tf.float64) - cut, 1)


def _rate(stream: Stream) -> tf.Tensor:
    return tf.cast(tf.maximum(stream.sample_rate_hz, 1), tf.float64)


def _failure(
    stream: Stream, size: tf.Tensor, samples: tf.Tensor, missing: tf.Tensor, truncated: Callable[[], tf.Tensor]
) -> tf.Tensor:
    """Returns the reason why there is no usable audio; an empty string where there is.

    Args:
        stream: the stream that was found.
        size: size of the file in bytes.
        samples: number of samples that were decoded.
        missing: number of samples that should have been decoded, but were not.
        truncated: returns the reason for too many missing samples.
    """
    return tf.case(
        [
            (size == 0, lambda: tf.constant("empty file")),
            (~stream.found, lambda: tf.constant("not recognised as MP3: no MPEG audio frame in its first 64 KiB")),
            (
                ~stream.is_credible,
                lambda: tf.strings.format(
                    "truncated: its header promises {} samples, more than its {} bytes can hold",
                    (stream.promised_samples, size),
                ),
            ),
            (
                stream.is_joined,
                lambda: tf.constant(
                    "files were joined: more frames follow those that its header counts, which this decoder cannot tell "
                    "apart; split the file, or decode it by soundfile"
                ),
            ),
            (samples == 0, lambda: tf.constant("not decodable as MP3")),
            (tf.cast(missing, tf.float64) > mp3_frames.TRUNCATION_TOLERANCE_SECONDS * _rate(stream), truncated),
        ],
        default=lambda: tf.constant(""),
    )


def _decode_range(mp3: tf.Tensor, offset: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Decodes `size` bytes from `offset` to mono [samples]; returns no samples if the bytes cannot be decoded."""
    ops = load_ops()

    def decode(data: tf.Tensor) -> tf.Tensor:
        return ops.io_audio_decode_mp3(data, shape=tf.constant([-1, -1], tf.int64))

    decoded = _attempt(tf.strings.substr(mp3, offset, size), decode, tf.zeros([0, 1]))  # [samples, channels]
    return (decoded[:, 0] + decoded[:, -1]) * 0.5  # of one channel or two


def _attempt(value: tf.Tensor, function: Callable[[tf.Tensor], tf.Tensor], fallback: tf.Tensor) -> tf.Tensor:
    """Returns function(value), or the fallback if the function fails.

    The failure of an op would end the whole graph, with the other files of the batch; the failure of a dataset can be
    ignored.
    """
    results = tf.data.Dataset.from_tensors(value).map(function).ignore_errors()
    # `reduce` with the fallback as its initial value would do the same, and would take half as long again as decoding.
    return results.concatenate(tf.data.Dataset.from_tensors(fallback)).take(1).get_single_element()
