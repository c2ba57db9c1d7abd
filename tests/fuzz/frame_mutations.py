"""Layer III frames gone wrong where only a decoder looks: in their side information and their main data."""

import random

from pipeline.mp3 import frames as mp3_frames

_MOST_FRAMES = 12
# Fields of a granule's side information, by where they begin and how many bits they have (11172-3 2.4.1.7).
_LENGTH, _PAIRS, _GAIN, _COMPRESS, _SWITCH = (0, 12), (12, 9), (21, 8), (29, 4), (33, 1)
_BLOCK = ((33, 1), (34, 2), (36, 1), (37, 5), (42, 5), (47, 3), (50, 3), (53, 3))
_REGIONS = ((34, 5), (39, 5), (44, 5), (49, 4), (53, 3))
_LAST = ((56, 1), (57, 1), (58, 1))
_GRANULE_BITS = 59


def frame_places(data: bytes) -> list[int]:
    """Where the frames from the first byte on begin, and where the last one ends."""
    header = mp3_frames.parse_header(data)
    return list(mp3_frames.walk(data, 0, header)) if header is not None else []


def damaged_frames(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Frames of a stream with one to four kinds of damage.

    Args:
        data: frames, from the first byte on.
        rng: of this input.
        others: streams of which pieces may be taken; if there are none, all frames of the data stay.
    """
    places = frame_places(data)
    if others and len(places) > 3:
        count = rng.randrange(1, _MOST_FRAMES)
        first = rng.randrange(max(1, len(places) - 1 - count))
        data = data[places[first] : places[min(first + count, len(places) - 1)]]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        _damage(changed, rng, others)
    return bytes(changed)


def _damage(data: bytearray, rng: random.Random, others: list[bytes]) -> None:
    places = frame_places(bytes(data))
    if len(places) < 2:
        return
    number = rng.randrange(len(places) - 1)
    place, end = places[number], places[number + 1]
    side = place + (4 if data[place + 1] & 1 else 6)
    side_end = side + (17 if data[place + 3] >= 0xC0 else 32)
    kind = rng.choice(("header", "mode", "side bit", "side bit", "field", "field", "field", "side bytes", "main bit",
                       "main bit", "main bytes", "all main", "distance", "truncate", "cut", "insert", "splice"))  # fmt: skip
    if kind == "header":
        data[place + rng.randrange(4)] ^= 1 << rng.randrange(8)
    elif kind == "mode":
        data[place + 3] = data[place + 3] & 0x0F | rng.choice((0x00, 0x40, 0x60, 0x50, 0x70, 0x80))
    elif kind in ("side bit", "main bit"):
        begin, behind = (side, side_end) if kind == "side bit" else (side_end, end)
        for _ in range(rng.choice((1, 1, 3, 20))):
            if begin < min(behind, len(data)):
                data[rng.randrange(begin, min(behind, len(data)))] ^= 1 << rng.randrange(8)
    elif kind == "field":
        for _ in range(rng.choice((1, 1, 2, 6))):
            _set_field(data, side, data[place + 3] >= 0xC0, rng)
    elif kind == "distance":
        _set_bits(data, 8 * side, 9, rng.choice((0, 1, 2, 511, 510, rng.randrange(512))))
    elif kind in ("side bytes", "main bytes", "all main"):
        begin, behind = (side, side_end) if kind == "side bytes" else (side_end, end)
        if kind != "all main" and begin < behind:
            begin = rng.randrange(begin, behind)
            behind = min(behind, begin + rng.randrange(1, 40))
        size = max(0, min(behind, len(data)) - begin)
        data[begin : begin + size] = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
    elif kind == "truncate":
        del data[rng.randrange(place, len(data)) :]
    elif kind == "cut":
        begin = rng.randrange(place, end)
        del data[begin : begin + rng.choice((1, 2, 50, end - place))]
    elif kind == "insert":
        begin = rng.choice((place, rng.randrange(place, end)))
        data[begin:begin] = rng.choice((b"\0", rng.randbytes(rng.randrange(1, 400)), data[place:end]))
    elif others:
        other = rng.choice(others)
        pieces = frame_places(other)
        first = rng.randrange(len(pieces))
        data[end:] = other[pieces[first] : pieces[min(first + 4, len(pieces) - 1)]]


def _set_field(data: bytearray, side: int, is_mono: bool, rng: random.Random) -> None:
    """Sets a field of a granule and channel to a value that is odd, or to any."""
    head, channels = (18, 1) if is_mono else (20, 2)
    begin = 8 * side + head + _GRANULE_BITS * rng.randrange(2 * channels)
    if rng.random() < 0.3:  # a block of short windows, perhaps a mixed one
        _set_bits(data, begin + 33, 1, 1)
        _set_bits(data, begin + 34, 2, rng.randrange(4))
        _set_bits(data, begin + 36, 1, rng.randrange(2))
        return
    start, size = rng.choice((_LENGTH, _LENGTH, _PAIRS, _PAIRS, _GAIN, _COMPRESS, _SWITCH, *_BLOCK, *_REGIONS, *_LAST))
    most = (1 << size) - 1
    old = _get_bits(data, begin + start, size)
    value = rng.choice((0, 1, most, old + 1 & most, old - 1 & most, rng.randrange(most + 1)))
    if start == _PAIRS[0]:
        value = rng.choice((value, 288, 287, 289, 286))
    _set_bits(data, begin + start, size, value)


def _get_bits(data: bytearray, begin: int, size: int) -> int:
    value = 0
    for bit in range(begin, begin + size):
        value = value << 1 | (data[bit >> 3] >> (7 - (bit & 7)) & 1 if bit >> 3 < len(data) else 0)
    return value


def _set_bits(data: bytearray, begin: int, size: int, value: int) -> None:
    for number in range(size):
        bit = begin + number
        if bit >> 3 < len(data):
            mask = 0x80 >> (bit & 7)
            data[bit >> 3] = data[bit >> 3] & ~mask | (mask if value >> (size - 1 - number) & 1 else 0)
