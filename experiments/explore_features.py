"""Shows the features of a data set before training: principal components, mean images, and how separable labels are.

    python -m experiments.explore_features --dataset=fma --data_dir=/data/fma --subset=small --genres=Rock,Hip-Hop \\
        --output_dir=features/rock_hiphop

Streams every clip through the front end that a model with the same flags would have; nothing is stored but a small
vector for each clip (--vector=statistics), or nothing at all (--vector=image, which decodes every clip twice). Takes about
as long as an epoch of training without the network: 15 s for a hundred clips of 30 s on two CPU cores.

Writes features_pca.csv and features_pca.png (each clip on two principal components), genres.png (mean log-mel image
and examples of each label), features.json (explained variance, silhouette, score of the nearest neighbours in
cross-validation with artists kept together) and failures.csv.
"""

from pathlib import Path

from absl import flags

from experiments import console, settings_flags
from experiments.flag_types import define_path

settings_flags.define_flags("data", "features")
_OUTPUT_DIR = define_path("output_dir", "features", "Where to write.")
_SPLIT = flags.DEFINE_enum("split", "training", ("training", "validation", "test", "all"), "Clips to explore.")
_VECTOR = flags.DEFINE_enum(
    "vector",
    "statistics",
    ("statistics", "image"),
    "What a clip is. statistics: mean and standard deviation over time of each mel band; image: the flattened log-mel "
    "image of its middle crop.",
)


def main(argv: list[str]) -> None:
    del argv
    from experiments.exploration import features as exploration

    output_dir = Path(_OUTPUT_DIR.value)
    own = settings_flags.settings_from_flags(flags.FLAGS)
    print(exploration.format_exploration(exploration.explore(own, output_dir, _SPLIT.value, _VECTOR.value)))
    print(f"written to {output_dir}")


if __name__ == "__main__":
    console.run(main, resumable=False)
