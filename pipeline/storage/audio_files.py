"""Which files of a folder are audio, by their names."""

from __future__ import annotations

from pathlib import Path

AUDIO_SUFFIXES = frozenset(
    (".mp3", ".flac", ".ogg", ".oga", ".opus", ".wav", ".aif", ".aiff", ".aifc", ".au", ".caf", ".mp2", ".rf64", ".w64")
)


def find_audio(root: Path, pattern: str = "**/*") -> list[Path]:
    """Lists the audio files below a folder in order of path, without hidden files.

    Args:
        root: the folder.
        pattern: which files to look at, as for `Path.glob`.
    """
    return sorted(
        file
        for file in root.glob(pattern)
        if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file() and not file.name.startswith(".")
    )
