"""Labels for audio files by an exported model."""
