"""MP3s: the header parser in Python and in a graph, and the two decoders."""

import itertools
import os
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from support.audio import count_frames

from fuzz.mp3_mutations import made_stream, mutated
from fuzz.mp3_seeds import all_mp3s
from fuzz.target import Prepared, Target, require
from pipeline.decoding.soundfile_decoder import DecodeError, decode_blocks, decode_crop, read_info
from pipeline.mp3 import excerpt as mp3_excerpt
from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3.frames import FrameHeader

# Of headers, the beginning is enough.
_HEADER_BYTES = 12_000


def _make_headers(seeds: list[bytes]) -> Callable[[random.Random], bytes]:
    heads = [data[:_HEADER_BYTES] for data in seeds]

    def make(rng: random.Random) -> bytes:
        if rng.random() < 0.02:
            return rng.randbytes(rng.randrange(2000))
        data = made_stream(rng) if rng.random() < 0.6 else rng.choice(heads)
        return data if rng.random() < 0.1 else mutated(data, rng, heads)

    return make


def _make_mp3s(seeds: list[bytes]) -> Callable[[random.Random], bytes]:
    def make(rng: random.Random) -> bytes:
        return mutated(rng.choice(seeds), rng, seeds)

    return make


@contextmanager
def written_file(folder: Path, data: bytes, count: Iterator[int]) -> Iterator[str]:
    """A file with a name of its own: what is remembered of a file is by its name, time and size."""
    path = folder / f"{next(count)}.mp3"
    path.write_bytes(data)
    try:
        yield str(path)
    finally:
        path.unlink()


def first_frame(data: bytes) -> tuple[int, FrameHeader] | None:
    return mp3_frames.find_frame(data, mp3_frames.skip_id3v2(data))


def _prepare_headers(folder: Path) -> Prepared:
    count = itertools.count()

    def check(data: bytes) -> str:
        require(mp3_frames.skip_id3v2(data) >= 0, "a tag ends before it begins")
        _check_description(data, folder, count)
        found = first_frame(data)
        if found is None:
            return "no frame"
        offset, header = found
        require(0 <= offset <= len(data) - 4, f"frame at {offset} of {len(data)} bytes")
        require(24 <= header.frame_bytes <= 2881, f"frame of {header.frame_bytes} bytes")
        frames = count_frames(data, offset, header)
        require(1 <= frames <= (len(data) - offset) / 24, f"{frames} frames in {len(data)} bytes")
        if mp3_frames.has_length_tag(data, offset, header):
            return "stated length"
        made = mp3_frames.info_frame(header, frames)
        parsed = mp3_frames.parse_header(made)
        require(parsed is not None and parsed.frame_bytes == len(made), "an Info frame that is no frame")
        require(parsed is not None and parsed.sample_rate_hz == header.sample_rate_hz, "an Info frame of another rate")
        return "counted length"

    return Prepared(_make_headers(all_mp3s()), check)


def _check_description(data: bytes, folder: Path, count: Iterator[int]) -> None:
    with written_file(folder, data, count) as path:
        described = mp3_excerpt.index_mp3(path)
        if described is None:
            return
        samples = described.frame_count * described.header.samples
        frames = described.frames
        if isinstance(frames, mp3_excerpt.ConstantFrames):
            begin, end = frames.offset, frames.offset + described.frame_count * frames.mean_bytes
        else:
            begin, end = frames.offsets[0], frames.offsets[-1]
            require(bool((frames.offsets[1:] > frames.offsets[:-1]).all()), "frames out of order")
        require(0 <= begin <= len(data) and end <= len(data) + 2, "a stream beyond the file's end")
        rng = random.Random(zlib.crc32(data))
        for start in (0, samples - 1, rng.randrange(samples + 1), samples * 2, 1 << 40):
            cut = described.cut(path, max(start, 0), rng.choice((1, 1152, 44_100)))
            if cut is not None:
                pieces, first = cut
                require(0 <= first <= max(start, 0), "a cut that begins behind its crop")
                require(sum(map(len, pieces)) <= len(data) + 2881, "a cut longer than the file and a frame")


