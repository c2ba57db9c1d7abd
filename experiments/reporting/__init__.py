"""A run's report: one HTML page to see and hear what the model got wrong."""
