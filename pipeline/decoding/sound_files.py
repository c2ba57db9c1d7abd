"""Opens a clip with libsndfile and finds its true length, whatever its header says.

libsndfile guesses the length of an MP3 whose header does not state it (see `pipeline.mp3.frames`); here it is counted. It
believes a FLAC file's header (see `pipeline.decoding.flac_frames`), and does not know the length of Ogg files that were
joined (see `pipeline.decoding.ogg_links`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile

from pipeline.decoding.buffers import buffer_pool
from pipeline.decoding.decoder import DecodeError
from pipeline.decoding.file_kinds import HEAD_BYTES, name_kind
from pipeline.decoding.flac_frames import FlacHeader, find_flac_files, is_one_file, last_sample, read_flac_header
from pipeline.decoding.ogg_links import find_ogg_links
from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3 import length as mp3_length
from pipeline.storage.clips import ClipFile, clip_size, clip_version, is_whole_file, open_clip

# Libsndfile reads a longer clip of a shard through Python, which takes Python's lock but reads only what is needed.
_MAX_IN_MEMORY_BYTES = 1 << 24
# What promises more than this cannot hold it: an MP3 of the lowest bit rate; Opus that is silent; ADPCM and GSM. What a
# FLAC file holds is looked up where it promises more than this: silence takes 14 bytes a block.
_MAX_SAMPLES_PER_BYTE = {"MP3": mp3_frames.MAX_SAMPLES_PER_BYTE, "OGG": 3000, "FLAC": 8}
_MAX_SAMPLES_PER_BYTE_ELSE = 64
_LOWEST_RATE_HZ, _HIGHEST_RATE_HZ = 1000, 1_000_000  # a false rate makes hours of a small file
_UNKNOWN = 1 << 62  # libsndfile's lengths from here on mean that it does not know


def libsndfile_version() -> str:
    """Returns the version of the libsndfile that is loaded; the package soundfile brings one, or finds the system's."""
    return soundfile.__libsndfile_version__


@contextmanager
def open_sound(path: str | os.PathLike[str]) -> Iterator[tuple[soundfile.SoundFile, int]]:
    """Opens an audio file and yields it with its true number of samples.

    Of files that were joined in one, the first is opened; `find_links` finds the others. Every failure in the block becomes
    a `DecodeError`, so that the block may read from the file too.

    Args:
        path: an audio file, a clip's path in a record shard, or a part of a clip.

    Raises:
        DecodeError: the file cannot be opened or read as audio.
    """
    path = os.fspath(path)
    try:
        with _open_clip(path) as sound:
            samples = sound.frames
            if sound.format == "MP3":
                counted = mp3_length.counted_samples(path, *clip_version(path))
                if counted is None or counted <= samples:
                    yield sound, _credible(samples if counted is None else counted, sound, path)
                    return
            elif sound.format != "FLAC" or _is_true(samples, sound.samplerate, path):
                yield sound, _credible(samples, sound, path)
                return
            is_mp3 = sound.format == "MP3"
        # libsndfile would stop early, or not at all: show it a header that states the true length.
        header = mp3_length.with_info_frame(path) if is_mp3 else _with_true_length(path)
        with header as file, soundfile.SoundFile(file) as sound:
            yield sound, _positive(sound.frames)
    except soundfile.LibsndfileError as error:
        raise DecodeError(_open_failure(path, error)) from error
    except FileNotFoundError as error:
        raise DecodeError("file not found") from error
    except (OSError, RuntimeError, TypeError, MemoryError) as error:
        raise DecodeError(f"cannot be read: {error}") from error


@functools.lru_cache(maxsize=200_000)
def find_links(path: str, *version: int) -> tuple[str, ...]:
    """Finds the Ogg or FLAC files that were joined in one file.

    The result is cached. An Ogg file is read once for it; a FLAC file only if its frames are not
    numbered from beginning to end as its header promises.

    Args:
        path: a file, or a clip's path in a record shard.
        version: what changes with the file (see `clip_version`): a part of the cache's key.

    Returns:
        The path of each, as a part of the clip; none if the file is of another format, or is one alone.

    Raises:
        OSError: the file cannot be read.
    """
    del version
    with open_clip(path) as file:
        header = read_flac_header(file)
        if header is not None:
            links = () if is_one_file(file, header) else find_flac_files(path, file)
        else:
            file.seek(0)
            links = find_ogg_links(path, file) if file.read(4) == b"OggS" else ()
    return links if len(links) > 1 else ()


