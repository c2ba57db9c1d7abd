"""The addresses by which a page plays its clips."""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path
from urllib.parse import quote_from_bytes

from experiments.reporting.plots import data_uri
from pipeline.storage.clips import read_clip


def relative_url(path: str, folder: Path) -> str:
    """Returns the address of a file from a page in `folder`, percent-encoded byte by byte: a name need not be text."""
    return quote_from_bytes(os.fsencode(os.path.relpath(path, folder)), safe="/")


def embedded_url(path: str) -> str:
    """Returns a file's contents as its address."""
    return data_uri(read_clip(path), mimetypes.guess_type(path)[0] or "audio/mpeg")
