"""Networks: functions from an image, or the waveform itself, to an embedding [batch, units]."""

from layers.keras_settings import require_tensorflow

require_tensorflow()
