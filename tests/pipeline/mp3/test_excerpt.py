"""Excerpts of MP3s against what libsndfile reads of the whole file."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import music, without_length_tag, write_mp3
from support.places import shared

from pipeline.decoding import soundfile_decoder
from pipeline.decoding.buffers import buffer_pool
from pipeline.decoding.soundfile_decoder import DecodeError, decode_crop
from pipeline.mp3 import excerpt as mp3_excerpt

SECONDS = 12


@pytest.fixture(scope="module", params=[(44100, 2), (44100, 1), (22050, 2), (16000, 1), (48000, 2), (8000, 1)])
def mp3(request, tmp_path_factory) -> Path:
    rate_hz, channels = request.param
    path = tmp_path_factory.mktemp("excerpt") / f"{rate_hz}_{channels}.mp3"
    return write_mp3(path, music(SECONDS, rate_hz, channels), rate_hz)


@pytest.fixture(scope="module", params=[(44100, 2), (22050, 1), (48000, 1), (16000, 2)])
def variable_mp3(request, tmp_path_factory) -> Path:
    """Of variable bit rate, with silence in the middle, where frames are smallest and the bit reservoir fills."""
    rate_hz, channels = request.param
    audio = music(SECONDS, rate_hz, channels)
    audio[4 * rate_hz : 7 * rate_hz] = 0
    path = tmp_path_factory.mktemp("excerpt") / f"{rate_hz}_{channels}.mp3"
    return write_mp3(path, audio, rate_hz, variable=True)


def read_cut(path: Path, start: int, samples: int) -> np.ndarray:
    """[samples, channels] by way of the excerpt."""
    pieces, first = mp3_excerpt.index_mp3(str(path)).cut(str(path), start, samples)
    with buffer_pool.borrow() as buffers, soundfile.SoundFile(buffers.file_of(pieces), closefd=False) as sound:
        return sound.read(start - first + samples, dtype="float32", always_2d=True)[start - first :]


def read_whole(path: Path) -> tuple[np.ndarray, int]:
    """[samples, channels] and their rate. `soundfile.read` would seek first, which moves libmpg123's last bits."""
    with soundfile.SoundFile(path) as sound:
        return sound.read(dtype="float32", always_2d=True), sound.samplerate


