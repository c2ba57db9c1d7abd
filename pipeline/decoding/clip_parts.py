"""The parts of a clip: usually one, several where files were joined (`cat a.mp3 b.mp3`) or the channels change.

Parts of one rate that follow one another are one clip; where the rate changes, the clip ends and a remark says what follows.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator

from pipeline.decoding.decoder import AudioInfo, DecodeError
from pipeline.decoding.sound_files import find_links, open_sound
from pipeline.mp3.excerpt import SeekableMp3, index_mp3
from pipeline.mp3.frames import DECODER_DELAY_SAMPLES, TRUNCATION_TOLERANCE_SECONDS
from pipeline.mp3.length import held_seconds
from pipeline.storage.clips import clip_version


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A piece of a clip that a decoder reads in one go.

    Attributes:
        path: where libsndfile reads it: the clip, or a part of it.
        channels: number of channels.
        samples: length at the clip's rate.
        mp3: an index of its frames, if it is an MP3 that has one.
    """

    path: str
    channels: int
    samples: int
    mp3: SeekableMp3 | None = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ClipParts:
    """What a clip consists of.

    Attributes:
        info: of the clip as a whole; its channels are those of the first part.
        parts: at least one, in order.
        container: the format, by libsndfile's name: "MP3", "WAV", ...
        reads_exactly: whether decoding from the middle gives the same samples, bit for bit, as decoding from the beginning.
        remark: what is known of the file that its user should know, such as that music follows that is not read; or "".
    """

    info: AudioInfo
    parts: tuple[Part, ...]
    container: str
    reads_exactly: bool = True
    remark: str = ""

    def pieces(self, start: int, samples: int) -> Iterator[tuple[Part, int, int]]:
        """Divides a span of the clip among its parts.

        Yields:
            A part, where in the part the piece begins, and how long it is.
        """
        begin = 0
        for part in self.parts:
            first, last = max(start, begin), min(start + samples, begin + part.samples)
            if first < last:
                yield part, first - begin, last - first
            begin += part.samples


def find_parts(path: str) -> ClipParts:
    """Finds out what a clip consists of. The result is cached under the file's version, because it may take a pass over the file.

    Args:
        path: an audio file, or a clip's path in a record shard.

    Raises:
        DecodeError: the file cannot be opened as audio.
    """
    return _find_parts(path, *clip_version(path))


@functools.lru_cache(maxsize=200_000)
def _find_parts(path: str, *version: int) -> ClipParts:
    try:
        links = find_links(path, *version)
        if links:
            return _joined_links(links)
        mp3 = index_mp3(path) if hasattr(os, "memfd_create") else None  # Linux has it
    except FileNotFoundError as error:
        raise DecodeError("file not found") from error
    except OSError as error:
        raise DecodeError(f"cannot be read: {error}") from error
    with open_sound(path) as (sound, samples):
        info, container = AudioInfo(sound.samplerate, sound.channels, samples), sound.format
    if container != "MP3":
        mp3 = None  # MP3 in a WAV file, of which libsndfile skips other samples
    if mp3 is None:
        # A decoder of Vorbis or Opus needs some time after a seek to find its samples to the last bit.
        remark = _unread_frames(path, info) if container == "MP3" else ""
        return ClipParts(
            info, (Part(path, info.channels, samples),), container, container not in ("OGG", "MP3"), remark
        )
    if not mp3.states_length and samples == mp3.samples:
        # `open_sound` reads it as it is, without an Info frame.
        mp3 = dataclasses.replace(mp3, lead_samples=DECODER_DELAY_SAMPLES)
    parts = [Part(path, info.channels, samples, mp3)]
    parts += [Part(path, stream.header.channels, stream.samples, stream) for stream in mp3.followers]
    remark = ""
    if mp3.unread_seconds:
        remark = (
            f"{mp3.unread_seconds:.2f} s of another sample rate or layer follow after {_seconds(parts, info.sample_rate_hz):.2f} s, "
            "and are not used: files were joined; split them"
        )
    return ClipParts(
        dataclasses.replace(info, samples=sum(part.samples for part in parts)), tuple(parts), container, True, remark
    )


def _unread_frames(path: str, info: AudioInfo) -> str:
    """Returns a remark if an MPEG file without an index, which is read as far as libsndfile reads it, holds more than that.

    Such are files of Layer I or II, and those whose tag (VBRI, or Xing without a number of frames) leaves their length open.
    """
    held = held_seconds(path)
    if held is None or held <= info.duration_seconds + TRUNCATION_TOLERANCE_SECONDS:
        return ""
    more = held - info.duration_seconds
    return (
        f"{more:.2f} s follow after {info.duration_seconds:.2f} s, and are not used: its header leaves its length open, or "
        "files were joined; encode it anew, or split it"
    )


def _joined_links(links: tuple[str, ...]) -> ClipParts:
    """Opens each of the files that were joined, up to one that cannot be read or has another rate than the first."""
    parts: list[Part] = []
    with open_sound(links[0]) as (sound, samples):
        first, container = AudioInfo(sound.samplerate, sound.channels, samples), sound.format
    remark, is_exact = "", True
    for number, link in enumerate(links):
        try:
            with open_sound(link) as (sound, samples):
                info = AudioInfo(sound.samplerate, sound.channels, samples)
                is_exact &= sound.format != "OGG"
        except DecodeError as error:
            what, why = f"{len(links) - number} more joined files", f"the next is {error}"
        else:
            if info.sample_rate_hz == first.sample_rate_hz:
                parts.append(Part(link, info.channels, samples))
                continue
            what, why = f"{_seconds_of(links[number:]):.2f} s", f"of another sample rate ({info.sample_rate_hz} Hz)"
        remark = f"{what} follow after {_seconds(parts, first.sample_rate_hz):.2f} s, and are not used: {why}; split the file"
        break
    return ClipParts(
        dataclasses.replace(first, samples=sum(part.samples for part in parts)),
        tuple(parts),
        container,
        is_exact,
        remark,
    )


def _seconds(parts: list[Part], sample_rate_hz: int) -> float:
    return sum(part.samples for part in parts) / sample_rate_hz


def _seconds_of(links: tuple[str, ...]) -> float:
    seconds = 0.0
    for link in links:
        try:
            with open_sound(link) as (sound, samples):
                seconds += samples / sound.samplerate
        except DecodeError:
            pass  # its length is not known
    return seconds
