"""Shows what augmentation does to real clips: log-mel images before and after, a picture for each augmentation.

    python -m experiments.show_augmentation --dataset=fma --data_dir=/data/fma --random_eq_db=6 \\
        --spec_augment_time_masks=2 --spec_augment_mel_masks=2 --output_dir=augmentation

Takes the augmentation flags of train, and draws as train does for its first two steps; seconds. Writes one PNG for each
augmentation that is on, and all.png with all of them together, where there are several.
"""

from absl import flags

from experiments import console, settings_flags
from experiments.flag_types import define_number, define_path

settings_flags.define_flags("data", "features", "training")
_OUTPUT_DIR = define_path("output_dir", None, "Where the pictures go; made where missing.", required=True)
_CLIPS = define_number("clips", 3, "Training clips to show, of as many labels as there are.", minimum=1, limit=20)


def main(argv: list[str]) -> None:
    del argv
    from pathlib import Path

    from experiments.exploration.augmentation import write_pictures

    for path in write_pictures(settings_flags.settings_from_flags(flags.FLAGS), Path(_OUTPUT_DIR.value), _CLIPS.value):
        print(path)


if __name__ == "__main__":
    console.run(main, resumable=False)
