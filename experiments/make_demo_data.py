"""Writes the demo data set: synthetic music in three styles as real MP3s, in the Free Music Archive's layout.

    python -m experiments.make_demo_data --data_dir=data/demo

The clips are made by a program, the artists are made up: good for trying the commands, not for judging a classifier.
Takes under a minute; the same seed gives the same bytes. One file is broken on purpose, to show the failure ledger.
"""

from experiments import console
from experiments.flag_types import define_number, define_path
from pipeline.demo.dataset import write_demo_data

_DATA_DIR = define_path("data_dir", "data/demo", "Where to write it: a new folder.")
_PLANTED_DIR = define_path(
    "planted_dir",
    None,
    "Also write clips.csv here, the same clips for --dataset=csv with a wrong label and a copy of a clip planted: for audit_data.",
)
_SEED = define_number("seed", 0, "Seed of the music.", minimum=0, maximum=2**32 - 1)


def main(argv: list[str]) -> None:
    del argv
    path = write_demo_data(
        _DATA_DIR.value, _SEED.value, lambda items, total: console.progress(items, total, "demo clips")
    )
    print(f"synthetic demo data: {path} (see {path}/README.txt)")
    if _PLANTED_DIR.value:
        from pipeline.catalogs.demo import load_demo
        from pipeline.demo.planted import plant_faults

        print(f"with a wrong label and a copy planted: {plant_faults(load_demo(str(path)).tracks, _PLANTED_DIR.value)}")


if __name__ == "__main__":
    console.run(main)
