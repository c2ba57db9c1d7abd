"""Music that tests make, and real MP3s of it."""

from pathlib import Path

import numpy as np
import soundfile

from pipeline.mp3 import frames as mp3_frames


def music(seconds: float, sample_rate_hz: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """A reproducible piece [samples, channels]: gliding tones and clicks, different at every moment and channel."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    columns = []
    for _ in range(channels):
        start_hz, end_hz = rng.uniform(200, 800), rng.uniform(800, 3000)
        tone = 0.3 * np.sin(2 * np.pi * (start_hz * time + (end_hz - start_hz) * time**2 / (2 * max(seconds, 1e-9))))
        clicks = np.where(rng.random(len(time)) < 20 / sample_rate_hz, rng.uniform(-0.5, 0.5, len(time)), 0)
        columns.append(tone + clicks + 0.01 * rng.standard_normal(len(time)))
    return np.stack(columns, axis=1).astype(np.float32)


def write_mp3(path: Path, audio: np.ndarray, sample_rate_hz: int, variable: bool = False, quality: float = 0.5) -> Path:
    """Encodes [samples, channels] with LAME."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(
        path,
        audio,
        sample_rate_hz,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE" if variable else "CONSTANT",
        compression_level=quality,
    )
    return path


def without_length_tag(data: bytes) -> bytes:
    """The stream after its Xing/Info frame, as some encoders and cutters leave it."""
    offset, header = mp3_frames.find_frame(data, mp3_frames.skip_id3v2(data))
    assert mp3_frames.has_length_tag(data, offset, header)
    return data[offset + header.frame_bytes :]


def count_frames(data: bytes, offset: int, header: mp3_frames.FrameHeader) -> int:
    """Counts the frames of a stream from `offset` on, over any junk between them, in the simplest way: one after the other."""
    count = 0
    found: tuple[int, mp3_frames.FrameHeader] | None = (offset, header)
    while found is not None and mp3_frames.is_same_stream(header, found[1]):
        *frames, end = mp3_frames.walk(data, *found)
        count += len(frames)
        found = mp3_frames.find_frame(data, end + 1)
    return count
