"""Frame headers against FFmpeg (PyAV) and libsndfile."""

import io
from pathlib import Path

import av
import pytest
import soundfile
from support.audio import count_frames, music, without_length_tag, write_mp3

from pipeline.mp3 import frames as mp3_frames


def ffmpeg_stream(data: bytes) -> tuple[int, int, int]:
    """Rate, channels and number of samples that FFmpeg decodes."""
    with av.open(io.BytesIO(data), format="mp3") as container:
        frames = list(container.decode(audio=0))
    return frames[0].sample_rate, frames[0].layout.nb_channels, sum(frame.samples for frame in frames)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("variable", [False, True])
def test_count_equals_what_ffmpeg_decodes(tmp_path: Path, rate_hz: int, channels: int, variable: bool):
    path = write_mp3(tmp_path / "a.mp3", music(1.5, rate_hz, channels), rate_hz, variable)
    data = without_length_tag(path.read_bytes())
    offset, header = mp3_frames.find_frame(data, 0)
    samples = count_frames(data, offset, header) * header.samples
    assert (header.sample_rate_hz, header.channels, samples) == ffmpeg_stream(data)


def test_junk_between_frames_is_skipped_and_a_cut_frame_is_not_counted(tmp_path: Path):
    data = without_length_tag(write_mp3(tmp_path / "a.mp3", music(1, 44100), 44100).read_bytes())
    offset, header = mp3_frames.find_frame(data, 0)
    count = count_frames(data, offset, header)
    second = offset + header.frame_bytes
    assert count_frames(data[:second] + b"\xff\x00junk" * 50 + data[second:], offset, header) == count
    assert count_frames(data[:-1], offset, header) == count - 1


def test_info_frame_states_the_length(tmp_path: Path):
    for rate_hz, channels in ((44100, 2), (44100, 1), (22050, 1), (8000, 2)):
        path = write_mp3(tmp_path / "a.mp3", music(2, rate_hz, channels), rate_hz, variable=True)
        data = without_length_tag(path.read_bytes())
        offset, header = mp3_frames.find_frame(data, 0)
        count = count_frames(data, offset, header)
        with soundfile.SoundFile(io.BytesIO(mp3_frames.info_frame(header, count) + data[offset:])) as sound:
            # libmpg123 cuts the decoder's delay of 529 samples from a stream with such a frame.
            assert sound.frames == len(sound.read()) == count * header.samples - 529
            assert (sound.samplerate, sound.channels) == (rate_hz, channels)


def test_several_id3_tags_and_their_syncsafe_sizes():
    tag = b"ID3\x04\x00\x00" + bytes((0, 0, 1, 2)) + b"\xff" * 130
    assert mp3_frames.skip_id3v2(tag + tag + b"\xff\xfb") == 280
    assert mp3_frames.skip_id3v2(b"ID3") == 0
    assert mp3_frames.skip_id3v2(b"") == 0


def test_no_frame_in_noise(rng):
    for size in (0, 1, 3, 4, 5000):
        assert mp3_frames.find_frame(bytes(rng.integers(0, 255, size, dtype="uint8")), 0) is None
    assert mp3_frames.parse_header(b"\xff\xfb\xff\x00") is None  # bit rate index 15 is forbidden
