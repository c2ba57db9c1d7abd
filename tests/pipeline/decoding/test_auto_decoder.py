"""The default decoder against libsndfile and soxr: the same places, lengths, samples and failures, whichever way a crop goes."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import music, without_length_tag, write_mp3
from support.layer3_writer import JOINT, MONO, STEREO, Frame, Part, write_stream
from support.native_streams import decode_natively, random_part
from support.places import shared

from pipeline.decoding import auto_decoder, soundfile_decoder
from pipeline.decoding.auto_decoder import decode_batch, decode_crop, describe_route, find_route
from pipeline.decoding.decoder import DecodeError
from pipeline.mp3 import frames as mp3_frames

TOLERANCE = 4e-6  # of full scale, or of the loudest sample: libmpg123's own rounding is of that size
SNR_DB = 90  # below 0.9 of half the target rate
PLACES = (0.0, 1.0, 0.123, 0.5003, 0.77)


def noisy_music(seconds: float, rate_hz: int, channels: int, seed: int) -> np.ndarray:
    """Music with sound at every frequency, and a pause."""
    audio = music(seconds, rate_hz, channels, seed)
    audio += 0.1 * np.random.default_rng(seed).standard_normal(audio.shape).astype(np.float32)
    audio[len(audio) // 2 : len(audio) // 2 + rate_hz // 5] = 0
    return audio * 0.6


@pytest.fixture(scope="module")
def mp3s(tmp_path_factory) -> list[Path]:
    """Of every rate of MPEG-1, one channel and two, constant and variable, with a length tag and without."""
    folder, made = tmp_path_factory.mktemp("mp3s"), []
    for number, (rate_hz, channels) in enumerate(
        [(44100, 2), (44100, 1), (48000, 2), (32000, 2), (48000, 1), (32000, 1)]
    ):
        for variable in (False, True):
            audio = noisy_music(2.3, rate_hz, channels, number)
            path = folder / f"{rate_hz}_{channels}_{variable}.mp3"
            made.append(write_mp3(path, audio, rate_hz, variable, quality=(0.1, 0.5, 0.9)[number % 3]))
            if number < 2:
                untagged = folder / f"untagged_{path.name}"
                untagged.write_bytes(without_length_tag(path.read_bytes()))
                made.append(untagged)
    return made


def error_in_passband(difference: np.ndarray) -> np.ndarray:
    """The difference below 0.9 of half the rate."""
    spectrum = np.fft.rfft(difference, 2 * len(difference) + 4096)
    frequency = np.linspace(0, 1, len(spectrum))
    return np.fft.irfft(spectrum * np.clip((0.9 - frequency) / 0.03, 0, 1))[: len(difference)]


def assert_same(found: np.ndarray, expected: np.ndarray, is_half_rate: bool) -> None:
    assert found.shape == expected.shape and found.dtype == np.float32
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    if not is_half_rate:
        np.testing.assert_allclose(found, expected, rtol=0, atol=2 * TOLERANCE * scale)
        return
    error, power = error_in_passband(found - expected), np.mean(expected.astype(float) ** 2)
    assert np.mean(error**2) <= power * 10 ** (-SNR_DB / 10) + 1e-12
    edge = min(200, len(error))
    for part in (error[:edge], error[-edge:]):
        assert np.mean(part**2) <= max(power, 1e-3) * 10 ** (-SNR_DB / 10) + 1e-12


@pytest.mark.parametrize("rate_hz", [16000, 22050, 24000, 32000, 44100, 48000])
def test_same_crops(mp3s: list[Path], rate_hz: int):
    for path in mp3s:
        assert find_route(path) == "native"
        is_half_rate = soundfile_decoder.read_info(path).sample_rate_hz == 2 * rate_hz
        for samples in (0, rate_hz, 777, 4 * rate_hz):
            for place in PLACES if 0 < samples < 2 * rate_hz else (0.0, 0.6):
                found = decode_crop(path, rate_hz, samples, place)
                assert_same(found, soundfile_decoder.decode_crop(path, rate_hz, samples, place), is_half_rate)


@pytest.mark.skipif(shutil.which("shineenc") is None, reason="the encoder shine is not installed")
@pytest.mark.parametrize(
    "options", [("-b", "64", "-m"), ("-b", "128"), ("-b", "192", "-j"), ("-b", "320", "-d")], ids="_".join
)
@pytest.mark.parametrize("rate_hz", [44100, 48000, 22050])
def test_another_encoder(tmp_path: Path, rate_hz: int, options: tuple[str, ...]):
    """Shine has no psychoacoustic model, low-pass filter or length tag."""
    options = ("-b", str(min(int(options[1]), 160 if rate_hz < 32000 else 320)), *options[2:])
    soundfile.write(tmp_path / "a.wav", music(2, rate_hz, 2), rate_hz, subtype="PCM_16")
    path = tmp_path / "a.mp3"
    subprocess.run(["shineenc", "-q", *options, tmp_path / "a.wav", path], check=True)
    assert find_route(path) == "native"
    for target_hz in (rate_hz, rate_hz // 2):
        for samples, place in ((0, 0.0), (target_hz, 0.3), (target_hz, 1.0)):
            expected = soundfile_decoder.decode_crop(path, target_hz, samples, place)
            assert_same(decode_crop(path, target_hz, samples, place), expected, target_hz != rate_hz)


@pytest.mark.parametrize("rate_hz", [22050, 44100])
def test_crops_at_every_offset(mp3s: list[Path], rate_hz: int):
    """Where a frame, a granule or a slot begins, one sample before and behind, even and odd."""
    path = mp3s[0]
    info = soundfile_decoder.read_info(path)
    samples = 3000 * rate_hz // 44100
    wanted = samples * info.sample_rate_hz // rate_hz
    for edge in (0, 47, 1105, 1152 * 3 - 1105, 1152 * 7 + 576 - 1105, 40000, info.samples - wanted - 1):
        for start in {max(edge + shift, 0) for shift in (-1, 0, 1, 2, 31, 33)}:
            place = min(start / (info.samples - wanted), 1.0)
            found = decode_crop(path, rate_hz, samples, place)
            assert_same(found, soundfile_decoder.decode_crop(path, rate_hz, samples, place), rate_hz == 22050)


def test_a_batch_of_everything(mp3s: list[Path], tmp_path: Path):
    soundfile.write(tmp_path / "a.flac", music(2, 44100, 2), 44100)
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "noise.mp3").write_bytes(np.random.default_rng(0).bytes(5000))
    cut = tmp_path / "cut.mp3"
    cut.write_bytes(mp3s[0].read_bytes()[:9000])
    mpeg2 = write_mp3(tmp_path / "mpeg2.mp3", music(2, 22050, 1), 22050)
    paths = [mp3s[0], tmp_path / "a.flac", mp3s[8], tmp_path / "empty.mp3", mpeg2, tmp_path / "noise.mp3", cut, mp3s[5],
             tmp_path / "absent.mp3", mp3s[0]]  # fmt: skip
    for samples in (11025, 0):
        positions = [0.1 * number for number in range(len(paths))]
        batch, errors = decode_batch([str(path) for path in paths], 22050, samples, positions)
        longest = 0
        for row, error, path, position in zip(batch, errors, paths, positions, strict=True):
            try:
                expected = soundfile_decoder.decode_crop(path, 22050, samples, position)
            except DecodeError as expected_error:
                assert isinstance(error, DecodeError) and str(error) == str(expected_error) and not row.any()
                continue
            assert error is None and not row[len(expected) :].any()
            longest = max(longest, len(expected))
            is_half = soundfile_decoder.read_info(path).sample_rate_hz == 44100 and path.suffix == ".mp3"
            assert_same(row[: len(expected)], expected, is_half)
        assert batch.shape == (len(paths), samples or longest)
    assert [error is None for error in errors] == [True, True, True, False, True, False, False, True, False, True]


def test_bits_of_a_crop_depend_on_nothing_else(mp3s: list[Path], rng):
    paths = [str(mp3s[int(number)]) for number in rng.integers(0, len(mp3s), 40)]
    positions = [round(float(place), 1) for place in rng.random(40)]
    for rate_hz, samples in ((22050, 8000), (44100, 3000), (16000, 500)):
        together, _ = decode_batch(paths, rate_hz, samples, positions)
        backwards, _ = decode_batch(paths[::-1], rate_hz, samples, positions[::-1])
        np.testing.assert_array_equal(together, backwards[::-1])
        for row, path, position in list(zip(together, paths, positions, strict=True))[:10]:
            np.testing.assert_array_equal(row, decode_crop(path, rate_hz, samples, position))


def test_a_clip_is_left_to_libsndfile_for_any_of_its_pieces(mp3s: list[Path], tmp_path: Path, monkeypatch):
    from pipeline.decoding import native_decoder

    monkeypatch.setattr(native_decoder, "_MAX_PIECE_SAMPLES", 2000)
    data, path = bytearray(mp3s[0].read_bytes()), tmp_path / "a.mp3"
    offset, header = mp3_frames.find_frame(bytes(data), 0)
    if mp3_frames.has_length_tag(bytes(data), offset, header):
        offset += header.frame_bytes
    places = list(mp3_frames.walk(bytes(data), offset, mp3_frames.parse_header(bytes(data), offset)))
    stereo = header.channels == 2
    for number in (6, 7):  # big_values of the first granule, 9 bits, beyond 288
        bit = 8 * (places[number] + 4) + (9 + 3 + 8 if stereo else 9 + 5 + 4) + 12
        for place in range(bit, bit + 9):
            data[place >> 3] |= 0x80 >> (place & 7)
    path.write_bytes(data)
    assert "pieces: side information" in describe_route(path)
    for rate_hz in (header.sample_rate_hz, header.sample_rate_hz // 2):
        np.testing.assert_array_equal(decode_crop(path, rate_hz, 0), soundfile_decoder.decode_crop(path, rate_hz, 0))


@pytest.mark.parametrize(
    "piece",
    [
        2000,  # whose last one has 200 samples
        2001,
        1729,  # whose last one would be shorter than the filter
    ],
)
def test_long_clips_are_decoded_piece_by_piece(tmp_path: Path, monkeypatch, piece: int):
    from pipeline.decoding import native_decoder

    path = write_mp3(tmp_path / "a.mp3", noisy_music(4, 44100, 2, 1), 44100)
    whole = {rate_hz: decode_crop(path, rate_hz, 0) for rate_hz in (22050, 44100)}
    monkeypatch.setattr(native_decoder, "_MAX_PIECE_SAMPLES", piece)
    monkeypatch.setattr(native_decoder, "_MAX_BYTES_OF_A_CALL", 20_000)
    for rate_hz, expected in whole.items():
        np.testing.assert_allclose(decode_crop(path, rate_hz, 0), expected, rtol=0, atol=1e-6)
        assert_same(decode_crop(path, rate_hz, 0), soundfile_decoder.decode_crop(path, rate_hz, 0), rate_hz == 22050)


def test_routes(mp3s: list[Path], tmp_path: Path):
    soundfile.write(tmp_path / "a.flac", music(1, 44100), 44100)
    write_mp3(tmp_path / "mpeg2.mp3", music(1, 22050), 22050)
    data, other = mp3s[0].read_bytes(), mp3s[2].read_bytes()
    (tmp_path / "joined.mp3").write_bytes(data + other)
    bare = without_length_tag(data)
    header = mp3_frames.parse_header(bare)
    places = list(mp3_frames.walk(bare, 0, header))
    (tmp_path / "gap.mp3").write_bytes(bare[: places[9]] + b"junk" * 9 + bare[places[9] :])
    vbri = bytearray(data)
    offset, first = mp3_frames.find_frame(data, 0)
    vbri[offset + 4 : offset + first.frame_bytes] = bytes(first.frame_bytes - 4)
    vbri[offset + 36 : offset + 40] = b"VBRI"
    (tmp_path / "vbri.mp3").write_bytes(vbri)
    expected = {
        mp3s[0]: "native",
        tmp_path / "a.flac": "FLAC file",
        tmp_path / "mpeg2.mp3": "native",
        tmp_path / "joined.mp3": "joined files",
        tmp_path / "gap.mp3": "damaged stream",
        tmp_path / "vbri.mp3": "MP3 without an index",
    }
    for path, reason in expected.items():
        assert find_route(path).startswith(reason), path
        whole = soundfile_decoder.decode_crop(path, 22050, 0)
        assert_same(decode_crop(path, 22050, 0), whole, reason == "native")
    with pytest.raises(DecodeError, match="file not found"):
        find_route(tmp_path / "absent.mp3")


def test_a_changed_file_is_looked_at_again(mp3s: list[Path], tmp_path: Path):
    path = Path(shutil.copy(mp3s[0], tmp_path / "a.mp3"))
    assert find_route(path) == "native" and decode_crop(path, 22050, 100).any()
    soundfile.write(tmp_path / "b.flac", np.zeros((44100, 1)), 44100)
    shutil.copy(tmp_path / "b.flac", path)
    assert find_route(path) == "FLAC file" and not decode_crop(path, 22050, 100).any()


def outcome(decode, path: Path, *crop) -> np.ndarray | str:
    try:
        return decode(path, *crop)
    except DecodeError as error:
        return str(error)


def assert_same_outcome(path: Path, *crop) -> None:
    found, expected = outcome(decode_crop, path, *crop), outcome(soundfile_decoder.decode_crop, path, *crop)
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
    else:
        assert_same(found, expected, False)


@pytest.mark.parametrize("damage", ["truncated", "zeros", "header", "side information", "main data", "gap", "repeated"])
def test_damaged_streams(mp3s: list[Path], tmp_path: Path, damage: str, rng):
    data = mp3s[1 if damage in ("gap", "repeated") else 0].read_bytes()
    offset, header = mp3_frames.find_frame(data, 0)
    places = list(mp3_frames.walk(data, offset, header))
    for number in range(6):
        changed = bytearray(data)
        place = places[int(rng.integers(5, len(places) - 3))]
        if damage == "truncated":
            del changed[place + 50 :]
        elif damage == "zeros":
            changed[place:] = bytes(len(changed) - place)
        elif damage == "gap":
            changed[place:place] = rng.bytes(100 * number + 1)
        elif damage == "repeated":
            changed[place:place] = data[place : places[places.index(place) + 1]]
        elif damage == "header":
            changed[place + 1 + int(rng.integers(2))] ^= 1 << int(rng.integers(8))
        else:
            # Not main_data_begin: see the test of that.
            first, size = {"side information": (6, 30), "main data": (36, 150)}[damage]
            for _ in range(3):
                changed[place + first + int(rng.integers(size))] ^= 1 << int(rng.integers(8))
        path = tmp_path / f"{number}.mp3"
        path.write_bytes(changed)
        for crop in ((44100, 0), (44100, 5000, 0.0), (44100, 5000, 0.4), (44100, 5000, 1.0)):
            assert_same_outcome(path, *crop)


def frames_of(rng: np.random.Generator, count: int, **fields) -> list[Frame]:
    """Frames whose bits begin in earlier ones."""
    parts = [[[random_part(rng, pairs=90, small=20)] for _ in range(2)] for _ in range(count)]
    return [Frame(part, MONO, 0, 112, **fields) for part in parts]


def test_a_stream_whose_first_frames_lack_their_bits(tmp_path: Path, rng):
    """As a clip that was cut out of a stream begins: those frames are silence."""
    data = write_stream(frames_of(rng, 30), 44100)
    places = list(mp3_frames.walk(data, 0, mp3_frames.parse_header(data)))
    path = tmp_path / "a.mp3"
    for first in (1, 5, 12, 20):
        path.write_bytes(data[places[first] :])
        assert find_route(path) == "native"
        for crop in ((44100, 0), (44100, 2000, 0.0), (44100, 2000, 0.3), (44100, 2000, 1.0)):
            assert_same_outcome(path, *crop)


def test_the_same_with_checksums(tmp_path: Path, rng):
    data = write_stream(frames_of(rng, 30, has_crc=True), 44100)
    places = list(mp3_frames.walk(data, 0, mp3_frames.parse_header(data)))
    path = tmp_path / "a.mp3"
    for first in range(1, 26):
        path.write_bytes(data[places[first] :])
        assert_same_outcome(path, 44100, 0)


def test_bits_that_begin_before_those_of_the_frame_before(tmp_path: Path, rng):
    """One frame without bits says that they begin at once; the next one's begin far back, as the encoder wrote them."""
    frames = frames_of(rng, 30)
    frames[20] = Frame([[Part()], [Part()]], MONO, 0, 32)
    data = bytearray(write_stream(frames, 44100))
    places = list(mp3_frames.walk(bytes(data), 0, mp3_frames.parse_header(bytes(data))))
    side = places[20] + 4
    distance, following = (data[at] << 1 | data[at + 1] >> 7 for at in (side, places[21] + 4))
    assert distance > 100 and following > 32 * 144 // 44 - 21
    path = tmp_path / "a.mp3"
    path.write_bytes(data)
    assert_same_outcome(path, 44100, 0)
    data[side], data[side + 1] = 0, data[side + 1] & 0x7F  # main_data_begin
    path.write_bytes(data)
    for crop in ((44100, 0), (44100, 2000, 0.7)):
        assert_same_outcome(path, *crop)


