"""From waveforms to logits: front ends and networks as Keras layers.

Importing the package registers its layers with Keras, so that saved models load.
"""

from layers import front_ends, models

__all__ = ["front_ends", "models"]
