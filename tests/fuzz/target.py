"""What a fuzz target is."""

import dataclasses
import random
from collections.abc import Callable, Mapping
from pathlib import Path


class PropertyError(AssertionError):
    """An answer that no input may have."""


def require(condition: object, what: str) -> None:
    if not condition:
        raise PropertyError(what)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A target in one process, after its imports.

    Attributes:
        make: an input from a generator, and from nothing else.
        check: tries one and names how it ended; raises where it should not have ended so.
    """

    make: Callable[[random.Random], bytes]
    check: Callable[[bytes], str]


@dataclasses.dataclass(frozen=True)
class Target:
    """Something that reads what others wrote.

    Attributes:
        about: one line.
        inputs: how many `make fuzz` tries; 0: none, unless it is asked for by name.
        prepare: given an empty folder for files, makes it ready in this process.
        memory_mib: what one input may add to the process's memory.
        environment: variables that a process has to be started with to check inputs; `prepare` and `make` do without.
    """

    about: str
    inputs: int
    prepare: Callable[[Path], Prepared]
    memory_mib: int = 256
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


def input_rng(name: str, seed: int, index: int) -> random.Random:
    """The generator of one input: the same on every machine, whatever was tried before it."""
    return random.Random(f"{name} {seed} {index}")
