"""Commands: absl flags to settings to one call each. Run as `python -m experiments.<name>`."""

import os

__version__ = "0.2.0"

# TensorFlow reads this when it is imported, which every command does only after its flags have been parsed.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