def check_cuts(path: Path) -> None:
    whole, rate_hz = read_whole(path)
    end = len(whole) - rate_hz
    for start in (0, 1, 575, 1152, 5000, end // 3, end // 2, 4 * rate_hz, 7 * rate_hz, end - rate_hz, end - 1, end):
        if start > end:
            continue
        np.testing.assert_array_equal(read_cut(path, start, rate_hz), whole[start : start + rate_hz])


def test_same_samples_wherever_it_is_cut(mp3: Path):
    check_cuts(mp3)


def test_same_samples_of_a_variable_rate(variable_mp3: Path):
    check_cuts(variable_mp3)
    indexed = mp3_excerpt.index_mp3(str(variable_mp3))
    rate_hz = indexed.header.sample_rate_hz
    pieces, first = indexed.cut(str(variable_mp3), 9 * rate_hz, rate_hz)
    assert rate_hz > 9 * rate_hz - first > 0 and sum(map(len, pieces)) < 0.4 * variable_mp3.stat().st_size


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize("quiet", ["first", "last"])
def test_same_samples_without_a_length_tag(tmp_path: Path, variable: bool, quiet: str, monkeypatch):
    """libsndfile reads some as they are, and some behind an Info frame that is made for them: where it guesses too short."""
    audio = music(SECONDS, 44100, 2)
    audio[: 4 * 44100] *= quiet == "last"
    audio[8 * 44100 :] *= quiet == "first"
    path = write_mp3(tmp_path / "a.mp3", audio, 44100, variable)
    path.write_bytes(without_length_tag(path.read_bytes()))
    whole = decode_crop(path, 44100, 0)
    assert len(whole) % 1152 == (1152 - 529 if variable and quiet == "last" else 0)
    excerpts = []
    read_excerpt = soundfile_decoder._read_excerpt
    monkeypatch.setattr(
        soundfile_decoder, "_read_excerpt", lambda *args: excerpts.append(read_excerpt(*args)) or excerpts[-1]
    )
    for start in (0, 528, 529, 1152, 3000, 4 * 44100, 4 * 44100 + 600, 7 * 44100, len(whole) - 44100):
        ours = decode_crop(path, 44100, 44100, start / (len(whole) - 44100))
        np.testing.assert_array_equal(ours, whole[start : start + 44100])
    assert sum(excerpt is None for excerpt in excerpts) <= 2  # at the very beginning


@pytest.mark.parametrize(("rate_hz", "channels"), [(16000, 2), (8000, 1), (24000, 1), (48000, 2)])
def test_same_samples_without_a_length_tag_at_any_rate(tmp_path: Path, rate_hz: int, channels: int, rng):
    """Below 32 kHz a frame has one granule; LAME's quality 0 then refers far back."""
    path = write_mp3(tmp_path / "a.mp3", music(8, rate_hz, channels), rate_hz, quality=0.0)
    path.write_bytes(without_length_tag(path.read_bytes()))
    assert not mp3_excerpt.index_mp3(str(path)).states_length
    whole = decode_crop(path, rate_hz, 0)
    for place in rng.random(40):
        start = round(place * (len(whole) - rate_hz))
        ours = decode_crop(path, rate_hz, rate_hz, place)
        np.testing.assert_array_equal(ours, whole[start : start + rate_hz])


def test_same_samples_at_the_end_of_the_index(tmp_path: Path):
    """Whatever is left of the last so many frames, of which one place is written down."""
    for frames in range(30, 49):
        audio = music(frames * 1152 / 44100, 44100, 1, seed=frames)
        path = write_mp3(tmp_path / f"{frames}.mp3", audio, 44100, variable=True)
        whole, _ = read_whole(path)
        for start in (0, 20 * 1152, len(whole) - 1000):
            np.testing.assert_array_equal(read_cut(path, start, 1000), whole[start : start + 1000])


def test_only_the_bytes_of_the_crop_are_cut(mp3: Path):
    indexed = mp3_excerpt.index_mp3(str(mp3))
    rate_hz = indexed.header.sample_rate_hz
    pieces, first = indexed.cut(str(mp3), SECONDS // 2 * rate_hz, rate_hz)
    assert 0 < SECONDS // 2 * rate_hz - first < 2 * rate_hz
    one_second = indexed.frames.mean_bytes * rate_hz / indexed.header.samples
    assert sum(map(len, pieces)) < 1.5 * one_second + 45 * indexed.header.frame_bytes < mp3.stat().st_size


def test_real_clips():
    kinds = []
    for path in sorted(shared("real_music").glob("**/*.mp3"))[::6]:
        indexed = mp3_excerpt.index_mp3(str(path))
        kinds.append((type(indexed.frames), indexed.states_length))
        rate_hz = indexed.header.sample_rate_hz
        whole = decode_crop(path, rate_hz, 0)
        for place in (0.0, 0.31, 0.93):
            start = round(place * (len(whole) - rate_hz))
            ours = decode_crop(path, rate_hz, rate_hz, place)
            np.testing.assert_array_equal(ours, whole[start : start + rate_hz])
    assert len(kinds) == 21 and len(set(kinds)) == 3


def test_files_that_it_leaves_to_libsndfile(tmp_path: Path, mp3: Path):
    variable = write_mp3(tmp_path / "variable.mp3", music(2, 44100, 2), 44100, variable=True)
    data = variable.read_bytes()
    soundfile.write(tmp_path / "a.wav", music(1, 44100, 1), 44100)
    (tmp_path / "VBRI.mp3").write_bytes(data[:36] + b"VBRI" + data[40:])
    (tmp_path / "empty.mp3").write_bytes(b"")
    for name in ("a.wav", "VBRI.mp3", "empty.mp3"):
        assert mp3_excerpt.index_mp3(str(tmp_path / name)) is None


def test_junk_and_a_cut_end_are_indexed(tmp_path: Path, mp3: Path):
    data = mp3.read_bytes()
    (tmp_path / "short.mp3").write_bytes(data[: len(data) // 2])  # its header promises more
    indexed, promised = mp3_excerpt.index_mp3(str(tmp_path / "short.mp3")), mp3_excerpt.index_mp3(str(mp3))
    assert 0.4 < indexed.frame_count / promised.frame_count < 0.55
    variable = write_mp3(tmp_path / "variable.mp3", music(8, 44100, 2), 44100, variable=True)
    data = variable.read_bytes()
    middle = int(mp3_excerpt.index_mp3(str(variable)).frames.offsets[5])
    junk = tmp_path / "junk.mp3"
    junk.write_bytes(data[:middle] + b"junk" * 20_000 + data[middle:])  # libmpg123 gives up after 64 KiB
    assert len(mp3_excerpt.index_mp3(str(junk)).frames.runs) == 2
    for place in (0.2, 0.25, 0.6):
        np.testing.assert_array_equal(
            decode_crop(junk, 44100, 44100, place), decode_crop(variable, 44100, 44100, place)
        )


def test_a_variable_rate_is_not_believed_to_be_constant(tmp_path: Path):
    # A tag that calls itself constant: its counts betray it.
    data = bytearray(
        write_mp3(tmp_path / "a.mp3", np.concatenate([music(3, 44100, 2) * 2, np.zeros((132300, 2))]), 44100, True)
        .read_bytes()
        .replace(b"Xing", b"Info", 1)
    )
    assert b"Info" in data
    (tmp_path / "a.mp3").write_bytes(data)
    assert isinstance(mp3_excerpt.index_mp3(str(tmp_path / "a.mp3")).frames, mp3_excerpt.IndexedFrames)
    check_cuts(tmp_path / "a.mp3")


def test_a_file_that_changes_under_our_hands(tmp_path: Path, mp3: Path):
    path, rate_hz = tmp_path / "a.mp3", soundfile.info(mp3).samplerate
    path.write_bytes(mp3.read_bytes())
    before = decode_crop(path, rate_hz, rate_hz, 0.5)
    indexed = mp3_excerpt.index_mp3(str(path))
    stat = path.stat()
    size = len(path.read_bytes())
    # The same size and time: only the frame that is missing at its place tells.
    path.write_bytes(path.read_bytes()[: size // 4] + bytes(size - size // 4))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert indexed.cut(str(path), 6 * rate_hz, rate_hz) is None
    with pytest.raises(DecodeError, match="truncated"):
        decode_crop(path, rate_hz, rate_hz, 0.5)
    # Another file in its place is seen by its version.
    other = write_mp3(tmp_path / "b.mp3", music(3, rate_hz, 1), rate_hz)
    os.replace(other, path)
    after = decode_crop(path, rate_hz, rate_hz, 0.5)
    assert np.any(after) and not np.array_equal(before, after)
    path.unlink()
    with pytest.raises(DecodeError, match="file not found"):
        decode_crop(path, rate_hz, rate_hz, 0.5)


def test_nothing_is_cut_behind_the_frames_that_are_counted(tmp_path: Path, mp3: Path):
    # Frames that the Info frame does not count, as where a stream was appended: a place beyond its end is one of theirs.
    path = tmp_path / "a.mp3"
    frames = mp3.read_bytes()[mp3_excerpt.index_mp3(str(mp3)).frames.offset :]
    path.write_bytes(mp3.read_bytes() + frames)
    indexed = mp3_excerpt.index_mp3(str(path))
    samples = indexed.frame_count * indexed.header.samples
    assert indexed.cut(str(path), samples - 1152, 1152) is not None
    assert indexed.cut(str(path), samples * 3 // 2, 1152) is None


def test_decoding_a_crop_looks_at_nothing_before_it(tmp_path: Path, mp3: Path):
    path, rate_hz = tmp_path / "a.mp3", soundfile.info(mp3).samplerate
    data, stat = mp3.read_bytes(), mp3.stat()
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    expected = decode_crop(path, rate_hz, rate_hz, 0.9)
    # What a walk over the frames would stumble on.
    quarter = len(data) // 4
    path.write_bytes(data[:quarter] + bytes(quarter) + data[2 * quarter :])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    np.testing.assert_array_equal(decode_crop(path, rate_hz, rate_hz, 0.9), expected)
    with soundfile.SoundFile(path) as sound, suppress(soundfile.LibsndfileError):
        sound.seek(round(0.9 * (sound.frames - rate_hz)))
        walked = sound.read(rate_hz, dtype="float32", always_2d=True).mean(axis=1)
        assert len(walked) != rate_hz or np.abs(walked - expected).max() > 0.01, "not a file that a walk stumbles on"


def test_tag_before_the_stream(tmp_path: Path, mp3: Path):
    # A picture, larger than what is read of a file's head at first.
    size = 100_000
    tag = b"ID3\x04\0\0" + bytes((size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127)) + bytes(size)
    (tmp_path / "a.mp3").write_bytes(tag + mp3.read_bytes())
    rate_hz = soundfile.info(mp3).samplerate
    assert mp3_excerpt.index_mp3(str(tmp_path / "a.mp3")).frames.offset == mp3_excerpt.index_mp3(
        str(mp3)
    ).frames.offset + len(tag)
    np.testing.assert_array_equal(
        decode_crop(tmp_path / "a.mp3", rate_hz, rate_hz, 0.6), decode_crop(mp3, rate_hz, rate_hz, 0.6)
    )


def test_buffers_are_not_shared_with_forked_processes(mp3: Path):
    rate_hz = soundfile.info(mp3).samplerate
    expected = decode_crop(mp3, rate_hz, rate_hz, 0.4)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:  # must not touch what the parent has open
        for _ in range(20):
            decode_crop(mp3, rate_hz, rate_hz, 0.9)
        os.write(write_end, b"x")
        os._exit(0)
    for _ in range(20):
        np.testing.assert_array_equal(decode_crop(mp3, rate_hz, rate_hz, 0.4), expected)
    assert os.read(read_end, 1) == b"x"
    assert os.waitpid(child, 0)[1] == 0
