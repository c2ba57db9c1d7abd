"""Streams that tests write, and what the native decoder makes of them alone."""

from pathlib import Path

import numpy as np
from support.layer3_writer import LARGEST, LINBITS, Part

from pipeline.decoding.native_decoder import decode_crops
from pipeline.decoding.native_stream import NativeStream, native_stream

# Every block type, and whether the two lowest subbands are of a long block.
BLOCKS = ((0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (1, 1), (3, 1))
TABLES = [select for select in range(1, 32) if select not in (4, 14)]


def decode_natively(
    path: Path, rate_hz: int, crop_samples: int = 0, positions: tuple[float, ...] = (0.0,)
) -> tuple[np.ndarray, list[str]]:
    """Crops [crops, samples] by the native decoder, and why it leaves each to libsndfile."""
    stream = native_stream(str(path))
    assert isinstance(stream, NativeStream), stream
    length = crop_samples or -(-stream.samples * rate_hz // stream.sample_rate_hz)
    batch = np.zeros((len(positions), length), np.float32)
    return batch, decode_crops([(stream, position) for position in positions], rate_hz, crop_samples, batch)


def random_part(rng: np.random.Generator, pairs: int = 80, small: int = 60, **fields) -> Part:
    """A granule of a channel: values that table 24 codes, then a few of -1, 0 and 1."""
    big = rng.integers(-14, 15, 2 * pairs) * rng.integers(0, 2, 2 * pairs)
    values = [*big.tolist(), *rng.integers(-1, 2, small).tolist()]
    return Part(values=values, pairs=pairs, **{"global_gain": int(rng.integers(165, 185)), **fields})


def largest_values(select: int, pairs: int, rng: np.random.Generator) -> list[int]:
    """Values of a table, its largest among them."""
    most = LARGEST[select] + ((1 << LINBITS[select]) - 1 if LINBITS[select] else 0)
    values = rng.integers(-min(most, LARGEST[select] + 3), min(most, LARGEST[select] + 3) + 1, 2 * pairs)
    values[:2] = most, -most
    return values.tolist()
