"""What all pictures share: matplotlib without a screen, and how a figure becomes a file.

Each package that draws has its pictures in its own `plots.py`.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

from pipeline.storage.atomic import atomic_write

matplotlib.use("Agg")

from matplotlib import pyplot as plt

matplotlib.rcdefaults()  # a matplotlibrc of the user is for other pictures


def save_figure(figure: plt.Figure, path: Path) -> None:
    """Writes a figure whole and closes it."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)
