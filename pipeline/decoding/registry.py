"""The decoders by name. This module imports neither a decoder nor TensorFlow, so that settings and flags can list them."""

from __future__ import annotations

from typing import Any

from pipeline.decoding.decoder import Decoder
from pipeline.decoding.tfio_package import require_tensorflow_io

DECODERS: dict[str, Decoder] = {
    "auto": Decoder(
        "auto_decoder", "MP3s by kernels of our own, three times as fast, all else by soundfile", is_compiled=True
    ),
    "soundfile": Decoder("soundfile_decoder", "libsndfile and soxr: every format"),
    "tfio": Decoder(
        "tfio_decoder",
        "MP3s by graph ops alone, several times slower; requires tensorflow-io (Python 3.11, 3.12)",
        is_graph_native=True,
        check_package=require_tensorflow_io,
    ),
}
DEFAULT_DECODER = "auto"
MAX_WORKERS = 1024  # parallel decodes: more than any machine has cores


def decoder_help() -> str:
    """Returns one sentence about all decoders, for the help of a command."""
    return "; ".join(f"{name}: {decoder.summary}" for name, decoder in DECODERS.items()) + "."


def default_decoder() -> Any:
    """Imports and returns the module of the default decoder, a `PythonDecoder`."""
    return DECODERS[DEFAULT_DECODER].load()


def get_decoder(name: str) -> Decoder:
    """Looks a decoder up by name.

    Raises:
        ValueError: there is none of that name; the message lists the names.
    """
    if name not in DECODERS:
        raise ValueError(f"expected decoder to be one of {', '.join(DECODERS)}, received {name!r}")
    return DECODERS[name]
