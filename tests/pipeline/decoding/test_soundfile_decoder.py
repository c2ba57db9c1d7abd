"""Crops against soundfile, FFmpeg (PyAV) and scipy, and every way in which a file can be bad."""

import csv
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.signal
import soundfile
from support.audio import count_frames, music, without_length_tag, write_mp3
from support.places import shared

from pipeline.decoding.soundfile_decoder import DecodeError, decode_blocks, decode_crop, read_info
from pipeline.mp3 import frames as mp3_frames

RATE_HZ = 22050


def mean_of_channels(path: Path) -> tuple[np.ndarray, int]:
    audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return audio.mean(axis=1), rate_hz


def ffmpeg_decode(path: Path) -> np.ndarray:
    """Mono float [samples] by FFmpeg's own MP3 decoder."""
    with av.open(str(path)) as container:
        blocks = [frame.to_ndarray().reshape(-1, frame.samples) for frame in container.decode(audio=0)]
    return np.concatenate(blocks, axis=1).mean(axis=0)


@pytest.mark.parametrize("position", [0.0, 0.37, 1.0])
def test_crop_is_the_slice_that_soundfile_reads(clips, position):
    for path in clips:
        whole, rate_hz = mean_of_channels(path)
        crop = decode_crop(path, rate_hz, rate_hz, position)  # one second at the file's own rate
        start = round(position * (len(whole) - rate_hz))
        np.testing.assert_allclose(crop, whole[start : start + rate_hz], atol=1e-6)


def test_decoded_like_ffmpeg(clips):
    for path in clips:
        ours, theirs = np.concatenate(list(decode_blocks(path))), ffmpeg_decode(path)
        assert abs(len(ours) - len(theirs)) <= 1152
        size = min(len(ours), len(theirs))
        np.testing.assert_allclose(ours[:size], theirs[:size], atol=2e-4)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 32000, 44100, 48000])
def test_resampled_like_scipy(tmp_path: Path, rate_hz: int):
    # In the passband of both rates; scipy's polyphase filter is an implementation of its own.
    audio = music(2, rate_hz)[:, 0] * 0 + np.sin(2 * np.pi * 440 * np.arange(2 * rate_hz) / rate_hz).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", audio, rate_hz, subtype="FLOAT")
    ours = decode_crop(tmp_path / "a.wav", RATE_HZ, 2 * RATE_HZ)
    theirs = scipy.signal.resample_poly(audio, RATE_HZ, rate_hz)
    inner = slice(500, -500)  # the filters differ in how they begin and end
    np.testing.assert_allclose(ours[inner], theirs[: 2 * RATE_HZ][inner], atol=2e-3)


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "PCM_U8"), ("wav", "DOUBLE"), ("flac", "PCM_16"), ("ogg", "VORBIS")],
)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_other_formats(tmp_path: Path, suffix: str, subtype: str, channels: int):
    audio = music(1, RATE_HZ, channels)
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, audio, RATE_HZ, subtype=subtype)
    tolerance = {"PCM_U8": 0.01, "VORBIS": 0.2}.get(subtype, 1e-4)
    np.testing.assert_allclose(decode_crop(path, RATE_HZ, 0), audio.mean(axis=1), atol=tolerance)


