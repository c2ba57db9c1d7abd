"""How much memory this process has had at most, since it was last asked to forget (Linux)."""

import re
from pathlib import Path


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """Unlike getrusage's, which a process inherits from the one that started it, and which never falls."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024
