"""Files that were joined, and headers that state no length or a false one, against FFmpeg and against what was joined."""

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from support.audio import music, without_length_tag, write_mp3

from pipeline.decoding.soundfile_decoder import (
    DecodeError,
    count_windows,
    decode_blocks,
    decode_crop,
    decode_crops,
    find_remark,
    read_info,
)

SECONDS = 6


def ffmpeg_decode(data: bytes) -> np.ndarray:
    """All of a file's samples, mono float32 [samples], as FFmpeg decodes it."""
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="fltp")
        frames = [out.to_ndarray() for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate(frames, axis=1).mean(axis=0)


class Pipe(io.RawIOBase):
    """A file to write to that cannot be sought, as the standard output of a command."""

    def __init__(self):
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        self.data += bytes(data)
        return len(data)


def encode_to_pipe(audio: np.ndarray, rate_hz: int, container: str, codec: str) -> bytes:
    """What `ffmpeg -i a.wav -f CONTAINER -` prints of mono [samples, 1]."""
    pipe = Pipe()
    with av.open(pipe, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio.T, np.float32), format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        size = stream.codec_context.frame_size or None
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate_hz, frame_size=size)
        for piece in (*resampler.resample(frame), *resampler.resample(None), None):
            output.mux(stream.encode(piece))
    return pipe.data


