"""The musicnn package as PyPI has it, in what this project reads of it: a wheel with a checkpoint of TensorFlow 1."""

import tempfile
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf

# What a checkpoint holds, as the original's code made it: the shapes of the kernels and the channels of the batch norms.
KERNELS = {
    "conv2d": (7, 38, 1, 204),
    "conv2d_1": (7, 67, 1, 204),
    "conv2d_2": (128, 1, 1, 51),
    "conv2d_3": (64, 1, 1, 51),
    "conv2d_4": (32, 1, 1, 51),
    "conv2d_5": (7, 561, 1, 64),
    "conv2d_6": (7, 64, 1, 64),
    "conv2d_7": (7, 64, 1, 64),
    "dense": (1506, 200),
    "dense_1": (200, 50),
}
NORMALIZED = {
    "batch_normalization" + f"_{number}" * (number > 0): channels
    for number, channels in enumerate((1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200))
}
TAGS = [f"tag {i}" for i in range(50)]
LICENCE = "ISC License\nCopyright (c) 2019, Music Technology Group, Universitat Pompeu Fabra"


def make_checkpoint(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random values of every weight, by the names of the original's checkpoints."""
    shapes = {f"{name}/kernel": shape for name, shape in KERNELS.items()}
    shapes |= {f"{name}/bias": shape[-1:] for name, shape in KERNELS.items()}
    for name, channels in NORMALIZED.items():
        shapes |= {f"{name}/{weight}": (channels,) for weight in ("gamma", "beta", "moving_mean", "moving_variance")}
    return {name: rng.uniform(0.1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def write_wheel(path: Path, checkpoints: dict[str, dict[str, np.ndarray]], tags_of: str = "LABELS") -> Path:
    """Writes a wheel with a checkpoint for each of the letters, MSD and MTT, by TensorFlow 1's own saver."""
    with zipfile.ZipFile(path, "w") as archive, tempfile.TemporaryDirectory() as folder:
        for letters, values in checkpoints.items():
            with tf.Graph().as_default(), tf.compat.v1.Session() as session:
                tf.compat.v1.disable_resource_variables()
                try:
                    for name, value in values.items():
                        tf.compat.v1.get_variable(name, initializer=value)
                    tf.compat.v1.get_variable("dense/kernel/Adam", initializer=np.zeros((1506, 200), np.float32))
                finally:
                    tf.compat.v1.enable_resource_variables()
                session.run(tf.compat.v1.global_variables_initializer())
                tf.compat.v1.train.Saver().save(session, f"{folder}/{letters}/model")
            for file in Path(folder, letters).glob("model.*"):
                archive.write(file, f"musicnn/{letters}_musicnn/{file.name.removeprefix('model')}")
        lists = "".join(f"{letters}_{tags_of} = {TAGS}\n\n" for letters in checkpoints)
        archive.writestr("musicnn/configuration.py", f"raise SystemExit('this is not run')\nSR = 16000\n{lists}")
        archive.writestr("musicnn-0.1.0.dist-info/LICENSE.md", LICENCE)
    return path