def _prepare_header_ops(folder: Path) -> Prepared:
    import tensorflow as tf

    from pipeline.mp3.header_ops import byte_place, next_frame, read_stream

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def read(mp3: tf.Tensor) -> tuple[tf.Tensor, ...]:
        stream = read_stream(mp3)
        fractions = (0.0, 0.3, 1.0, 2.0)
        places = [next_frame(mp3, byte_place(stream, stream.frame_count * part), stream.kind) for part in fractions]
        return (*stream, tf.stack(places))

    def check(data: bytes) -> str:
        *stream, places = (tensor.numpy() for tensor in read(data))
        found, offset, _, rate_hz, samples, frame_bytes, count, _, promised, _, delay, padding, byte_places, _ = stream
        require(0 <= offset <= len(data), f"audio at {offset} of {len(data)} bytes")
        require(((places >= 0) & (places <= len(data))).all(), f"frames at {places} of {len(data)} bytes")
        numbers = (samples, frame_bytes, count, promised, delay, padding)
        require(np.isfinite(numbers).all() and min(numbers) >= 0, f"negative or not finite: {numbers}")
        require(np.isfinite(byte_places).all(), "places that are not finite")
        expected = first_frame(data)
        require(found == (expected is not None), f"found is {found}, in Python {expected}")
        if expected is None:
            return "no frame"
        place, header = expected
        length_tag = header.frame_bytes if mp3_frames.has_length_tag(data, place, header) else 0
        first = min(place + length_tag, len(data))
        require(
            (offset, rate_hz, samples) == (first, header.sample_rate_hz, header.samples),
            f"audio at {offset}, {rate_hz} Hz, {samples} samples a frame; in Python at {first}, {header}",
        )
        return "stated length" if promised else "counted length"

    return Prepared(_make_headers(all_mp3s()), check)


def _check_waveform(waveform: np.ndarray, samples: int) -> None:
    require(waveform.dtype == np.float32 and waveform.ndim == 1, f"{waveform.dtype} {waveform.shape}")
    require(not samples or len(waveform) == samples, f"{len(waveform)} samples where {samples} were asked for")
    require(np.isfinite(waveform).all(), "samples that are not finite numbers")


def _reason(error: str) -> str:
    """An error without its numbers."""
    require(error.strip(), "an error without a reason")
    return error.split(":")[0][:40]


def _prepare_soundfile(folder: Path) -> Prepared:
    count = itertools.count()

    def try_one(path: str, rng: random.Random) -> str:
        samples, position = rng.choice((1000, 4000, 16_000)), rng.choice((0.0, 1.0, rng.random()))
        crops = [decode_crop(path, rng.choice((8000, 16_000, 22_050)), samples, position)]
        _check_waveform(crops[0], samples)
        limit = 24 * os.path.getsize(path) + 4800  # a tenth of a second
        info = read_info(path)
        require(0 < info.samples <= limit and info.channels > 0, f"{info} of {os.path.getsize(path)} bytes")
        if rng.random() < 0.5:
            whole = decode_crop(path, info.sample_rate_hz, 0)
            _check_waveform(whole, info.samples)
            blocks = sum(len(block) for block in decode_blocks(path, 5000))
            require(blocks == info.samples, f"{blocks} samples in blocks where there are {info.samples}")
        return "waveform"

    def check(data: bytes) -> str:
        with written_file(folder, data, count) as path:
            try:
                return try_one(path, random.Random(zlib.crc32(data)))
            except DecodeError as error:
                require(path not in str(error), "the path in the reason")
                return _reason(str(error))

    return Prepared(_make_mp3s(all_mp3s()), check)


def _prepare_tfio(folder: Path) -> Prepared:
    import tensorflow as tf

    from pipeline.decoding import tfio_decoder

    count = itertools.count()
    tfio_decoder.load_ops()

    def decoder(samples: int) -> Callable[[str, float], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        @tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.float32)], autograph=False)
        def decode(path: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            waveform, error = tfio_decoder.decode_crop(path, 16_000, samples, position)
            return waveform, error, tfio_decoder.count_windows(path, 0.25)

        return decode

    decoders = {samples: decoder(samples) for samples in (4000, 0)}
    for decode in decoders.values():
        decode("/", 0.0)  # traces the graph, which takes seconds

    def check(data: bytes) -> str:
        rng = random.Random(zlib.crc32(data))
        samples, position = rng.choice((4000, 4000, 0)), rng.choice((0.0, 1.0, rng.random()))
        with written_file(folder, data, count) as path:
            waveform, error, crops = (tensor.numpy() for tensor in decoders[samples](path, position))
        # 24 samples a byte, at 8 kHz or more: 12 quarters of a second a thousand bytes.
        require(1 <= crops <= 12 + len(data) * 24 / 2000, f"{crops} crops in {len(data)} bytes")
        _check_waveform(waveform, samples)
        if error:
            require(not waveform.any(), "sound beside an error")
            return _reason(error.decode())
        require(len(waveform), "neither sound nor an error")
        return "waveform"

    return Prepared(_make_mp3s(all_mp3s()), check)


TARGETS = {
    "mp3_headers": Target("mp3_frames, mp3_excerpt: frames, counts and cuts", 200_000, _prepare_headers),
    "mp3_header_ops": Target("mp3_header_ops against mp3_frames", 50_000, _prepare_header_ops),
    "decode_soundfile": Target("decode: crops, whole clips, blocks", 5_000, _prepare_soundfile),
    "decode_tfio": Target("tfio_decoder: crops, whole clips, number of crops", 5_000, _prepare_tfio),
}
