"""What decides the bits of a decoded crop besides the file: this project's code, and the packages that it calls."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Iterable
from pathlib import Path

from pipeline.decoding.sound_files import libsndfile_version

_PIPELINE = Path(__file__).parent.parent
_PACKAGES = ("numba", "numpy", "soundfile", "soxr")


@functools.cache
def code_version(is_compiled: bool) -> str:
    """Returns a word that two processes have in common only if they decode by the same code, packages and kind of processor.

    Args:
        is_compiled: whether the decoder is compiled for the processor at hand: then its very model counts.
    """
    digest = hashlib.sha256()
    for path in _sources([_PIPELINE / name for name in ("decoding", "mp3", "storage", "windows.py")]):
        contents = path.read_bytes()
        digest.update(f"{path.relative_to(_PIPELINE)} {len(contents)} ".encode() + contents)
    versions = [f"{name} {_installed(name)}" for name in _PACKAGES]
    digest.update(" ".join([*versions, "libsndfile", libsndfile_version(), platform.machine()]).encode())
    if is_compiled:
        from llvmlite import binding

        digest.update(f" {binding.get_host_cpu_name()} {sorted(binding.get_host_cpu_features().items())}".encode())
    return digest.hexdigest()[:12]


def _sources(places: Iterable[Path]) -> list[Path]:
    """Returns the files of the code, without those that Python, numba or an editor makes of them."""
    found = [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*")))]
    return [
        path
        for path in found
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".") and path.name[-1] != "~"
    ]


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