def check_crops(path: Path, whole: np.ndarray, rate_hz: int) -> None:
    """Windows, blocks and single crops are the same bits as the whole clip."""
    count = count_windows(path, 2)
    assert count == -(-len(whole) // (2 * rate_hz))
    positions = [np.float32(i) / np.float32(max(count - 1, 1)) for i in range(count)]
    for window, position in zip(decode_crops(path, rate_hz, 2 * rate_hz, positions), positions, strict=True):
        start = round(float(position) * (len(whole) - 2 * rate_hz))
        np.testing.assert_array_equal(window, whole[start : start + 2 * rate_hz])
        np.testing.assert_array_equal(window, decode_crop(path, rate_hz, 2 * rate_hz, position))
    np.testing.assert_allclose(np.concatenate(list(decode_blocks(path, 50_000))), whole, atol=1e-6)


@pytest.mark.parametrize("channels", [(2, 2), (2, 1), (1, 2), (1, 1), (2, 1, 2)])
@pytest.mark.parametrize("tag", ["tagged", "no length", "no length at first", "variable"])
def test_joined_mp3s_are_one_clip(tmp_path: Path, channels: tuple[int, ...], tag: str):
    parts = []
    for number, count in enumerate(channels):
        audio = music(SECONDS, 44100, count, seed=number)
        part = write_mp3(tmp_path / f"{number}.mp3", audio, 44100, variable=tag == "variable").read_bytes()
        bare = tag == "no length" or (tag == "no length at first" and number == 0)
        parts.append(without_length_tag(part) if bare else part)
    path = tmp_path / "joined.mp3"
    path.write_bytes(b"".join(parts))
    whole = decode_crop(path, 44100, 0)
    assert len(whole) == read_info(path).samples and find_remark(path) == ""
    # Each part, as FFmpeg decodes it alone, stands behind the one before, with at most a tenth of a second of padding.
    end = 0
    for part in parts:
        middle = ffmpeg_decode(part)[44100 : 5 * 44100]
        after = whole[end + 40_000 : end + 50_000]
        begin = end + 40_000 + int(np.argmax(np.correlate(after, middle[:2000])))
        np.testing.assert_allclose(whole[begin : begin + len(middle)], middle, atol=2e-5)
        end = begin + (SECONDS - 1) * 44100
    assert 0 <= len(whole) - len(parts) * SECONDS * 44100 < len(parts) * 0.1 * 44100
    check_crops(path, whole, 44100)


def test_tags_between_joined_mp3s(tmp_path: Path):
    """An ID3v1 tag, an APE tag and an ID3v2 tag with a large picture stand where one ends and the next begins."""
    part = write_mp3(tmp_path / "a.mp3", music(SECONDS, 44100, 2), 44100).read_bytes()
    plain, tagged = tmp_path / "plain.mp3", tmp_path / "tagged.mp3"
    plain.write_bytes(part + part)
    size = 300_000
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 32 + 900, 1, 0xA0000000) + bytes(8) + b"\xff" * 900 + bytes(32)
    id3 = b"ID3\x03\x00\x00" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + b"\xff\xfb" * (size // 2)
    tagged.write_bytes(part + b"TAG".ljust(128, b"\xff") + ape + id3 + part)
    np.testing.assert_array_equal(decode_crop(tagged, 44100, 0), decode_crop(plain, 44100, 0))


@pytest.mark.parametrize("second", [(48000, 2), (22050, 2), (32000, 1)])
def test_another_rate_ends_an_mp3_with_a_remark(tmp_path: Path, second: tuple[int, int]):
    first = write_mp3(tmp_path / "a.mp3", music(SECONDS, 44100, 2), 44100)
    other = write_mp3(tmp_path / "b.mp3", music(SECONDS, *second), second[0]).read_bytes()
    path = tmp_path / "joined.mp3"
    path.write_bytes(first.read_bytes() + other + first.read_bytes())
    np.testing.assert_array_equal(decode_crop(path, 44100, 0), decode_crop(first, 44100, 0))
    # Both that follow are not used, though the last has the first one's rate again.
    assert float(find_remark(path).split(" s ")[0]) == pytest.approx(2 * SECONDS, abs=0.2)
    assert "6.00 s" in find_remark(path) and find_remark(first) == ""


def test_a_damaged_frame_header_is_no_other_stream(tmp_path: Path):
    path = write_mp3(tmp_path / "a.mp3", music(SECONDS, 44100, 2), 44100, variable=True)
    data = bytearray(path.read_bytes())
    places = [i for i in range(2000, len(data) - 4) if data[i] == 0xFF and data[i + 1] == 0xFB][::20]
    for place in places:
        data[place + 3] |= 0xC0  # says mono
    path.write_bytes(data)
    assert read_info(path).samples == SECONDS * 44100 and find_remark(path) == ""


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("same", [False, True])
def test_chained_ogg_files_are_one_clip(tmp_path: Path, subtype: str, same: bool):
    """Of two streams, and of one twice, whose serial numbers are equal."""
    parts = []
    for number in range(2):
        part = tmp_path / f"{number * (not same)}.ogg"
        soundfile.write(part, music(SECONDS, 48000, 2, seed=number * (not same)), 48000, format="OGG", subtype=subtype)
        parts.append(part)
    path = tmp_path / "chained.ogg"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    whole = decode_crop(path, 48000, 0)
    np.testing.assert_array_equal(whole, np.concatenate([decode_crop(part, 48000, 0) for part in parts]))
    assert len(ffmpeg_decode(path.read_bytes())) == pytest.approx(len(whole), abs=1000)
    assert len(decode_crop(path, 48000, 2 * 48000, 0.5)) == 2 * 48000 and count_windows(path, 2) == SECONDS


def test_another_rate_or_damage_ends_an_ogg_with_a_remark(tmp_path: Path):
    first, other, path = tmp_path / "a.ogg", tmp_path / "b.ogg", tmp_path / "joined.ogg"
    soundfile.write(first, music(SECONDS, 44100, 2), 44100)
    soundfile.write(other, music(SECONDS, 48000, 2), 48000)
    path.write_bytes(first.read_bytes() + other.read_bytes())
    assert read_info(path).duration_seconds == SECONDS and "6.00 s follow after 6.00 s" in find_remark(path)
    damaged = other.read_bytes()
    path.write_bytes(first.read_bytes() + damaged[:100] + bytes(2000) + damaged[2100:])
    assert read_info(path).duration_seconds == SECONDS and "1 more joined files follow" in find_remark(path)


@pytest.mark.parametrize("lengths", [(6, 6), (6, 6, 6, 6, 6), (5, 7)])
def test_joined_flac_files_are_one_clip(tmp_path: Path, lengths: tuple[int, ...]):
    parts = []
    for number, seconds in enumerate(lengths):
        soundfile.write(tmp_path / f"{number}.flac", music(seconds, 44100, 2, seed=number), 44100)
        parts.append(tmp_path / f"{number}.flac")
        assert read_info(parts[-1]).duration_seconds == seconds  # alone it is not looked at twice
    path = tmp_path / "joined.flac"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    whole = decode_crop(path, 44100, 0)
    np.testing.assert_array_equal(whole, np.concatenate([decode_crop(part, 44100, 0) for part in parts]))
    check_crops(path, whole, 44100)


def test_flac_without_a_length(tmp_path: Path):
    audio = music(12, 22050, 1)
    path = tmp_path / "pipe.flac"
    path.write_bytes(encode_to_pipe(audio, 22050, "flac", "flac"))
    assert soundfile.info(path).frames > 1 << 60  # what libsndfile believes
    whole = decode_crop(path, 22050, 0)
    assert read_info(path).samples == len(whole) == 264_600
    np.testing.assert_allclose(whole, ffmpeg_decode(path.read_bytes()), atol=1e-6)
    check_crops(path, whole, 22050)


@pytest.mark.parametrize(
    "container, codec", [("wav", "pcm_s16le"), ("au", "pcm_s16be"), ("w64", "pcm_s16le"), ("mp3", "libmp3lame")]
)
def test_headers_that_a_pipe_leaves_unfinished(tmp_path: Path, container: str, codec: str):
    path = tmp_path / f"pipe.{container}"
    path.write_bytes(encode_to_pipe(music(12, 22050, 1), 22050, container, codec))
    assert read_info(path).duration_seconds == pytest.approx(12, abs=0.1)
    check_crops(path, decode_crop(path, 22050, 0), 22050)


def test_a_flac_header_that_promises_hours(tmp_path: Path):
    path = tmp_path / "a.flac"
    soundfile.write(path, music(SECONDS, 44100, 1), 44100)
    data = bytearray(path.read_bytes())
    data[21:26] = bytes((data[21] | 0x0F,)) + b"\xff" * 4  # the 36 bits of their number
    path.write_bytes(data)
    with pytest.raises(DecodeError, match=r"promises 1558\d{3}\.\d\d s, and its last frame ends after 6\.00 s"):
        read_info(path)
    assert count_windows(path, 5) == 1


def test_silence_that_hardly_takes_bytes(tmp_path: Path):
    """Half an hour of it is no lie of the header."""
    path = tmp_path / "silence.flac"
    soundfile.write(path, np.zeros(1800 * 8000, np.int16), 8000)
    assert path.stat().st_size * 8 < 1800 * 8000
    assert read_info(path).duration_seconds == 1800 and not decode_crop(path, 8000, 16_000, 1.0).any()


@pytest.mark.parametrize("sample", [1e29, -1e29, 1e20, np.inf, -np.inf, np.nan])
def test_a_sample_that_is_no_sound(tmp_path: Path, sample: float):
    audio = music(SECONDS, 22050, 1)[:, 0].astype(np.float32)
    audio[50_000] = sample
    path = tmp_path / "a.wav"
    soundfile.write(path, audio, 22050, subtype="FLOAT")
    with pytest.raises(DecodeError, match="no sound"):
        decode_crop(path, 22050, 22050, 0.4)
    errors = [
        crop for crop in decode_crops(path, 22050, 22050, [i / 5 for i in range(6)]) if isinstance(crop, DecodeError)
    ]
    assert len(errors) == 1  # the other windows are sound


def test_integers_that_were_saved_as_they_are(tmp_path: Path):
    path = tmp_path / "a.wav"
    soundfile.write(path, (music(1, 22050, 1) * 2**31).astype(np.float32), 22050, subtype="FLOAT")
    assert np.abs(decode_crop(path, 22050, 0)).max() > 1e8


@pytest.mark.parametrize(
    "data", [b"OggS", b"OggS" + bytes(100), b"OggS" * 500, b"fLaC\0\0\0\x22" + bytes(34), b"fLaC\0\0\0\x22" * 9]
)
def test_what_only_begins_like_a_container(tmp_path: Path, data: bytes):
    path = tmp_path / "a.ogg"
    path.write_bytes(data)
    with pytest.raises(DecodeError):
        read_info(path)


def test_a_flac_header_that_states_too_little(tmp_path: Path):
    path = tmp_path / "a.flac"
    audio = music(SECONDS, 44100, 1)
    soundfile.write(path, audio, 44100)
    data = bytearray(path.read_bytes())
    data[21:26] = bytes((data[21] & 0xF0,)) + (100_000).to_bytes(4, "big")
    path.write_bytes(data)
    assert read_info(path).samples == SECONDS * 44100
    np.testing.assert_allclose(decode_crop(path, 44100, 0), audio[:, 0], atol=1e-4)


@pytest.mark.parametrize("second", [(44100, 1, "PCM_16"), (44100, 2, "PCM_24"), (22050, 2, "PCM_16")])
def test_joined_flac_files_of_two_kinds(tmp_path: Path, second: tuple[int, int, str]):
    rate_hz, channels, subtype = second
    first, other, path = tmp_path / "a.flac", tmp_path / "b.flac", tmp_path / "joined.flac"
    soundfile.write(first, music(SECONDS, 44100, 2), 44100)
    soundfile.write(other, music(SECONDS, rate_hz, channels, seed=1), rate_hz, subtype=subtype)
    path.write_bytes(first.read_bytes() + other.read_bytes())
    if rate_hz == 44100:
        whole = np.concatenate([decode_crop(part, 44100, 0) for part in (first, other)])
        np.testing.assert_array_equal(decode_crop(path, 44100, 0), whole)
    else:
        np.testing.assert_array_equal(decode_crop(path, 44100, 0), decode_crop(first, 44100, 0))
        assert "6.00 s follow after 6.00 s" in find_remark(path)


@pytest.mark.parametrize("count", [12, 50])
def test_many_equal_flac_files(tmp_path: Path, count: int):
    part, path = tmp_path / "a.flac", tmp_path / "joined.flac"
    soundfile.write(part, music(SECONDS, 22050, 1), 22050)
    path.write_bytes(part.read_bytes() * count)
    assert read_info(path).duration_seconds == count * SECONDS


def test_layer_two_says_what_is_not_read(tmp_path: Path):
    with av.open(str(tmp_path / "a.mp2"), "w") as output:
        stream = output.add_stream("mp2", rate=44100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 4 * 44100), np.int16), format="s16p", layout="stereo")
        frame.sample_rate = 44100
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=44100, frame_size=1152)
        for piece in (*resampler.resample(frame), *resampler.resample(None), None):
            output.mux(stream.encode(piece))
    second = write_mp3(tmp_path / "b.mp3", music(SECONDS, 44100, 2), 44100).read_bytes()
    path = tmp_path / "joined.mp3"
    path.write_bytes((tmp_path / "a.mp2").read_bytes() + second)
    assert float(find_remark(path).split(" s ")[0]) == pytest.approx(SECONDS, abs=0.2)
    assert find_remark(tmp_path / "a.mp2") == ""


