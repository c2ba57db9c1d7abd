"""A small synthetic data set in FMA's layout, for demonstration and tests."""
