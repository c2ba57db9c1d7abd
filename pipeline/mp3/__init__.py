"""Parses the bytes of MP3s: frame headers, the true length, and excerpts that decode to the same samples."""
