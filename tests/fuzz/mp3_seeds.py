"""Good and odd MP3s to damage."""

import functools
import itertools
import tempfile
from pathlib import Path

import numpy as np
from support.audio import music, write_mp3
from support.places import SHARED_DATA

from pipeline.mp3 import frames as mp3_frames

_RATES_HZ = (44100, 48000, 32000, 22050, 24000, 16000, 11025, 8000)
_MAX_ODD_BYTES = 100_000


@functools.cache
def encoded_mp3s() -> list[bytes]:
    """Of every kind of rate, one channel and two, constant and variable; 0.7 s each."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for i, rate_hz in enumerate(_RATES_HZ):
            for channels in (1, 2):
                audio = music(0.7, rate_hz, channels, seed=i) * np.linspace(0, 1, round(0.7 * rate_hz))[:, np.newaxis]
                path = write_mp3(Path(folder) / "seed.mp3", audio, rate_hz, variable=(i + channels) % 2 == 0)
                made.append(path.read_bytes())
    return made


@functools.cache
def odd_mp3s() -> list[bytes]:
    """The small ones among the shared odd files; none where they are absent."""
    files = sorted((SHARED_DATA / "odd_mp3").glob("*/*.mp3"))
    return [file.read_bytes() for file in files if 0 < file.stat().st_size <= _MAX_ODD_BYTES]


def all_mp3s() -> list[bytes]:
    return encoded_mp3s() + odd_mp3s()


@functools.cache
def written_mp3s() -> list[bytes]:
    """Streams of what encoders seldom write: mixed blocks, other blocks in each channel, checksums, intensity stereo, any table."""
    from support.layer3_writer import JOINT, MONO, RATES_HZ, STEREO, Frame, write_stream
    from support.native_streams import BLOCKS, TABLES, largest_values, random_part

    rng, made = np.random.default_rng(17), []
    for rate_hz in RATES_HZ:
        for mode, extension, has_crc in ((STEREO, 0, False), (JOINT, 2, True), (JOINT, 3, False), (MONO, 0, True)):
            frames = []
            for _ in range(24):
                parts = []
                for _ in range(2 if mode == MONO else 4):
                    block, mixed = BLOCKS[int(rng.integers(len(BLOCKS)))]
                    part = random_part(rng, pairs=50, small=40, block_type=block, mixed=mixed)
                    part.scalefac_compress = int(rng.integers(16))
                    part.scalefac_scale, part.preflag, part.count1_table = (int(bit) for bit in rng.integers(0, 2, 3))
                    part.subblock_gain = tuple(int(gain) for gain in rng.integers(0, 8, 3)) if block else (0, 0, 0)
                    if rng.random() < 0.3:
                        part.tables = (int(rng.choice(TABLES)),) * 3
                        part.values, part.pairs, part.global_gain = largest_values(part.tables[0], 20, rng), 20, 150
                    parts.append(part)
                halves = [parts[: len(parts) // 2], parts[len(parts) // 2 :]]
                frames.append(Frame(halves, mode, extension, 256, has_crc))
            made.append(write_stream(frames, rate_hz))
    return made


def mpeg1_mp3s() -> list[bytes]:
    """Those that the native decoder may decode."""
    files = []
    for data in [*all_mp3s(), *written_mp3s()]:
        found = mp3_frames.find_frame(data, mp3_frames.skip_id3v2(data))
        if found is not None and found[1].version_bits == 3 and found[1].layer == 3:
            files.append(data)
    return files


def mpeg1_streams() -> list[bytes]:
    """Their frames of audio alone, at most 20 of each."""
    streams = []
    for data in mpeg1_mp3s():
        found = mp3_frames.find_frame(data, mp3_frames.skip_id3v2(data))
        assert found is not None
        offset, header = found
        places = list(itertools.islice(mp3_frames.walk(data, offset, header), 22))
        first = int(mp3_frames.has_length_tag(data, offset, header))
        if len(places) > first + 1:
            streams.append(data[places[first] : places[-1]])
    return streams
