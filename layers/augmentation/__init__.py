"""Augmentation on the device: of waveforms, of targets, and of images."""