@contextmanager
def _open_clip(path: str) -> Iterator[soundfile.SoundFile]:
    """Opens a clip as libsndfile would open a file with the clip's bytes, wherever the bytes are."""
    if is_whole_file(path):
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


def _is_true(samples: int, sample_rate_hz: int, path: str) -> bool:
    """Returns whether to believe a FLAC file's header, unless it promises little more than the file holds."""
    if samples > _MAX_SAMPLES_PER_BYTE["FLAC"] * clip_size(path):
        return False
    held = _last_sample(path, *clip_version(path))
    return held is None or held <= samples + mp3_frames.TRUNCATION_TOLERANCE_SECONDS * sample_rate_hz


@functools.lru_cache(maxsize=200_000)
def _last_sample(path: str, *version: int) -> int | None:
    del version
    with open_clip(path) as file:
        header = read_flac_header(file)
        return None if header is None else last_sample(file, header)


class _PatchedFile(ClipFile):
    """A clip of which a few bytes are other ones.

    Args:
        clip: the opened clip; its file is this one's too.
        offset: where in the clip those bytes begin.
        data: the bytes.
    """

    def __init__(self, clip: ClipFile, offset: int, data: bytes):
        self.__dict__.update(clip.__dict__)
        self._patch_offset, self._patch = offset, data

    def read(self, size: int = -1) -> bytes:
        """Reads as `ClipFile.read` does."""
        begin = self.tell()
        data = super().read(size)
        first, last = max(begin, self._patch_offset), min(begin + len(data), self._patch_offset + len(self._patch))
        if first >= last:
            return data
        patch = self._patch[first - self._patch_offset : last - self._patch_offset]
        return data[: first - begin] + patch + data[last - begin :]


def _with_true_length(path: str) -> ClipFile:
    """Opens a FLAC file with the length that its last frame gives in its header.

    Raises:
        DecodeError: the header promises more than the file holds, or the last frame is not found.
        OSError: the file cannot be read.
    """
    with open_clip(path) as file:
        header = read_flac_header(file)
        samples = None if header is None else last_sample(file, header)
    if header is None or samples is None:
        raise DecodeError("its header states no credible length, and its last frame is not found")
    if header.samples > samples + mp3_frames.TRUNCATION_TOLERANCE_SECONDS * header.sample_rate_hz:
        raise DecodeError(_promises_too_much(header, samples))
    return _PatchedFile(open_clip(path), *header.with_samples(samples))


def _promises_too_much(header: FlacHeader, samples: int) -> str:
    promised, held = header.samples / header.sample_rate_hz, samples / header.sample_rate_hz
    return f"truncated: its header promises {promised:.2f} s, and its last frame ends after {held:.2f} s"


def _open_failure(path: str, error: soundfile.LibsndfileError) -> str:
    try:
        with open_clip(path) as file:
            head = file.read(10)
            file.seek(mp3_frames.skip_id3v2(head))
            head = file.read(HEAD_BYTES)
            size = file.size
    except OSError:
        return "file not found"
    if size == 0:
        return "empty file"
    if kind := name_kind(head):
        return f"not decodable: this is {kind}"
    # libsndfile 1.2 answers "File does not exist …" (code 7) for any MP3-like file in which it finds no frame.
    return "not recognised as audio" if error.code == 7 else f"not decodable: {error.error_string.rstrip('.')}"


def _positive(samples: int) -> int:
    if samples <= 0:
        raise DecodeError("holds no audio")
    return samples


def _credible(samples: int, sound: soundfile.SoundFile, path: str) -> int:
    """Returns the length that a header promises, unless no file of its size can hold that much."""
    if not _LOWEST_RATE_HZ <= sound.samplerate <= _HIGHEST_RATE_HZ:
        raise DecodeError(
            f"states a sample rate of {sound.samplerate} Hz, which no music has ({_LOWEST_RATE_HZ} to {_HIGHEST_RATE_HZ} Hz do)"
        )
    file_bytes = clip_size(path)
    tolerance = mp3_frames.TRUNCATION_TOLERANCE_SECONDS * sound.samplerate
    if samples >= _UNKNOWN:
        raise DecodeError("states no length, and none can be found")
    if samples > _MAX_SAMPLES_PER_BYTE.get(sound.format, _MAX_SAMPLES_PER_BYTE_ELSE) * file_bytes + tolerance:
        promised = samples / sound.samplerate
        raise DecodeError(f"truncated: its header promises {promised:.2f} s, more than its {file_bytes} bytes can hold")
    return _positive(samples)
