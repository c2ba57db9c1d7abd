"""A look at features and augmentation before training."""
