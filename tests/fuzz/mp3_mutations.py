"""MP3s gone wrong: real headers and streams with the damage that files have, and that an attacker would choose."""

import random
import struct
from collections.abc import Callable

from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3.frames import FrameHeader

_COUNTS = (0, 1, 2, 3, 100, 1 << 16, (1 << 24) - 1, 10 * 3600 * 44100 // 1152, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
_VERSIONS_AND_LAYERS = [(version, layer) for version in (0, 2, 3) for layer in (1, 2, 3)]


def syncsafe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def made_stream(rng: random.Random) -> bytes:
    """Frames of any version, layer, rate and bit rate, with noise in them; some behind a frame that states a length."""
    version, layer = rng.choice(_VERSIONS_AND_LAYERS)
    is_variable, channels = rng.random() < 0.5, rng.choice((0x00, 0x40, 0x80, 0xC0))
    second = 0xE0 | version << 3 | (4 - layer) << 1 | rng.randrange(2)
    bit_rate, rate, frames = rng.randrange(1, 15), rng.randrange(3), []
    for _ in range(rng.randrange(1, 12)):
        third = (rng.randrange(1, 15) if is_variable else bit_rate) << 4 | rate << 2 | rng.randrange(2) << 1
        head = bytes((0xFF, second, third, channels | rng.randrange(64)))
        header = mp3_frames.parse_header(head)
        if header is not None:
            frames.append(head + rng.randbytes(header.frame_bytes - 4))
    stream = b"".join(frames)
    first = mp3_frames.parse_header(stream)
    if first is not None and rng.random() < 0.6:
        stream = length_frame(first, rng, len(frames), len(stream)) + stream
    return stream


def length_frame(header: FrameHeader, rng: random.Random, frames: int, size: int) -> bytes:
    """A Xing or Info frame with any of its fields, right or wrong."""
    frame = bytearray(mp3_frames.info_frame(header, frames))
    frame_header = mp3_frames.parse_header(frame)
    assert frame_header is not None
    flags = rng.choice((0x1, 0x3, 0x7, 0xF, rng.randrange(16)))
    fields = b""
    for flag, value in ((1, frames), (2, size + len(frame))):
        if flags & flag:
            fields += struct.pack(">I", rng.choice(_COUNTS) if rng.random() < 0.3 else value)
    if flags & 4:
        fields += rng.randbytes(100) if rng.random() < 0.5 else bytes(i * 256 // 100 for i in range(100))
    if flags & 8:
        fields += struct.pack(">I", rng.randrange(101))
    name = rng.choice((b"LAME3.100", b"Lavc58.13", bytes(9)))
    gapless = rng.choice((bytes.fromhex("240000"), b"\xff\xff\xff", rng.randbytes(3)))
    content = rng.choice((b"Xing", b"Info")) + struct.pack(">I", flags) + fields + name + bytes(12) + gapless
    place = 4 + frame_header.side_info_bytes
    frame[place : place + len(content)] = content
    return bytes(
        frame[: max(frame_header.frame_bytes, place + len(content)) if rng.random() < 0.2 else frame_header.frame_bytes]
    )


def mutated(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """One to four kinds of damage."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        data = rng.choice(_DAMAGES)(data, rng, others)
    return data


def _place(data: bytes, rng: random.Random) -> int:
    """Anywhere, or near the beginning, where the headers are."""
    return rng.randrange(min(len(data), rng.choice((16, 256, 4096, 1 << 30)))) if data else 0


def _frame_place(data: bytes, rng: random.Random) -> int:
    """The first frame, or one of the next."""
    found = mp3_frames.find_frame(data, mp3_frames.skip_id3v2(data))
    for _ in range(rng.choice((0, 0, 1, 2, 5))):
        following = found and mp3_frames.find_frame(data, found[0] + found[1].frame_bytes)
        found = following or found
    return found[0] if found else _place(data, rng)


def _replaced(data: bytes, place: int, new: bytes) -> bytes:
    return (data[:place] + new + data[place + len(new) :])[: max(len(data), place)]


def _flip_bits(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64)) if data else 0):
        changed[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _set_bytes(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    return _replaced(
        data, _place(data, rng), bytes([rng.choice((0, 0x7F, 0x80, 0xFF, 0xFB, 0xE3))]) * rng.randrange(1, 64)
    )


def _truncate(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    return data[: rng.choice((_place(data, rng), len(data) - rng.randrange(1, 2000), rng.randrange(len(data) + 1)))]


def _behead(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    return data[_place(data, rng) :]


def _cut_out(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    place = _place(data, rng)
    return data[:place] + data[place + rng.choice((1, 2, 4, 100, 1000, 10_000)) :]


def _insert_junk(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    size = rng.choice((1, 3, 100, 2000, 2000, 70_000))
    junk = rng.choice(
        (
            rng.randbytes(min(size, 5000)),
            bytes(size),
            b"\xff" * size,
            b"\xff\xfb\x90\x64" * (size // 4),
            b"\xff\xe0" * (size // 2),
        )
    )
    place = rng.choice((0, _place(data, rng), len(data)))
    return data[:place] + junk + data[place:]


def _repeat(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    place = _place(data, rng)
    piece = data[place : place + rng.choice((4, 100, 2000))]
    return data[:place] + piece * rng.randrange(1, 5) + data[place:]


def _splice(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    other = rng.choice(others)
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def _append(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    return data + rng.choice((b"TAG" + bytes(125), b"APETAGEX" + rng.randbytes(24), b"LYRICSBEGIN", rng.choice(others)))


def _tag_before(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    size = rng.choice((0, 1, 10, 300, 9000))
    body = bytes([rng.choice((0, 0xFF))]) * size
    stated = rng.choice((size, size, size, 0, size + 1, 100_000, (1 << 28) - 1))
    flags = rng.choice((0, 0, 0x10, 0xFF))
    head = b"ID3" + bytes((rng.choice((2, 3, 4, 0xFF)), 0, flags))
    length = syncsafe(stated) if rng.random() < 0.8 else rng.randbytes(4)
    footer = b"3DI" + head[3:] + length if flags & 0x10 and rng.random() < 0.7 else b""
    return (head + length + body + footer) * rng.choice((1, 1, 2, 100 if size < 20 else 1)) + data


def _change_header(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    place = _frame_place(data, rng)
    head = bytearray(data[place : place + 4].ljust(4, b"\0"))
    kind = rng.choice(
        ("free", "forbidden", "bit rate", "rate", "layer", "version", "protection", "padding", "mode", "sync")
    )
    if kind in ("free", "forbidden", "bit rate"):
        head[2] = head[2] & 0x0F | {"free": 0, "forbidden": 15, "bit rate": rng.randrange(16)}[kind] << 4
    elif kind == "sync":
        head[1] &= 0x1F
    else:
        byte, mask = {"rate": (2, 0x0C), "layer": (1, 0x06), "version": (1, 0x18), "protection": (1, 0x01),
                      "padding": (2, 0x02), "mode": (3, 0xF0)}[kind]  # fmt: skip
        head[byte] = head[byte] & ~mask | rng.randrange(256) & mask
    return _replaced(data, place, bytes(head))


def _lie_about_length(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    place = max(data.find(b"Xing", 0, 20_000), data.find(b"Info", 0, 20_000))
    if place < 0:
        return _put_length_frame(data, rng, others)
    what = rng.choice(("name", "flags", "frames", "bytes", "table", "gapless", "version"))
    if what == "name":
        return _replaced(data, place, rng.choice((b"Xing", b"Info", b"VBRI")))
    if what == "flags":
        return _replaced(data, place + 4, struct.pack(">I", rng.choice((0, 1, 2, 3, 4, 7, 8, 15, (1 << 32) - 1))))
    if what in ("frames", "bytes"):
        return _replaced(data, place + (8 if what == "frames" else 12), struct.pack(">I", rng.choice(_COUNTS)))
    if what == "table":
        return _replaced(data, place + 16, rng.choice((bytes(100), b"\xff" * 100, rng.randbytes(100))))
    return _replaced(
        data, place + (120 if what == "version" else 141), rng.choice((b"\xff\xff\xff", bytes(3), rng.randbytes(3)))
    )


def _put_length_frame(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    found = mp3_frames.find_frame(data, mp3_frames.skip_id3v2(data))
    if found is None:
        return data
    return data[: found[0]] + length_frame(found[1], rng, rng.choice((*_COUNTS, 20)), len(data)) + data[found[0] :]


_Damage = Callable[[bytes, random.Random, list[bytes]], bytes]
_DAMAGES: list[_Damage] = [
    _flip_bits, _flip_bits, _set_bytes, _truncate, _behead, _cut_out, _insert_junk, _repeat, _splice, _append,
    _tag_before, _change_header, _change_header, _lie_about_length, _lie_about_length, _put_length_frame,
]  # fmt: skip
