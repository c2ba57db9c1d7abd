"""The fixed part of the fuzzing: a few inputs of every target, and one of each kind that ever failed."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from fuzz import mp3_seeds
from fuzz.checked_numba import ENVIRONMENT
from fuzz.mp3_mutations import made_stream, syncsafe
from fuzz.registry import TARGETS
from fuzz.runner import run
from fuzz.target import input_rng
from support.places import ROOT
from support.tensorflow_io import needs_tensorflow_io

from pipeline.mp3 import frames as mp3_frames

pytestmark = pytest.mark.slow

INPUTS = {
    "mp3_headers": 1000,
    "mp3_header_ops": 150,
    "decode_soundfile": 150,
    "decode_tfio": 60,
    "native": 1000,
    "native_differential": 150,
    "net": 0,
}


_MARKS = {
    "decode_tfio": [needs_tensorflow_io],
}


def stream(frames: int = 12, bit_rate_index: int = 4) -> bytes:
    """Silent frames, 48 kHz stereo."""
    head = bytes((0xFF, 0xFB, bit_rate_index << 4 | 1 << 2, 0x00))
    header = mp3_frames.parse_header(head)
    assert header is not None
    return (head + bytes(header.frame_bytes - 4)) * frames


def tagged(tag: bytes, fields: bytes, gapless: bytes = b"") -> bytes:
    """A stream behind a Xing or Info frame with these fields."""
    audio = stream()
    header = mp3_frames.parse_header(audio)
    assert header is not None
    frame = bytearray(stream(1, 9))
    place = 4 + header.side_info_bytes
    content = tag + fields
    if gapless:
        content = content.ljust(len(tag + fields) + 21, b"\0") + gapless
    frame[place : place + len(content)] = content
    return bytes(frame) + audio


MOST = b"\xff" * 4
MP3S = {
    "frames stated as 2^32 - 1": tagged(b"Xing", b"\0\0\0\1" + MOST),
    "frames stated as 2^31": tagged(b"Info", b"\0\0\0\1\x80\0\0\0"),
    "ten hours": tagged(b"Info", b"\0\0\0\1\0\x15\x06\x40"),
    "table of places beyond the file": tagged(b"Xing", b"\0\0\0\7\0\0\0\x0c" + MOST + b"\xff" * 100),
    "table of negative places": tagged(b"Xing", b"\0\0\0\7" + MOST + b"\x80\0\0\0" + b"\xff" * 100),
    "longer delay than audio": tagged(b"Xing", b"\0\0\0\1\0\0\0\3", b"\xff\xff\xff"),
    "no frames stated": tagged(b"Xing", b"\0\0\0\1\0\0\0\0"),
    "headers every four bytes": b"\xff\xf3\x14\x00" * 2000,
    "empty tags, more than a graph skips": (b"ID3\4\0\0" + syncsafe(0)) * 100 + stream(),
    "a tag of 256 MiB": b"ID3\4\0\0" + syncsafe((1 << 28) - 1) + stream(),
    "eight tags of 256 MiB": (b"ID3\4\0\0" + syncsafe((1 << 28) - 1)) * 8 + stream(),
    "free format": b"\xff\xfb\x04\x00" * 500,
    "the next header cut short": stream(1) + stream(1)[:3],
    "made": made_stream(random.Random(3)),
}
WITHOUT_FRAMES = ("free format", "a tag of 256 MiB", "eight tags of 256 MiB", "the next header cut short")
TRACKS = b",artist,artist,album,set,set,track,track\n,id,name,title,split,subset,genres_all,title\n"
TABLES = {
    "fma_tracks": {
        "a blank line for the index row": TRACKS + b"\n2,1,A,B,training,small,[12],T\n",
        "no column of ids": TRACKS.replace(b"\n,id", b"\nid")[1:] + b"1,A,B,training,small,[12],T\n",
        "lists nested too deeply": TRACKS + b"2,1,A,B,training,small," + b"[" * 100_000 + b",T\n",
        "an id beyond 64 bits": TRACKS + b"9" * 30 + b",1,A,B,training,small,[12],T\n",
        "an unknown split": TRACKS + b"2,1,A,B,holdout,small,[12],T\n",
        "only a header": TRACKS,
    },
    "fma_genres": {
        "an id beyond 64 bits": b"genre_id,parent,title\n" + b"9" * 30 + b",0,Rock\n",
        "a genre that is its own parent": b"genre_id,parent,title\n12,12,Rock\n21,12,\n",
    },
    "csv_table": {
        "a field more in every row": b"path,label\nx,a.mp3,Rock\n",
        "a NUL in a path": b"path,label\na.mp3\0.txt,Rock\n",
        "a long field": b"path,label\n" + b"a" * 200_000 + b",Rock\n",
        "every row another split": b"path,label,split\n" + b"".join(b"a,b,s%d\n" % i for i in range(3000)),
    },
    "folder_metadata": {"a column twice": b"path,artist,artist\nRock/0.mp3,A,B\n"},
}


@pytest.fixture(scope="module", autouse=True)
def own_seeds():
    """The same inputs wherever the tests run: none that are made of the shared files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mp3_seeds, "odd_mp3s", list)
        yield


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=_MARKS.get(name, [])) for name, target in TARGETS.items() if target.inputs],
)
def test_target(tmp_path: Path, name: str):
    if TARGETS[name].environment:  # in a process that is started with it
        report = run(name, INPUTS[name], 0, tmp_path, hang_seconds=60)
        assert not report.failures and report.tried == INPUTS[name] and len(report.outcomes) >= 5
        return
    prepared = TARGETS[name].prepare(tmp_path)
    for known in (TABLES.get(name) or MP3S).values():
        prepared.check(known)
    endings = Counter(prepared.check(prepared.make(input_rng(name, 0, index))) for index in range(INPUTS.get(name, 60)))
    assert len(endings) >= 2, "inputs that all end alike try little"


