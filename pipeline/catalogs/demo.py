"""The demo data set as a catalog: synthetic music in the Free Music Archive's layout, made where it is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pipeline.catalogs.catalog import Catalog
from pipeline.catalogs.fma import load_fma
from pipeline.demo.dataset import write_demo_data


def load_demo(
    data_dir: str,
    subset: str = "small",
    genres: Sequence[str] = (),
    keep_known_bad_clips: bool = False,
    multi_label: bool = False,
    progress: Callable[[Iterable, int], Iterable] | None = None,
) -> Catalog:
    """Writes the demo data set unless it is there, and loads it as `load_fma` does.

    Args:
        data_dir: its folder: a new or an empty one, or one that holds the demo data set.
        subset: as in `load_fma`, as are the next three.
        genres: labels to keep; empty means all.
        keep_known_bad_clips: whether to keep clips with the ids of FMA's bad ones.
        multi_label: whether a clip may have several labels.
        progress: wraps the clips while they are made, given their number, for a progress bar.

    Raises:
        ValueError: the folder holds something else.
    """
    write_demo_data(data_dir, progress=progress)
    return load_fma(data_dir, subset, genres, keep_known_bad_clips, multi_label)
