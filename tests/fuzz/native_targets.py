"""The native MP3 decoder: its kernels with every index checked, and its results against libsndfile's."""

import dataclasses
import itertools
import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.checked_numba import ENVIRONMENT, check_every_index
from fuzz.frame_mutations import damaged_frames, frame_places
from fuzz.mp3_mutations import mutated
from fuzz.mp3_seeds import mpeg1_mp3s, mpeg1_streams
from fuzz.mp3_targets import written_file
from fuzz.target import Prepared, Target, require
from pipeline.mp3 import frames as mp3_frames

_TOLERANCE = 1e-4  # of full scale, or of the loudest sample if that is more
_TARGETS_HZ = (22050, 24000, 16000, 44100, 48000, 32000)


@dataclasses.dataclass
class _FramesInMemory:
    """Frames that are read as `ConstantFrames` and `IndexedFrames` read them: from where the index says that they are."""

    data: bytes
    places: list[int]

    def read(self, path: str, target: int, end: int, header: mp3_frames.FrameHeader) -> tuple[bytes, int, int] | None:
        smallest = min(b - a for a, b in itertools.pairwise(self.places)) - 4 - header.side_info_bytes
        first = max(0, target - -(-511 // max(smallest, 1)))
        if end >= len(self.places):
            end = len(self.places) - 1
        if first >= end:
            return None
        return self.data[self.places[first] : self.places[end]], first, end


def _prepare_native(folder: Path) -> Prepared:
    if os.environ.get("NUMBA_BOUNDSCHECK") == "1":  # else the input is only made again
        check_every_index()

    from pipeline.decoding import native_decoder
    from pipeline.decoding.decoder import MAX_SAMPLE

    def check(data: bytes) -> str:
        rng = random.Random(zlib.crc32(data))
        stream = _stream_in_memory(data, rng)
        if stream is None:
            return "no frames"
        rate_hz = rng.choice((stream.sample_rate_hz // 2, stream.sample_rate_hz // 2, rng.choice(_TARGETS_HZ)))
        crop_samples = rng.choice((0, 1, 2, 100, 1000, 3000, rng.randrange(1, 9000)))
        positions = [rng.choice((0.0, 1.0, rng.random())) for _ in range(rng.choice((1, 1, 1, 3)))]
        length = crop_samples or native_decoder.crop_length(stream, rate_hz, 0, rate_hz)
        batch = np.full((len(positions) + 2, length), np.nan, np.float32)
        reasons = native_decoder.decode_crops(
            [(stream, position) for position in positions], rate_hz, crop_samples, batch[1:-1]
        )
        require(np.isnan(batch[[0, -1]]).all(), "samples outside their rows")
        for row, reason in zip(batch[1:-1], reasons, strict=True):
            # soxr may overshoot what it is given by half.
            require(bool(reason) or float(np.abs(row).max(initial=0)) <= 2 * MAX_SAMPLE, "samples that are no sound")
        return reasons[0] or "waveform"

    seeds = mpeg1_streams()
    if os.environ.get("NUMBA_BOUNDSCHECK") == "1":
        for number in range(20):  # compiles all kernels, which takes half a minute
            check(seeds[0] + bytes([number]))
    return Prepared(_make_streams(seeds), check)


def _make_streams(seeds: list[bytes]) -> Callable[[random.Random], bytes]:
    def make(rng: random.Random) -> bytes:
        return damaged_frames(rng.choice(seeds), rng, seeds)

    return make


def _stream_in_memory(data: bytes, rng: random.Random) -> Any:
    """A stream of the frames that are found, or of those that a constant bit rate promises."""
    from pipeline.decoding import native_stream
    from pipeline.mp3.excerpt import SeekableMp3
    from pipeline.mp3.native.bands import band_edges

    header = mp3_frames.parse_header(data)
    if header is None or header.version_bits != 3 or header.layer != 3:
        return None
    places = frame_places(data)
    if rng.random() < 0.3 or len(places) < 2:
        places = list(range(0, len(data) + 1, header.frame_bytes))
    if len(places) < 2:
        return None
    frame_count = len(places) - 1 + rng.choice((0, 0, 0, 0, 1, 5))
    mp3: Any = SeekableMp3(b"", 0, False, header, frame_count, _FramesInMemory(data, places))  # type: ignore[arg-type]
    offset = rng.choice((0, 529, 1105, rng.randrange(4625)))
    held = frame_count * header.samples - offset
    if held <= 0:
        return None
    samples = rng.choice((held, held, rng.randrange(held) + 1, held + 1000))
    edges = band_edges(header.sample_rate_hz)
    assert edges is not None
    return native_stream.NativeStream(
        "frames in memory",
        mp3,
        samples,
        offset,
        native_stream._frame_bytes(header.version_bits, header.sample_rate_hz),
        *edges,
    )


def _prepare_differential(folder: Path) -> Prepared:
    from pipeline.decoding import auto_decoder, native_decoder, soundfile_decoder
    from pipeline.decoding.decoder import DecodeError
    from pipeline.decoding.native_stream import native_stream

    count = itertools.count()
    seeds = mpeg1_mp3s()

    def decode(module: Any, path: str, rate_hz: int, samples: int, position: float) -> np.ndarray | str:
        try:
            return module.decode_crop(path, rate_hz, samples, position)
        except DecodeError as error:
            return str(error)

    def check(data: bytes) -> str:
        rng = random.Random(zlib.crc32(data))
        with written_file(folder, data, count) as path:
            try:
                stream = native_stream(path)
            except DecodeError:
                stream = "refused"
            rate_hz = 44100 if isinstance(stream, str) else stream.sample_rate_hz
            samples, position = rng.choice((0, 0, 1000, 5000)), rng.choice((0.0, 1.0, rng.random()))
            expected = decode(soundfile_decoder, path, rate_hz, samples, position)
            found = decode(auto_decoder, path, rate_hz, samples, position)
            route = stream if isinstance(stream, str) else "native"
            if not isinstance(stream, str):
                batch = np.empty((1, samples or stream.samples), np.float32)
                (reason,) = native_decoder.decode_crops([(stream, position)], rate_hz, samples, batch)
                route = f"fell back: {reason}" if reason else "native"
            difference = _difference(found, expected)
            # Of some damage libmpg123 makes what its memory held before: no two decodes are alike.
            if difference and any(
                _difference(decode(soundfile_decoder, path, rate_hz, samples, position), expected) for _ in range(3)
            ):
                return "libsndfile differs from itself"
        require(not difference, f"{difference}; crop of {samples} at {position}; {route}")
        return "refused" if isinstance(found, str) else route

    def make(rng: random.Random) -> bytes:
        data = rng.choice(seeds)
        if rng.random() < 0.6:
            return _damaged_file(data, rng, seeds)
        return mutated(data, rng, seeds)

    return Prepared(make, check)


def _difference(found: np.ndarray | str, expected: np.ndarray | str) -> str:
    """In what two results of a decoder, samples or a reason, differ; "" if they do not."""
    if isinstance(expected, str) or isinstance(found, str):
        if isinstance(expected, str) and isinstance(found, str):
            return "" if found == expected else f"refused for {found!r}, by libsndfile for {expected!r}"
        return (
            f"decoded; libsndfile: {expected!r}"
            if isinstance(expected, str)
            else f"refused ({found!r}), not by libsndfile"
        )
    if len(found) != len(expected):
        return f"{len(found)} samples, of libsndfile {len(expected)}"
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    different = np.flatnonzero(np.abs(found - expected) > _TOLERANCE * scale)
    if not len(different):
        return ""
    largest = float(np.abs(found - expected).max()) / scale
    return f"{len(different)} of {len(found)} samples differ, {different[0]} to {different[-1]}, by up to {largest:.2g}"


def _damaged_file(data: bytes, rng: random.Random, seeds: list[bytes]) -> bytes:
    """Damages frames, and leaves what is before the first one as it is."""
    found = mp3_frames.find_frame(data, mp3_frames.skip_id3v2(data))
    if found is None:
        return data
    offset, header = found
    if mp3_frames.has_length_tag(data, offset, header):
        offset += header.frame_bytes
    return data[:offset] + damaged_frames(data[offset:], rng, [])


TARGETS = {
    "native": Target("native kernels, every index checked", 200_000, _prepare_native, environment=ENVIRONMENT),
    "native_differential": Target("auto_decoder against soundfile_decoder", 20_000, _prepare_differential),
}