_FREE_FORMAT = b"\xff\xfb\x00\xc0" + bytes(100)


@pytest.mark.parametrize("junk", [_FREE_FORMAT * 4, b"ID3\xff\0\0\0\0\x08\0" + _FREE_FORMAT * 4], ids=["junk", "tag"])
def test_junk_before_the_first_frame(mp3s: list[Path], tmp_path: Path, junk: bytes):
    data, path = without_length_tag(mp3s[0].read_bytes()), tmp_path / "a.mp3"
    path.write_bytes(junk + data)
    assert_same_outcome(path, 44100, 0)


def test_zeros_before_the_first_frame(mp3s: list[Path], tmp_path: Path):
    path = tmp_path / "a.mp3"
    path.write_bytes(bytes(500) + without_length_tag(mp3s[0].read_bytes()))
    for crop in ((44100, 0), (44100, 2000, 0.0), (44100, 2000, 0.7)):
        assert_same_outcome(path, *crop)


def test_modes_that_change_within_a_stream(tmp_path: Path, rng):
    frames = [
        Frame([[random_part(rng), random_part(rng)] for _ in range(2)], mode, extension)
        for mode, extension in ((STEREO, 0), (JOINT, 2), (JOINT, 0), (2, 0)) * 5
    ]
    path = tmp_path / "a.mp3"
    path.write_bytes(write_stream(frames, 44100))
    for samples, place in ((0, 0.0), (3000, 0.0), (3000, 0.41), (3000, 1.0)):
        assert_same_outcome(path, 44100, samples, place)
        assert_same(
            decode_crop(path, 22050, samples, place), soundfile_decoder.decode_crop(path, 22050, samples, place), True
        )


