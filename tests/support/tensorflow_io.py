"""What marks the tests that require tensorflow-io, which has no release for Python 3.13."""

import sys

import pytest

# Nothing else excuses its absence: on earlier Pythons a test without it fails.
HAS_TENSORFLOW_IO = sys.version_info < (3, 13)
needs_tensorflow_io = pytest.mark.skipif(
    not HAS_TENSORFLOW_IO, reason="tensorflow-io has no release for this Python, and this test requires it"
)
# The decoders' names, as the values of a parameter.
DECODER_PARAMS = ("auto", "soundfile", pytest.param("tfio", marks=needs_tensorflow_io))
