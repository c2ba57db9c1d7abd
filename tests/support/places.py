"""Where the checkout is, and the shared real data beside it."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


def shared(name: str) -> Path:
    """A folder of the shared real data, or a skip that says why."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"the shared data set {name} is not beside this checkout")
    return path
