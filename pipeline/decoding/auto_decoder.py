"""The default decoder: MP3s by the native kernels where they apply, everything else, and whatever is in doubt, by libsndfile.

Which one decodes a crop depends on the file and the crop alone, never on what was decoded before.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from pipeline.decoding import soundfile_decoder
from pipeline.decoding.decoder import DecodeError
from pipeline.decoding.native_decoder import compile_kernels, crop_length, find_doubts
from pipeline.decoding.native_decoder import decode_crops as decode_natively
from pipeline.decoding.native_stream import NativeStream, native_stream
from pipeline.decoding.soundfile_decoder import count_windows, decode_blocks, find_remark, read_info

__all__ = [
    "count_windows",
    "decode_batch",
    "decode_blocks",
    "decode_crop",
    "describe_route",
    "find_remark",
    "find_route",
    "prepare",
    "read_info",
]

NATIVE = "native"  # the route of a file that the native kernels decode


def decode_crop(
    path: str | os.PathLike[str], sample_rate_hz: int, crop_samples: int, position: float = 0.0
) -> np.ndarray:
    """Decodes one crop of a file to a mono waveform.

    Args:
        path: an audio file of any rate and number of channels that libsndfile reads, or a clip's path in a record shard.
        sample_rate_hz: rate of the returned waveform.
        crop_samples: length of the returned waveform in samples at `sample_rate_hz`; a clip that ends earlier is
            padded with zeros. 0 decodes the whole clip.
        position: where the crop starts, as a fraction of the possible starts: 0 is the beginning of the clip, 1 is
            as late as the crop still fits.

    Returns:
        float32 [crop_samples] (or [samples of the whole clip]), nominally in -1...1.

    Raises:
        DecodeError: nothing usable could be decoded.

    Example:
        >>> waveform = decode_crop(path, sample_rate_hz=22050, crop_samples=5 * 22050, position=0.5)
        >>> waveform.shape, waveform.dtype
        ((110250,), dtype('float32'))
    """
    batch, errors = decode_batch([os.fspath(path)], sample_rate_hz, crop_samples, [position])
    if errors[0] is not None:
        raise errors[0]
    return batch[0]


def decode_batch(
    paths: Sequence[str], sample_rate_hz: int, crop_samples: int, positions: Sequence[float]
) -> tuple[np.ndarray, list[DecodeError | None]]:
    """Decodes crops of any number of files, those that the native kernels decode in one call.

    Args:
        paths: of each crop.
        sample_rate_hz: rate of the waveforms.
        crop_samples: length of each, as in `decode_crop`; 0 for whole clips.
        positions: where each crop starts, as in `decode_crop`.

    Returns:
        float32 [crops, crop_samples], or for whole clips [crops, samples of the longest], padded with zeros, and of each crop
        the error that `decode_crop` raises, or None.
    """
    errors: list[DecodeError | None] = [None] * len(paths)
    streams: dict[int, NativeStream] = {}
    for n, path in enumerate(paths):
        try:
            stream = native_stream(path)
        except DecodeError as error:
            errors[n] = error
            continue
        if isinstance(stream, NativeStream):
            streams[n] = stream
    others: dict[int, np.ndarray] = {}
    for n, path in enumerate(paths):
        if n not in streams and errors[n] is None:
            _decode_other(n, path, sample_rate_hz, crop_samples, positions[n], others, errors)
    longest = max((crop_length(s, sample_rate_hz, 0, sample_rate_hz) for s in streams.values()), default=1)
    longest = max([longest, *(len(waveform) for waveform in others.values())])
    batch = np.empty((len(paths), crop_samples or longest), np.float32)
    crops = [(stream, positions[n]) for n, stream in streams.items()]
    decoded = batch if len(crops) == len(paths) else np.empty((len(crops), batch.shape[1]), np.float32)
    for row, (n, reason) in enumerate(
        zip(streams, decode_natively(crops, sample_rate_hz, crop_samples, decoded), strict=True)
    ):
        if reason:
            _decode_other(n, paths[n], sample_rate_hz, crop_samples, positions[n], others, errors)
        elif decoded is not batch:
            batch[n] = decoded[row]
    for n in range(len(paths)):
        if n in others:
            batch[n, : len(others[n])] = others[n]
            batch[n, len(others[n]) :] = 0
        elif errors[n] is not None:
            batch[n] = 0
    return batch, errors


def prepare() -> None:
    """Compiles the kernels, or reads them from their cache."""
    compile_kernels()


def find_route(path: str | os.PathLike[str]) -> str:
    """Returns "native", or why a file is decoded by libsndfile.

    Raises:
        DecodeError: the file cannot be opened as audio.
    """
    stream = native_stream(os.fspath(path))
    return stream if isinstance(stream, str) else NATIVE


def describe_route(path: str | os.PathLike[str]) -> str:
    """Decodes a whole file and says in words which decoder its crops are for, and why.

    Raises:
        DecodeError: the file cannot be opened as audio.
    """
    stream = native_stream(os.fspath(path))
    if isinstance(stream, str):
        return f"libsndfile: {stream}"
    pieces, doubts = find_doubts(stream)
    if not doubts:
        return NATIVE
    return f"libsndfile for {len(doubts)} of {pieces} pieces: {', '.join(dict.fromkeys(doubts))}"


def _decode_other(
    n: int,
    path: str,
    sample_rate_hz: int,
    crop_samples: int,
    position: float,
    waveforms: dict[int, np.ndarray],
    errors: list[DecodeError | None],
) -> None:
    try:
        waveforms[n] = soundfile_decoder.decode_crop(path, sample_rate_hz, crop_samples, position)
    except DecodeError as error:
        errors[n] = error
