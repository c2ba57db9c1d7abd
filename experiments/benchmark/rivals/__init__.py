"""What users would pick instead of this pipeline: one module each, with one pass over the benchmark's crops.

Each needs a package of its own, which it imports when a pass is started.
"""