def test_junk_before_joined_mp3s(tmp_path: Path):
    part = write_mp3(tmp_path / "a.mp3", music(SECONDS, 44100, 2), 44100).read_bytes()
    path = tmp_path / "joined.mp3"
    path.write_bytes(bytes(30_000) + part + part)
    assert read_info(path).duration_seconds == pytest.approx(2 * SECONDS, abs=0.1)


@pytest.mark.parametrize("rate_hz", [1, 7, 999])
def test_a_sample_rate_that_no_music_has(tmp_path: Path, rate_hz: int):
    soundfile.write(tmp_path / "a.wav", music(1, 8000, 1), rate_hz)
    with pytest.raises(DecodeError, match=f"a sample rate of {rate_hz} Hz"):
        read_info(tmp_path / "a.wav")


@pytest.mark.parametrize("flags", [0, 0x0E])
def test_a_tag_without_a_number_of_frames_is_remarked(tmp_path: Path, flags: int):
    """libsndfile takes the first frame's bit rate for that of the file, whose second half is quiet."""
    audio = music(2 * SECONDS, 44100, 2)
    audio[SECONDS * 44100 :] *= 0.001
    path = write_mp3(tmp_path / "a.mp3", audio, 44100, variable=True)
    data = bytearray(path.read_bytes())
    at = data.index(b"Xing")
    data[at + 7] = flags
    path.write_bytes(data)
    used = read_info(path).duration_seconds
    assert used < 2 * SECONDS - 0.2
    assert float(find_remark(path).split(" s ")[0]) == pytest.approx(2 * SECONDS - used, abs=0.2)