def test_known_inputs_are_what_they_are_for():
    for name, data in MP3S.items():
        found = mp3_frames.find_frame(data, mp3_frames.skip_id3v2(data))
        assert (found is None) == (name in WITHOUT_FRAMES), name


def test_the_net_holds(tmp_path: Path):
    report = run("net", 7, seed=123, failures_dir=tmp_path / "failures", workers=1, hang_seconds=3.0)
    made = [TARGETS["net"].prepare(tmp_path).make(input_rng("net", 123, index)).decode() for index in range(7)]
    assert set(made) == {"fine", "exception", "crash", "hang", "memory", "allocation"}
    expected = {
        "exception": ("exception", "on purpose"),
        "allocation": ("exception", "Unable to allocate"),
        "crash": ("crash", "killed by SIGSEGV"),
        "hang": ("hang", "no answer within 3 s"),
        "memory": ("memory", "MiB more for one input"),
    }
    assert report.tried == 7 and report.outcomes["fine"] == made.count("fine")
    failed = [index for index in range(7) if made[index] != "fine"]
    assert [failure.index for failure in report.failures] == failed
    for failure in report.failures:
        kind, detail = expected[made[failure.index]]
        assert failure.kind == kind and detail in failure.detail
        assert failure.file.read_bytes().decode() == made[failure.index]
        assert detail in failure.file.with_suffix(".txt").read_text()


_INDICES = """
from fuzz.checked_numba import check_every_index
check_every_index()
import numba, numpy as np

@numba.njit
def one(array, index):
    return array[index]

@numba.njit
def cell(array, row, column):
    array[row, column] = 1

@numba.njit
def piece(array, begin, end):
    return array[begin:end].sum()

flat, table = np.ones(5), np.ones((3, 4))
for kernel, *places in [
    (one, flat, 0), (one, flat, 4), (one, flat, 5), (one, flat, -1), (one, flat, -9),
    (cell, table, 2, 3), (cell, table, 2, 4), (cell, table, 3, 0), (cell, table, -1, 0), (cell, table, 0, -1),
    (piece, flat, 1, 5), (piece, flat, -1, 5), (piece, flat, 0, -1),
]:
    try:
        kernel(*places)
        print(end="fine ")
    except IndexError:
        print(end="error ")
"""


def test_every_index_is_checked():
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "-c", _INDICES], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    expected = "fine fine error error error fine error error error error fine error error"
    assert done.stdout.split() == expected.split()
