"""What a decoder is: the functions that its module offers, and how the datasets call them."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf


# Larger samples are damage: their powers overflow in a spectrogram. Integers of 32 bits that were saved as they are pass.
MAX_SAMPLE = 1e10


class DecodeError(ValueError):
    """A file holds no usable audio where it was asked for. The message is the reason, without the path."""


@dataclasses.dataclass(frozen=True, slots=True)
class AudioInfo:
    """A file's rate, channels and length, from its header; an MP3's frames are counted if its header gives no length.

    Attributes:
        sample_rate_hz: the file's own rate.
        channels: number of channels.
        samples: length in samples at that rate.
    """

    sample_rate_hz: int
    channels: int
    samples: int

    @property
    def duration_seconds(self) -> float:
        """The length in seconds."""
        return self.samples / self.sample_rate_hz


class PythonDecoder(Protocol):
    """The module of a decoder that runs as Python code: paths are strings and waveforms are NumPy arrays.

    `decode_batch`, or `decode_crops`, `find_remark` and `prepare` may be left out: then each crop is decoded alone, there
    are no remarks, and nothing to do before the first crop.
    """

    def decode_crop(self, path: str, sample_rate_hz: int, crop_samples: int, position: float) -> np.ndarray:
        """Decodes a crop to float32 [crop_samples], or the whole clip with `crop_samples=0`; raises DecodeError."""

    def decode_crops(
        self, path: str, sample_rate_hz: int, crop_samples: int, positions: Sequence[float]
    ) -> list[np.ndarray | DecodeError]:
        """Decodes several crops of one clip; returns for each what `decode_crop` returns or raises."""

    def decode_batch(
        self, paths: Sequence[str], sample_rate_hz: int, crop_samples: int, positions: Sequence[float]
    ) -> tuple[np.ndarray, list[DecodeError | None]]:
        """Decodes a batch of crops; returns them, padded to the longest, and the error of each that has one."""

    def count_windows(self, path: str, crop_seconds: float) -> int:
        """Returns how many windows cover a clip, and 1 for a clip that cannot be decoded."""

    def prepare(self) -> None:
        """Does what takes long once in a process."""

    def find_remark(self, path: str) -> str:
        """Returns what the user of a clip should know although it can be decoded, or ""."""


class GraphDecoder(Protocol):
    """The module of a decoder that consists of graph ops: paths and waveforms are tensors."""

    def decode_crop(
        self, path: tf.Tensor, sample_rate_hz: int, crop_samples: int, position: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Decodes a crop; returns the waveform and the reason why it is silence, which is empty unless it is."""

    def count_windows(self, path: tf.Tensor, crop_seconds: float) -> tf.Tensor:
        """Returns how many windows cover a clip, int64 scalar, and 1 for a clip that cannot be decoded."""

    def load_ops(self) -> Any:
        """Loads the native ops, which a process must do before it receives a graph that uses them."""


@dataclasses.dataclass(frozen=True)
class Decoder:
    """One entry of the registry.

    Attributes:
        module: name of its module in `pipeline.decoding`, a `PythonDecoder` or a `GraphDecoder`.
        summary: a few words for the help of a command.
        is_graph_native: whether it is a `GraphDecoder`. A graph of such a decoder holds all of it; one of a
            `PythonDecoder` calls it in the process in which the graph runs.
        is_compiled: whether numba compiles it for the processor at hand, so that another model may give other last bits.
        check_package: raises ValueError if a package that the decoder requires is not installed. It imports neither the
            package nor TensorFlow. May be called with two texts for the message: what the decoder is required for, and
            what does without it.
    """

    module: str
    summary: str
    is_graph_native: bool = False
    is_compiled: bool = False
    check_package: Callable[..., None] = lambda *_: None

    def load(self) -> Any:
        """Imports the decoder's module, which may take seconds, and returns it."""
        return _load(self.module)

    def prepare(self) -> Any:
        """Does the same, and before the first crop what takes long once in a process, such as compiling."""
        module = self.load()
        getattr(module, "prepare", lambda: None)()
        return module


@functools.cache  # AutoGraph, which warns of imports that it cannot convert, does not look into a cached function
def _load(module: str) -> Any:
    return importlib.import_module(f"pipeline.decoding.{module}")
