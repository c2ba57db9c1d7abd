"""Fuzzing: the readers of files that others made, against millions of inputs that nobody meant to make (`make fuzz`)."""
