"""Decoding in a graph against libsndfile and against the Python frame parser."""

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf
from support.audio import count_frames, music, without_length_tag, write_mp3
from support.places import shared
from support.tensorflow_io import HAS_TENSORFLOW_IO, needs_tensorflow_io

from pipeline.dataset import eval_dataset, train_dataset
from pipeline.decoding import tfio_decoder
from pipeline.decoding.soundfile_decoder import decode_crop, read_info
from pipeline.failures import FailureLedger
from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3.header_ops import read_stream

pytestmark = [pytest.mark.slow, needs_tensorflow_io]

BYTES = [tf.TensorSpec([], tf.string)]
decode = HAS_TENSORFLOW_IO and tf.function(tfio_decoder.decode_mp3, input_signature=BYTES, autograph=False)
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
    assert error == b"" and len(waveform) == count_frames(bare, offset, header) * header.samples


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
        tfio_decoder.load_ops().io_audio_decode_mp3(path.read_bytes(), shape=tf.constant([-1, -1], tf.int64))
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


CROP = 2 * 22050
decode_crop_graph = tf.function(
    lambda path, position: tfio_decoder.decode_crop(path, 22050, CROP, position),
    input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([])],
    autograph=False,
)


def alignment(ours: np.ndarray, reference: np.ndarray, within: int) -> tuple[int, float]:
    """By how many samples ours is late, and the correlation there."""
    inner = reference[within:-within]
    products = scipy.signal.correlate(ours, inner, mode="valid", method="fft")
    energies = np.cumsum(np.pad(np.square(ours, dtype=np.float64), (1, 0)))
    energies = energies[len(inner) :] - energies[: -len(inner)]
    lag = int(np.argmax(products / np.sqrt(energies + 1e-9))) - within
    return lag, np.corrcoef(ours[within + lag : within + lag + len(inner)], inner)[0, 1]


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize(
    ("rate_hz", "channels", "quality"), [(44100, 2, 0.1), (44100, 1, 0.9), (48000, 2, 0.5), (16000, 1, 0.5)]
)
def test_crops_are_where_libsndfile_has_them(
    tmp_path: Path, rate_hz: int, channels: int, quality: float, variable: bool
):
    path = write_mp3(tmp_path / "a.mp3", music(9, rate_hz, channels), rate_hz, variable, quality)
    for position in (0.0, 0.13, 0.5, 0.87, 1.0):
        waveform, error = decode_crop_graph(str(path), position)
        assert error == b"" and waveform.shape == (CROP,)
        expected = decode_crop(path, 22050, CROP, position)
        lag, correlation = alignment(waveform.numpy(), expected, 11025)
        # Less than 1 where the lag is not a whole number of samples at this rate.
        assert abs(lag) <= (0.5 if variable else 0.1) * 22050 and correlation > (0.99 if variable else 0.999)
        if not variable or position == 0:
            assert abs(lag) <= 1
            np.testing.assert_allclose(waveform[100:-100], expected[100:-100], atol=5e-3)


@pytest.mark.parametrize("variable", [False, True])
def test_crops_of_a_stream_that_does_not_state_its_length(tmp_path: Path, variable: bool):
    path = write_mp3(tmp_path / "a.mp3", music(9, 44100), 44100, variable)
    path.write_bytes(without_length_tag(path.read_bytes()))
    for position in (0.0, 0.4, 1.0):
        waveform, error = decode_crop_graph(str(path), position)
        assert error == b""
        lag, correlation = alignment(waveform.numpy(), decode_crop(path, 22050, CROP, position), 11025)
        assert abs(lag) <= (0.5 if variable else 0.1) * 22050 and correlation > (0.99 if variable else 0.999)


def test_crops_of_short_and_broken_files(tmp_path: Path):
    short = write_mp3(tmp_path / "short.mp3", music(0.7, 44100), 44100)
    waveform, error = decode_crop_graph(str(short), 0.6)
    assert error == b""
    np.testing.assert_allclose(waveform, decode_crop(short, 22050, CROP, 0.6), atol=5e-3)
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "junk.mp3").write_bytes(b"junk" * 1000)
    whole = write_mp3(tmp_path / "cut.mp3", music(9, 44100), 44100)
    whole.write_bytes(whole.read_bytes()[:30000])
    for name, message in {
        "gone.mp3": "empty file, or it cannot be read",
        "empty.mp3": "empty file",
        "junk.mp3": "not recognised as MP3",
        "cut.mp3": "truncated",
    }.items():
        waveform, error = decode_crop_graph(str(tmp_path / name), 0.9)
        assert message in error.numpy().decode() or (name == "cut.mp3" and b"not decodable" in error.numpy())
        assert waveform.shape == (CROP,) and not np.any(waveform)


