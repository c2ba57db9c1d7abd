"""Augmentation on the device: of waveforms, of targets, and of images."""

from layers.keras_settings import require_tensorflow

require_tensorflow()
