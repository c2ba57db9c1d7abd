"""Decoding in a graph against libsndfile and against the Python frame parser."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import music, shared, write_mp3
from test_mp3_frames import without_length_tag

from pipeline import mp3_frames, mp3_graph
from pipeline.decode import decode_crop, read_info
from pipeline.mp3_header_ops import read_stream

BYTES = [tf.TensorSpec([], tf.string)]
decode = tf.function(mp3_graph.decode_mp3, input_signature=BYTES, autograph=False)
find = tf.function(read_stream, input_signature=BYTES, autograph=False)


def assert_decodes_as_libsndfile_does(path: Path):
    waveform, sample_rate_hz, error = decode(path.read_bytes())
    assert error == b""
    assert sample_rate_hz == read_info(path).sample_rate_hz
    expected = decode_crop(path, int(sample_rate_hz), 0)
    assert len(waveform) == len(expected)
    np.testing.assert_allclose(waveform, expected, atol=2e-4)  # minimp3 has 16 bits


def python_first_frame(data: bytes) -> tuple[int, int] | None:
    found = mp3_frames.find_frame(data, mp3_frames.skip_id3v2(data))
    if found is None:
        return None
    offset, header = found
    length_tag = header.frame_bytes if mp3_frames.has_length_tag(data, offset, header) else 0
    return min(offset + length_tag, len(data)), header.sample_rate_hz


def graph_first_frame(data: bytes) -> tuple[int, int] | None:
    frame = find(data)
    return (int(frame.offset), int(frame.sample_rate_hz)) if frame.found else None


@pytest.mark.parametrize("rate_hz", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("variable", [False, True])
def test_every_rate_and_mode(tmp_path: Path, rate_hz: int, channels: int, variable: bool):
    path = write_mp3(tmp_path / "a.mp3", music(1.5, rate_hz, channels), rate_hz, variable)
    assert_decodes_as_libsndfile_does(path)
    # Without an Info frame nothing is known of the encoder's delay, and nothing is cut.
    bare = without_length_tag(path.read_bytes())
    waveform, _, error = decode(bare)
    offset, header = mp3_frames.find_frame(bare, 0)
    assert error == b"" and len(waveform) == mp3_frames.count_frames(bare, offset, header) * header.samples


def id3v2(size: int, footer: bool = False) -> bytes:
    syncsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00" + (b"\x10" if footer else b"\x00") + syncsafe + bytes(size) + b"3DI-------" * footer


def test_tags_and_junk_before_the_stream(tmp_path: Path):
    plain = write_mp3(tmp_path / "a.mp3", music(1, 44100, 2), 44100)
    expected, _, _ = decode(plain.read_bytes())
    for before in (
        id3v2(100),
        id3v2(300_000),
        id3v2(50) + id3v2(70, footer=True),
        b"junk" * 500,
        id3v2(9) + bytes(999),
    ):
        data = before + plain.read_bytes()
        assert graph_first_frame(data) == python_first_frame(data) is not None
        waveform, _, error = decode(data)
        assert error == b""
        np.testing.assert_array_equal(waveform, expected)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"ID3", "no MPEG audio frame"),
        (b"\xff", "no MPEG audio frame"),
        (id3v2(100), "no MPEG audio frame"),
        (id3v2(100)[:50], "no MPEG audio frame"),
        (b"not an mp3 at all" * 1000, "no MPEG audio frame"),
        (bytes(200_000), "no MPEG audio frame"),
    ],
)
def test_what_is_no_mp3_is_an_answer_not_a_failure(data: bytes, message: str):
    waveform, _, error = decode(data)
    assert message in error.numpy().decode() and len(waveform) == 0


def test_a_truncated_stream_says_so(tmp_path: Path):
    data = write_mp3(tmp_path / "a.mp3", music(4, 44100), 44100).read_bytes()
    _, _, error = decode(data[: len(data) // 2])
    assert error.numpy().decode().startswith("truncated: ")


def test_a_clip_cut_from_a_longer_mp3():
    """The kind of file that tensorflow-io refuses by itself."""
    path = shared("fma_small") / "000" / "000002.mp3"
    with pytest.raises(tf.errors.InvalidArgumentError):
        mp3_graph.load_ops().io_audio_decode_mp3(path.read_bytes(), shape=tf.constant([-1, -1], tf.int64))
    waveform, sample_rate_hz, _ = decode(path.read_bytes())
    expected = decode_crop(path, int(sample_rate_hz), 0)
    assert len(waveform) == len(expected)
    # Its first frames refer to what was cut away, and every decoder has its own way with those.
    np.testing.assert_allclose(waveform[5000:], expected[5000:], atol=2e-4)


def test_real_music():
    for path in sorted(shared("real_music").glob("fma_small/0[0-2]*/*.mp3"))[:12]:
        waveform, sample_rate_hz, error = decode(path.read_bytes())
        expected = decode_crop(path, int(sample_rate_hz), 0)
        # Where libsndfile must be shown an Info frame that the file lacks, it cuts the decoder's delay.
        assert error == b"" and len(waveform) - len(expected) in (0, 529)
        assert np.corrcoef(waveform[len(waveform) - len(expected) :], expected)[0, 1] > 0.99999


def test_odd_files_are_parsed_as_in_python_and_never_fail():
    files = sorted(shared("odd_mp3").glob("**/*.mp3"))
    assert len(files) > 200
    for path in files:
        data = path.read_bytes()
        assert graph_first_frame(data) == python_first_frame(data), path
        waveform, _, error = decode(data)
        assert (len(waveform) > 0) == (error == b""), path
