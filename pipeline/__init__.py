"""From paths to waveforms: catalogs, decoding, streaming datasets."""
