"""From a clip's bytes to a waveform: one module for each decoder, their registry, and decoding inside tf.data.

`decode_crop` and `read_info` are those of the default decoder. They are imported when they are first asked for, so that
the registry can be read without them.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["DecodeError", "decode_crop", "read_info"]


def __getattr__(name: str) -> Any:
    if name == "DecodeError":
        return importlib.import_module("pipeline.decoding.decoder").DecodeError
    if name in __all__:
        return getattr(importlib.import_module("pipeline.decoding.registry").default_decoder(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