def test_a_crop_across_the_end_of_a_truncated_file_is_a_failure(tmp_path: Path):
    path = write_mp3(tmp_path / "a.mp3", music(9, 44100), 44100)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 5 // 9])  # 5 s of it
    for position, truncated in ((0.0, False), (0.3, False), (0.6, True), (0.65, True), (1.0, True)):
        waveform, error = decode_crop_graph(str(path), position)
        assert bool(error.numpy()) == truncated
        if not truncated:
            path.with_name("b.mp3").write_bytes(whole)
            expected = decode_crop(path.with_name("b.mp3"), 22050, CROP, position)
            np.testing.assert_allclose(waveform[100:-100], expected[100:-100], atol=5e-3)


def test_datasets_by_either_decoder(clips, tmp_path: Path):
    (tmp_path / "bad.mp3").write_bytes(b"bad")
    paths = [*map(str, clips), str(tmp_path / "bad.mp3")]

    def collect(decoder: str, **options) -> tuple[np.ndarray, np.ndarray, FailureLedger]:
        ledger = FailureLedger(len(paths), 0.5)
        batches = list(eval_dataset(paths, ledger, sample_rate_hz=16000, decoder=decoder, **options))
        return *(np.concatenate([batch[i] for batch in batches]) for i in range(2)), ledger

    ours, rows, ledger = collect("tfio", crop_seconds=1.0)
    reference, reference_rows, _ = collect("soundfile", crop_seconds=1.0)
    np.testing.assert_array_equal(rows, reference_rows)
    assert list(ledger.failures) == [paths[-1]]
    assert np.mean([np.corrcoef(a, b)[0, 1] > 0.99 for a, b in zip(ours, reference, strict=True)]) > 0.6
    whole = [batch[0].shape for batch in eval_dataset(paths, FailureLedger(13, 0.5), crop_seconds=0, decoder="tfio")]
    expected = [batch[0].shape for batch in eval_dataset(paths, FailureLedger(13, 0.5), crop_seconds=0)]
    assert whole == expected
    a, b = (
        list(train_dataset(paths, [0] * 13, FailureLedger(13, 0.5), crop_seconds=1, decoder="tfio", decode_workers=n))
        for n in (1, 4)
    )
    for (waveform, _), (again, _) in zip(a, b, strict=True):
        np.testing.assert_array_equal(waveform, again)
    with pytest.raises(ValueError, match="expected decoder to be one of auto, soundfile, tfio, received 'ffmpeg'"):
        eval_dataset(paths, ledger, decoder="ffmpeg")


def test_every_real_clip_decodes_at_any_place():
    paths = sorted(shared("real_music").glob("fma_small/*/*.mp3"))
    for i, path in enumerate([*paths, shared("fma_small") / "000" / "000002.mp3"]):
        for position in (0.0, (i % 10) / 10, 1.0):
            waveform, error = decode_crop_graph(str(path), position)
            assert error == b"", (path, position)
        expected = decode_crop(path, 22050, CROP, 1.0)
        if expected.std() > 0.02:
            lag, correlation = alignment(waveform.numpy(), expected, 11025)
            assert abs(lag) <= 0.5 * 22050 and correlation > 0.95, path


@pytest.mark.parametrize("second", [(44100, 2), (48000, 2), (44100, 1)])
def test_joined_files_are_refused(tmp_path: Path, second: tuple[int, int]):
    first = write_mp3(tmp_path / "a.mp3", music(2, 44100, 2), 44100).read_bytes()
    other = write_mp3(tmp_path / "b.mp3", music(2, *second), second[0]).read_bytes()
    assert "files were joined" in decode(first + other)[2].numpy().decode()
    assert "files were joined" in decode(first + id3v2(100_000) + other)[2].numpy().decode()
    # A picture in a tag at the end is no frame.
    noise = np.random.default_rng(0).integers(0, 256, 60_000, np.uint8).tobytes()
    assert "joined" not in decode(first + b"APETAGEX" + noise)[2].numpy().decode()
