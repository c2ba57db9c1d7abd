"""From waveforms to logits: front ends and networks as Keras layers.

Importing the package registers its layers with Keras, so that saved models load.
"""

from layers.front_ends import registry as front_ends
from layers.networks import registry as models

__all__ = ["front_ends", "models"]
