"""Compiles the kernels with numba, once: later processes read them from a cache that belongs to exactly these sources."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

_logger = logging.getLogger(__name__)


def kernel(function: Function, inline: str = "never") -> Function:
    """Compiles a function when it is first called; it then runs without Python's lock, and divides as NumPy does.

    Sums are added in the order in which they are written, so that every compilation gives the same bits.
    """
    folder = _writable_cache_folder()
    # No wrapper for C: nothing calls it, and it would be compiled again with every kernel that calls this one.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "inline": inline, "no_cfunc_wrapper": True}
    if folder is None:
        return numba.njit(**options)(function)
    # Numba takes the folder from its settings when a function is decorated; librosa's stay where they are.
    settings: Any = numba.config
    before, settings.CACHE_DIR = settings.CACHE_DIR, folder
    try:
        return numba.njit(cache=True, **options)(function)
    finally:
        settings.CACHE_DIR = before


def inlined_kernel(function: Function) -> Function:
    """Makes a function a part of the one kernel that calls it.

    Numba optimizes what a kernel calls again with the kernel, all the way up: one level less is a tenth less to compile.
    """
    return kernel(function, "always")


def cache_folder() -> Path:
    """Returns where the compiled kernels are kept.

    Numba knows that a function is outdated by its own file alone, but kernels contain those of other files: the folder's name
    changes with any of them.
    """
    digest = hashlib.sha256()
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "melstream" / f"kernels-{digest.hexdigest()[:12]}"


@functools.cache
def announce_compiling() -> None:
    """Says, before the first kernel is called, that it will be compiled, unless the cache holds it."""
    folder = _writable_cache_folder()
    if folder is not None and not any(Path(folder).glob("**/*.nbi")):
        _logger.warning("Compiling the MP3 decoder, once on this machine (about 17 s)")


@functools.cache
def _writable_cache_folder() -> str | None:
    """Makes the folder; returns None, and says so once, if that is impossible."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}"
        probe.touch()
        probe.unlink()
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        _logger.warning(
            "The MP3 decoder is compiled anew in every process (20 s): its cache cannot be written: %s", error
        )
        return None
    return str(folder)
