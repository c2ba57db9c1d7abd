"""Bytes to a waveform: one module a decoder, and the batches that datasets make of them."""
