"""How many folds: what --folds may be."""

from __future__ import annotations

ARTIST = "artist"  # instead of a number: each artist is a fold
MOST_FOLDS = 100  # of a number


def parse_folds(text: str) -> int | str:
    """Reads the value of --folds.

    Returns:
        A number from 2 to `MOST_FOLDS`, or `ARTIST`.

    Raises:
        ValueError: it is neither.
    """
    if text == ARTIST:
        return text
    if not text.isascii() or not text.isdigit() or not 2 <= int(text) <= MOST_FOLDS:
        raise ValueError(f"expected --folds as a whole number from 2 to {MOST_FOLDS}, or {ARTIST}, received {text!r}")
    return int(text)
