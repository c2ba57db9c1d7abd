"""Whether the package tensorflow-io is there, found out without importing it or TensorFlow."""

from __future__ import annotations

import importlib.util
import sys

# setup.cfg says why: for later Pythons tensorflow-io has no release.
_LAST_PYTHON = (3, 12)


class MissingOpsError(ValueError):
    """tensorflow-io is not installed, or its native library cannot be loaded."""


def require_tensorflow_io(use: str = "the decoder tfio", instead: str = "take the decoder auto") -> None:
    """Checks that tensorflow-io is installed.

    Args:
        use: what it is required for, in words for the message.
        instead: what does without it, in words for the message.

    Raises:
        MissingOpsError: it is not installed; the message says why, and what to do.
    """
    if importlib.util.find_spec("tensorflow_io") is not None:
        return
    reason, remedy = "is not installed", "install it (pip install tensorflow-io==0.37.1)"
    if sys.version_info[:2] > _LAST_PYTHON:
        reason = f"has no release for Python {sys.version_info[0]}.{sys.version_info[1]}"
        remedy = "run this with Python 3.11 or 3.12"
    raise MissingOpsError(f"expected tensorflow-io for {use}, but it {reason}: {remedy}, or {instead}")
