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


def mpeg1_mp3s() -> list[bytes]:
    """Those that the native decoder may decode."""
    files = []
    for data in all_mp3s():
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
