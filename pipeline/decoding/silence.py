"""Whether a clip can be heard at all: what a decoder returns without an error may still be no sound."""

from __future__ import annotations

SILENT_PEAK = 2.0**-14  # -84 dB: opposite channels differ by a step of 16 bits where they were rounded; music does not
MIN_SECONDS = 0.1  # shorter clips are clicks, of which no model can say anything


def describe_silence(peak: float, seconds: float) -> str:
    """Returns why a clip has no sound, or "" where it has some.

    Channels that cancel each other (left = -right) are silent in mono, which is what a model hears.

    Args:
        peak: the largest absolute sample of the mono waveform, where full scale is 1.
        seconds: length of the clip.

    Returns:
        A reason such as "no sound: silent", or "".
    """
    if seconds < MIN_SECONDS:
        return f"no sound: shorter than {MIN_SECONDS:g} s"
    if not peak >= SILENT_PEAK:
        return "no sound: silent"
    return ""
