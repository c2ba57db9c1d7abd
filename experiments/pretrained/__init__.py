"""Weights that others have trained: fetched once, converted, kept in a cache."""
