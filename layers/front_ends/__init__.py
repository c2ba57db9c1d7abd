"""Front ends: Keras layers from a waveform [batch, samples] to an image [batch, frames, n_mels, 1]."""

from layers.keras_settings import require_tensorflow

require_tensorflow()
