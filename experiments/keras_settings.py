"""The settings of Keras that every script runs with, whatever those of its user are."""

from __future__ import annotations

import os
from pathlib import Path

# Keras reads keras.json in this folder instead of the one in ~/.keras: backend, floating-point type, order of an image's
# axes, epsilon. It keeps downloads in the same place, of which the scripts make none.
_HOME = Path(__file__).resolve().parent / "keras_home"
# What else Keras and tf.keras read from the environment, and what would change or end a training.
_OTHERS = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED", "TF_USE_LEGACY_KERAS")


def use_own_keras_settings() -> None:
    """Has Keras read the settings of this project in this process and those that it starts; call it before Keras is imported."""
    os.environ["KERAS_HOME"] = str(_HOME)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for name in _OTHERS:
        os.environ.pop(name, None)
