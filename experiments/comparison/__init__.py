"""Several models trained alike, and compared on the same clips."""