def test_intensity_stereo_where_it_is(tmp_path: Path, rng):
    """Crops without such frames are native, those with them libsndfile's, bit for bit."""
    parts = [[[random_part(rng), random_part(rng, pairs=10)] for _ in range(2)] for _ in range(40)]
    frames = [Frame(part, JOINT, 1 if number >= 30 else 0) for number, part in enumerate(parts)]
    path = tmp_path / "a.mp3"
    path.write_bytes(write_stream(frames, 44100))
    _, reasons = decode_natively(path, 44100, 3000, (0.0, 0.5, 1.0))
    assert reasons == ["", "", "intensity stereo"]
    for place in (0.0, 0.5, 1.0):
        assert_same_outcome(path, 44100, 3000, place)
    np.testing.assert_array_equal(decode_crop(path, 22050, 0), soundfile_decoder.decode_crop(path, 22050, 0))


def test_samples_that_are_no_sound(tmp_path: Path, rng):
    frames = [Frame([[random_part(rng, global_gain=255)] for _ in range(2)], MONO) for _ in range(10)]
    path = tmp_path / "a.mp3"
    path.write_bytes(write_stream(frames, 44100))
    for crop in ((44100, 0), (22050, 0), (22050, 500, 0.5), (16000, 500, 0.5)):
        found, expected = outcome(decode_crop, path, *crop), outcome(soundfile_decoder.decode_crop, path, *crop)
        assert isinstance(found, str) == isinstance(expected, str)
        assert not isinstance(found, str) or found == expected


