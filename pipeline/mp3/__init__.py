"""What an MP3's bytes say: frame headers, the true length, and excerpts that decode to the same samples."""
