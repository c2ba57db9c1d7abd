"""Networks: functions from an image, or the waveform itself, to an embedding [batch, units]."""
