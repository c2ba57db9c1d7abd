"""The kinds of data set by name, each with the function that loads one as a catalog.

To add a kind, write its loader in a file of this folder and list it in `SOURCES`. The names can be read without loading
pandas or TensorFlow: a loader is imported when it is first used.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.catalogs.catalog import Catalog


@dataclasses.dataclass(frozen=True)
class Source:
    """One entry of the registry.

    Attributes:
        loader: the function that loads the data set, as "module:function". Its first parameter is the place of the data
            set; its other parameters are named after settings.
        data_dir: what its place must be, in words for the flag --data_dir.
        seed_splits: whether the seed decides which split a clip is in, unless a table says so.
        has_subsets: whether `--subset` chooses among its tracks.
        is_packed: whether its clips are copies that `pack_records` made of another data set's.
    """

    loader: str
    data_dir: str
    seed_splits: bool = False
    has_subsets: bool = False
    is_packed: bool = False

    def load_function(self) -> Callable[..., Catalog]:
        """Imports the loader."""
        module, _, function = self.loader.partition(":")
        return getattr(importlib.import_module(module), function)


_FMA_FOLDER = "folder with fma_metadata/ and fma_small/ …"

SOURCES: dict[str, Source] = {
    "fma": Source("pipeline.catalogs.fma:load_fma", _FMA_FOLDER, has_subsets=True),
    "folders": Source("pipeline.catalogs.folders:load_folders", "root of <label>/**/*.mp3", seed_splits=True),
    "csv": Source(
        "pipeline.catalogs.table:load_csv",
        "the table itself (columns path, label, optionally split, artist, album, title, track_id)",
        seed_splits=True,
    ),
    "demo": Source("pipeline.catalogs.demo:load_demo", _FMA_FOLDER),
    "records": Source("pipeline.catalogs.records:load_records", "what pack_records wrote", is_packed=True),
}


def get_source(name: str) -> Source:
    """Looks a kind of data set up by name.

    Raises:
        ValueError: there is none of that name; the message lists the names, nearest first.
    """
    if name not in SOURCES:
        nearest = difflib.get_close_matches(name, SOURCES, n=len(SOURCES), cutoff=0.0)
        raise ValueError(f"expected a kind of data set, received {name!r}; choose one of: {', '.join(nearest)}")
    return SOURCES[name]


def load_source(name: str, data_dir: str, **settings: Any) -> Catalog:
    """Loads a data set with those of the settings that its loader has a parameter for.

    Args:
        name: one of `SOURCES`.
        data_dir: its place.
        settings: such as `genres`, `seed` or `subset`; those that the loader does not know are left out.

    Raises:
        ValueError: there is no kind of data set of that name, or (a `CatalogError`) the data set cannot be used.
    """
    load = get_source(name).load_function()
    _, *known = inspect.signature(load).parameters
    return load(data_dir, **{key: value for key, value in settings.items() if key in known})


def data_dir_help() -> str:
    """One sentence that says what the place of each kind of data set is, such as "records: what pack_records wrote"."""
    names: dict[str, list[str]] = {}
    for name, source in SOURCES.items():
        names.setdefault(source.data_dir, []).append(name)
    return "; ".join(f"{', '.join(kinds)}: {place}" for place, kinds in names.items()) + "."
