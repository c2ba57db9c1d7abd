"""From waveforms to logits: front ends and networks as Keras layers."""
