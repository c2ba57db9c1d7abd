"""Settings to parts: data, model, augmentation and objective."""