def test_the_module_offers_what_soundfile_does():
    for name in auto_decoder.__all__:
        assert callable(getattr(auto_decoder, name))


@pytest.mark.parametrize("folder", ["fma_small", "odd_mp3", "real_music"])
def test_real_clips(folder: str, rng):
    paths = sorted(shared(folder).glob("**/*.mp3"))
    paths = [path for path in paths if path.stat().st_size < 400_000 or folder != "odd_mp3"]
    if folder != "odd_mp3":
        paths = [paths[int(number)] for number in rng.choice(len(paths), min(8, len(paths)), replace=False)]
    routes = []
    for path in paths:
        try:
            info = soundfile_decoder.read_info(path)
        except DecodeError as error:
            with pytest.raises(DecodeError) as ours:
                decode_crop(path, 22050, 22050)
            assert str(ours.value) == str(error)
            continue
        routes.append(find_route(path))
        for rate_hz in (info.sample_rate_hz, 22050):
            for place in (0.0, float(rng.random()), 1.0):
                crop = (rate_hz, 2 * rate_hz, place)
                found = outcome(decode_crop, path, *crop)
                expected = outcome(soundfile_decoder.decode_crop, path, *crop)
                if isinstance(found, str) or isinstance(expected, str):
                    assert found == expected
                else:
                    assert_same(found, expected, info.sample_rate_hz == 2 * rate_hz)
    assert routes.count("native") >= 2
