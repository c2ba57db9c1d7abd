"""Decodes Layer III natively: from the bits of frames to mono samples, in compiled kernels without Python's lock.

The way of a crop, a module a stage: `side_info` and `scale_factors` (what a granule's bits mean) → `huffman` (bits → values) →
`requantize` (values → lines of the spectrum, of the channels' mean where that is possible) → `hybrid` (lines → subbands) →
`synthesis` (subbands → samples). `lines` and `crops` put them together. What a mono crop at half the file's rate does not need
is not computed: the side channel, lines above its band, every second sample.

Source of all formulas: ISO/IEC 11172-3:1993, named "11172-3" in the modules.
"""
