"""Adam as the settings describe it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from experiments.builders.backbone import HEAD
from experiments.settings import Settings


def make_optimizer(settings: Settings) -> keras.optimizers.Optimizer:
    """Makes the optimizer of a run: Adam, with another learning rate for the backbone where the settings ask for it."""
    if settings.backbone_learning_rate is None:
        return keras.optimizers.Adam(settings.learning_rate)
    return BackboneAdam(settings.learning_rate, settings.backbone_learning_rate / settings.learning_rate)


@keras.saving.register_keras_serializable(package="melstream")
class BackboneAdam(keras.optimizers.Adam):
    """Adam whose learning rate is that of a model's last dense layer; all others have a fixed multiple of it.

    So a schedule that changes `learning_rate` scales both. The updates are scaled, not the gradients, whose size Adam's
    updates do not depend on.

    Args:
        learning_rate: of the last dense layer.
        backbone_multiplier: the learning rate of the other layers over that.
        **kwargs: of `keras.optimizers.Adam`.
    """

    def __init__(self, learning_rate: Any = 1e-3, backbone_multiplier: float = 1.0, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.backbone_multiplier = backbone_multiplier
        self._multipliers: list[float] = []

    def build(self, var_list: Sequence[keras.Variable]) -> None:
        """Makes the state of these variables, and finds out which of them are the last dense layer's."""
        if not self.built:
            self._multipliers = [
                1.0 if variable.path.startswith(f"{HEAD}/") else self.backbone_multiplier for variable in var_list
            ]
        super().build(var_list)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Updates one variable, on one copy of the model."""
        multiplier = self._multipliers[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * multiplier)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "backbone_multiplier": self.backbone_multiplier}
