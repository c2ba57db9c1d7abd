"""Opens a clip with libsndfile and finds its true length.

libsndfile guesses the length of an MP3 whose header does not state it (see `pipeline.mp3.frames`); here it is counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile

from pipeline.decoding.buffers import buffer_pool
from pipeline.decoding.decoder import DecodeError
from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3 import length as mp3_length
from pipeline.storage.clips import clip_size, clip_version, find_record_span, open_clip

# Libsndfile reads a longer clip of a shard through Python, which takes Python's lock but reads only what is needed.
_MAX_IN_MEMORY_BYTES = 1 << 24


@contextmanager
def open_sound(path: str | os.PathLike[str]) -> Iterator[tuple[soundfile.SoundFile, int]]:
    """Opens an audio file and yields it with its true number of samples.

    Every failure in the block becomes a `DecodeError`, so that the block may read from the file too.

    Args:
        path: an audio file, or a clip's path in a record shard.

    Raises:
        DecodeError: the file cannot be opened or read as audio.
    """
    path = os.fspath(path)
    try:
        with _open_clip(path) as sound:
            samples = sound.frames
            counted = mp3_length.counted_samples(path, *clip_version(path)) if sound.format == "MP3" else samples
            if counted is None:
                yield sound, _credible(samples, sound.samplerate, path)
                return
            if counted <= samples:
                yield sound, _positive(counted)
                return
        # libsndfile would stop early: show it the stream behind an Info frame that states the true length.
        with soundfile.SoundFile(mp3_length.with_info_frame(path)) as sound:
            yield sound, _positive(sound.frames)
    except soundfile.LibsndfileError as error:
        raise DecodeError(_open_failure(path, error)) from error
    except FileNotFoundError as error:
        raise DecodeError("file not found") from error
    except (OSError, RuntimeError, TypeError, MemoryError) as error:
        raise DecodeError(f"cannot be read: {error}") from error


@contextmanager
def _open_clip(path: str) -> Iterator[soundfile.SoundFile]:
    """Opens a clip as libsndfile would open a file with the clip's bytes, wherever the bytes are."""
    if find_record_span(path) is None:
        with soundfile.SoundFile(os.fsencode(path)) as sound:  # bytes: a name need not be text
            yield sound
        return
    with open_clip(path) as file, buffer_pool.borrow() as buffers:
        in_memory = file.size <= _MAX_IN_MEMORY_BYTES
        try:
            sound = soundfile.SoundFile(buffers.file_of([file.read()]) if in_memory else file, closefd=False)
        except soundfile.LibsndfileError:
            # Where the contents leave doubt, as of an MP3 behind junk, libsndfile goes by the name.
            file.seek(0)
            with buffers.named_file([file.read()], Path(path).suffix) as name:
                sound = soundfile.SoundFile(name)
        with sound:
            yield sound


def _open_failure(path: str, error: soundfile.LibsndfileError) -> str:
    try:
        if clip_size(path) == 0:
            return "empty file"
    except OSError:
        return "file not found"
    # libsndfile 1.2 answers "File does not exist …" (code 7) for any MP3-like file in which it finds no frame.
    return "not recognised as audio" if error.code == 7 else f"not decodable: {error.error_string.rstrip('.')}"


def _positive(samples: int) -> int:
    if samples <= 0:
        raise DecodeError("holds no audio")
    return samples


def _credible(samples: int, sample_rate_hz: int, path: str) -> int:
    """Returns the length that an MP3's header promises, unless no file of its size can hold that much."""
    file_bytes = clip_size(path)
    tolerance = mp3_frames.TRUNCATION_TOLERANCE_SECONDS * sample_rate_hz
    if samples > mp3_frames.MAX_SAMPLES_PER_BYTE * file_bytes + tolerance:
        promised = samples / sample_rate_hz
        raise DecodeError(f"truncated: its header promises {promised:.2f} s, more than its {file_bytes} bytes can hold")
    return _positive(samples)
