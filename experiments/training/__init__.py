"""Training: the loop, its steps and checkpoints, several hosts, and baselines without a network."""