def test_short_clip_is_padded_with_zeros(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", music(0.5, RATE_HZ), RATE_HZ)
    crop = decode_crop(tmp_path / "a.wav", RATE_HZ, RATE_HZ, position=0.9)
    assert crop.shape == (RATE_HZ,) and crop.dtype == np.float32
    assert np.any(crop[: RATE_HZ // 2]) and not np.any(crop[RATE_HZ // 2 :])


def test_whole_clip(clips):
    for path in clips:
        whole, rate_hz = mean_of_channels(path)
        assert len(decode_crop(path, rate_hz, 0)) == len(whole)
        assert abs(len(decode_crop(path, RATE_HZ, 0)) - len(whole) * RATE_HZ / rate_hz) <= 1


def test_variable_rate_without_length_tag_is_decoded_to_its_end(tmp_path: Path):
    # libsndfile alone extrapolates the first frame's bit rate. Silence first: it believes in far too long a file;
    # noise first: it loses most of the file without a word.
    noise, silence = music(4, 44100, 2) * 2, np.zeros((4 * 44100, 2), np.float32)
    for name, audio in (("long", [silence, noise]), ("short", [noise, silence])):
        path = write_mp3(tmp_path / f"{name}.mp3", np.concatenate(audio), 44100, variable=True)
        path.write_bytes(without_length_tag(path.read_bytes()))
        exact = len(ffmpeg_decode(path))
        assert abs(soundfile.info(path).frames - exact) > 44100, "not the case that this test is for"
        assert read_info(path).samples in (exact, exact - 529)
        assert sum(len(block) for block in decode_blocks(path)) in (exact, exact - 529)
        last = decode_crop(path, 44100, 44100, position=1.0)
        np.testing.assert_allclose(last, ffmpeg_decode(path)[exact - 44100 :], atol=2e-4)


def test_bad_files_are_named_by_reason(tmp_path: Path, clips):
    good = clips[1].read_bytes()
    (tmp_path / "empty.mp3").write_bytes(b"")
    (tmp_path / "text.mp3").write_bytes(b"<html>404 not found</html>" * 200)
    (tmp_path / "tag.mp3").write_bytes(b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128))
    (tmp_path / "cut.mp3").write_bytes(good[: len(good) // 2])  # its Info frame promises twice as much
    (tmp_path / "folder.mp3").mkdir()
    soundfile.write(tmp_path / "nan.wav", np.full(1000, np.nan, np.float32), RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(0, np.float32), RATE_HZ)
    for name, reason in {
        "missing.mp3": "file not found",
        "empty.mp3": "empty file",
        "text.mp3": "not recognised|not decodable|no audio",
        "tag.mp3": "not recognised|not decodable|no audio",
        "cut.mp3": "truncated: no audio after",
        "folder.mp3": "not recognised|not decodable|cannot be read",
        "nan.wav": "not finite",
        "silent.wav": "no audio",
    }.items():
        with pytest.raises(DecodeError, match=reason):
            decode_crop(tmp_path / name, RATE_HZ, 0)


def test_promise_of_a_frame_too_many_is_no_truncation_wherever_a_block_ends(tmp_path: Path, clips):
    # As ffmpeg cuts FMA's clips. The last block may then hold nothing but what is missing.
    data = without_length_tag(clips[1].read_bytes())
    _, header = mp3_frames.find_frame(data, 0)
    exact = count_frames(data, 0, header)
    path = tmp_path / "one_more.mp3"
    path.write_bytes(mp3_frames.info_frame(header, exact + 1) + data)
    promised = read_info(path).samples
    for block_samples in (promised - 100, promised - header.samples, 5000):
        assert sum(len(block) for block in decode_blocks(path, block_samples)) == promised


def test_more_promised_than_there_is(tmp_path: Path, clips):
    # What is asked for behind the end is a failure, not silence; for more than its bytes can hold see test_bad_worlds.
    data = without_length_tag(clips[1].read_bytes())
    _, header = mp3_frames.find_frame(data, 0)
    path = tmp_path / "longer.mp3"
    path.write_bytes(mp3_frames.info_frame(header, 30 * header.sample_rate_hz // header.samples) + data)
    with pytest.raises(DecodeError, match="truncated"):
        decode_crop(path, RATE_HZ, RATE_HZ, position=0.5)
    assert np.any(decode_crop(path, RATE_HZ, RATE_HZ, position=0.0))


# Of the files on which ffmpeg and mpg123 agree and which hold a second or more. Each is an error, not a wrong length.
ODD_EXCEPTIONS = {
    "libmp3-info-perl_1.26/test2.mp3": "libsndfile takes junk before the audio for a Layer I frame",
    "mutagen-1.48.1/apev2-lyricsv2.mp3": "its Xing frame promises 211 s where there are 1.9 s: called truncated",
}


def test_odd_files_agree_with_ffmpeg_and_mpg123():
    folder = shared("odd_mp3")
    compared, wrong = 0, set()
    with open(folder / "truth.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name, samples = row["file"], -1
            try:
                info = read_info(folder / name)
                samples = sum(len(block) for block in decode_blocks(folder / name))
                assert samples == info.samples or abs(samples - info.samples) < 0.1 * info.sample_rate_hz
            except DecodeError:
                pass
            if row["agree"] != "same" or not row["ffmpeg_samples"]:
                continue
            expected = [int(row[key]) for key in ("mpg123_samples", "ffmpeg_samples")]
            if min(expected) < int(row["ffmpeg_rate"]):
                continue
            compared += 1
            # ffmpeg and mpg123 themselves differ by a frame where one is cut or one holds only decoder delay.
            fits = min(expected) - 1152 <= samples <= max(expected) + 1152
            if not fits or (info.sample_rate_hz, info.channels) != (
                int(row["ffmpeg_rate"]),
                int(row["ffmpeg_channels"]),
            ):
                wrong.add(name)
    assert compared > 50
    assert wrong <= set(ODD_EXCEPTIONS)


def test_real_fma_clip_decodes_like_ffmpeg():
    path = shared("fma_small") / "000" / "000002.mp3"
    ours, theirs = decode_crop(path, 44100, 0), ffmpeg_decode(path)
    size = min(len(ours), len(theirs))
    assert size > 29.9 * 44100
    np.testing.assert_allclose(ours[5000:size], theirs[5000:size], atol=2e-4)  # the start lacks its bit reservoir


def test_no_real_clip_loses_audio():
    files = sorted(shared("real_music").glob("fma_small/*/*.mp3"))
    for path in files[::9] + [path for path in files if path.stem in ("002724", "075620", "094205", "029379")]:
        assert abs(read_info(path).samples - len(ffmpeg_decode(path))) <= 1152, path
