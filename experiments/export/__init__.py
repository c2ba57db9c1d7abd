"""A run's best model in the formats that others load, checked before it is published."""
