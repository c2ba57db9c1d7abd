"""A target that fails in every way, so that a test can see the net hold."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np

from fuzz.target import Prepared, Target, require


def _make(rng: random.Random) -> bytes:
    return rng.choice((b"fine", b"exception", b"crash", b"hang", b"memory", b"allocation"))


def _check(data: bytes) -> str:
    if data == b"exception":
        require(False, "on purpose")
    if data == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if data == b"hang":
        time.sleep(60)
    if data == b"memory":
        np.ones(100 << 20, np.uint8).sum()
    if data == b"allocation":
        np.empty(1 << 40, np.uint8)
    return data.decode()


def _prepare(folder: Path) -> Prepared:
    return Prepared(_make, _check)


TARGETS = {"net": Target("fails in every way", 0, _prepare, memory_mib=50)}
