"""Embeddings of clips on disk (--cache_embeddings), so that seeds, folds and sweeps need not compute them again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from pipeline.decoding.code_version import code_version
from pipeline.decoding.registry import get_decoder
from pipeline.storage.atomic import write_file
from pipeline.storage.clips import clip_version
from pipeline.storage.files import is_remote

_DIGEST_BYTES = hashlib.sha256().digest_size


class EmbeddingCache:
    """One small file a clip, by the clip's path and its file's size and time: another file, or other weights, have another.

    A file holds the numbers as float32 and their SHA-256. One that is damaged is not used. A clip whose file cannot be seen
    (on a remote file system) is not kept, and where nothing can be written, nothing is.

    Args:
        version: `ClipFeatures.version`, which stands for the weights and the front end.
        decoder: name of the decoder, whose code counts too.
        root: folder; default: `embeddings` in melstream's cache.
    """

    def __init__(self, version: str, decoder: str, root: Path | None = None) -> None:
        how = f"{version} {decoder} {code_version(get_decoder(decoder).is_compiled)}"
        self.folder = (root or default_root()) / hashlib.sha256(how.encode()).hexdigest()[:32]
        self._writable = True

    def read(self, path: str) -> np.ndarray | None:
        """Returns the embedding of a clip, float32 [units]; None if there is none, or none that is whole."""
        file = self._file(path)
        try:
            contents = file.read_bytes() if file else b""
        except OSError:
            return None
        body, digest = contents[:-_DIGEST_BYTES], contents[-_DIGEST_BYTES:]
        if not body or len(body) % 4 or hashlib.sha256(body).digest() != digest:
            return None
        return np.frombuffer(body, "<f4").astype(np.float32)

    def write(self, path: str, embedding: np.ndarray) -> None:
        """Keeps the embedding of a clip, float32 [units]; says once if it cannot."""
        file = self._file(path)
        if file is None or not self._writable:
            return
        body = embedding.astype("<f4").tobytes()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, body + hashlib.sha256(body).digest())
        except FileNotFoundError:
            pass  # another run, which computes the same, was quicker
        except OSError as error:
            self._writable = False
            print(f"warning: embeddings are not kept in {self.folder} ({error}); going on without")

    def _file(self, path: str) -> Path | None:
        changed, size = clip_version(path)
        if not size:
            return None
        name = path if is_remote(path) else str(Path(path).absolute())
        digest = hashlib.sha256(os.fsencode(name) + f" {changed} {size}".encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:40]}.f32"


def default_root() -> Path:
    """Returns the folder of the embeddings: below $XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "melstream" / "embeddings"
