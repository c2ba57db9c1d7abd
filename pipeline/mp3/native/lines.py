"""From the bytes of frames to the lines of the spectrum of each granule, of the mean of the channels."""

from __future__ import annotations

import numpy as np

from pipeline.mp3.native.bits import read_bits, words_of
from pipeline.mp3.native.compiled import kernel
from pipeline.mp3.native.huffman import CONTRADICTORY, VALUES, read_values
from pipeline.mp3.native.requantize import add_lines
from pipeline.mp3.native.scale_factors import MAX_SCALE_FACTORS, read_mpeg_2_scale_factors, read_scale_factors
from pipeline.mp3.native.side_info import (
    BLOCK_TYPE,
    GLOBAL_GAIN,
    MIXED_BLOCK,
    PARAMETERS,
    PART2_3_LENGTH,
    read_side_info,
)

# Why a crop is not decoded here. libsndfile decodes it, or says what is wrong.
(
    DECODED,
    FRAMES_MISSING,
    FRAME_TOO_SHORT,
    BAD_SIDE_INFO,
    RESERVOIR_MISSING,
    BITS_OVERRUN,
    BAD_VALUES,
    INTENSITY_STEREO,
    SAMPLES_TOO_LARGE,
    MIXED_MPEG_2,
    CUT_VALUES,
    LOUD_SIDE,
) = range(12)
REASONS = (
    "",
    "frames are missing",
    "a frame is shorter than its side information",
    "side information that contradicts itself",
    "bits that stand in an earlier frame are missing",
    "more bits than the frames hold",
    "values that need more bits than they have",
    "intensity stereo",
    "samples that are no sound",
    "mixed blocks of MPEG-2",
    "the last values of a short block are cut off",
    "a difference of the channels far beyond full scale",
)
# What a block with broken values may read beyond its bits: 288 pairs of at most 19 + 2 * (13 + 1) bits, and some more.
_PADDING_WORDS = 600
# A louder difference of the channels is damage, and its rounding in libmpg123's two channels is heard in their mean.
_LOUDEST_SIDE_GAIN = 230
_RESERVOIR_BYTES, _MPEG_2_RESERVOIR_BYTES = 511, 255
MIXED = 4  # what is added to a block's type if its two lowest subbands are long


@kernel
def granules_of_frame(data):
    """Returns how many granules each frame has: two of MPEG-1, one of MPEG-2 and 2.5.

    Args:
        data: uint8, beginning with a frame.
    """
    return 2 if data[1] & 0x08 else 1


@kernel
def main_words(data_bytes):
    """Returns how many words the main data of so many bytes of frames takes at most."""
    return data_bytes // 4 + _PADDING_WORDS


@kernel
def join_frames(data, size, frame_bytes, channels, places, main, main_begin, words):
    """Finds frames that follow one another, and joins their main data, where a frame's bits may begin in an earlier one.

    Source: 11172-3 2.4.3.4.2.

    Args:
        data: uint8 [size + 8 or more], the bytes of whole frames of one Layer III stream, without a gap.
        size: how many of them are the frames'.
        frame_bytes: int32 [256], length of a frame for each third byte of its header, 0 for one that is not of the stream.
        channels: 1 or 2.
        places: int64 [frames + 1], the result: where each frame begins, and where the last one ends.
        main: uint8 [4 * words], working memory.
        main_begin: int64 [frames + 1], the result: where each frame's main data begins, and where the last one's ends.
        words: uint64, the result: at least `main_words(size)` words of main data, the last ones being 0.

    Returns:
        DECODED, or why the frames cannot be decoded here.
    """
    frames = len(places) - 1
    if _walk(data, size, frame_bytes, channels, places) < frames:
        return FRAMES_MISSING
    side_bytes = (17, 32) if granules_of_frame(data) == 2 else (9, 17)
    head_bytes = 4 + side_bytes[channels - 1]
    main_begin[0] = 0
    for frame in range(frames):
        begin = places[frame] + head_bytes + (0 if data[places[frame] + 1] & 1 else 2)
        length = places[frame + 1] - begin
        if length < 0:
            return FRAME_TOO_SHORT
        main_begin[frame + 1] = main_begin[frame] + length
        target, source = main[main_begin[frame] : main_begin[frame + 1]], data[begin : begin + length]
        for byte in range(length):
            target[byte] = source[byte]
    end = main_begin[frames]
    word_count = main_words(end)
    for byte in range(end, 4 * word_count):
        main[byte] = 0
    words_of(main, words[:word_count])
    return DECODED


@kernel
def decode_lines(
    data,
    places,
    main_begin,
    words,
    channels,
    first_frame,
    is_beginning,
    long_edges,
    short_edges,
    blocks,
    lines,
    other_lines,
    is_requantized=True,
):
    """Decodes the lines of granules that follow one another.

    Args:
        data, places, main_begin, words, channels: as `join_frames` leaves them.
        first_frame: number of the frame that the first granule is in.
        is_beginning: whether the first of all frames is the stream's first: what lacks bits from before it is silence then,
            as in libmpg123.
        long_edges: int32 [23], and `short_edges` [14]: the stream's bands (see `bands`).
        blocks: int8 [granules, 2], the result: the block type of both channels, plus MIXED for mixed blocks; whole frames.
        lines: float32 [granules, lines], the result: the mean of the channels where their blocks are of one type, else half
            of the first channel.
        other_lines: float32 [granules, lines], the result where they differ: half of the second channel. Else untouched.
        is_requantized: False leaves out the last step, to measure the others: the lines are then 0.

    Returns:
        DECODED, or why the granules cannot be decoded here.
    """
    version, granules = (data[1] >> 3) & 3, granules_of_frame(data)
    reservoir_bytes = _RESERVOIR_BYTES if granules == 2 else _MPEG_2_RESERVOIR_BYTES
    side = np.zeros((2, 2, PARAMETERS), np.int32)
    begin_before = 0
    if first_frame:
        place = places[first_frame - 1] + (4 if data[places[first_frame - 1] + 1] & 1 else 6)
        begin_before = main_begin[first_frame - 1] - read_bits(data, place * 8, 9 if granules == 2 else 8)
    factors = np.zeros((2, MAX_SCALE_FACTORS), np.int32)
    values = np.zeros(VALUES, np.int16)
    for frame in range(first_frame, first_frame + len(blocks) // granules):
        place = places[frame]
        is_joint = (data[place + 3] >> 6) == 1
        is_mid_side = is_joint and (data[place + 3] & 0x20) != 0
        if is_joint and data[place + 3] & 0x10:
            return INTENSITY_STEREO
        side_place = place + (4 if data[place + 1] & 1 else 6)
        back = read_side_info(data, side_place * 8, channels, long_edges, side, version)
        if back < 0:
            return BAD_SIDE_INFO
        begin = main_begin[frame] - back
        if back > min(main_begin[frame], reservoir_bytes):
            # Silence, as in libmpg123, which with a checksum destroys some of the frame's bits as well.
            if not is_beginning or not data[place + 1] & 1:
                return RESERVOIR_MISSING
            side[:] = 0
            begin = max(begin, 0)
        if begin < begin_before:  # libmpg123 keeps the bits of one frame before, from where its own begin
            return RESERVOIR_MISSING
        begin_before = begin
        position = begin * 8
        for granule in range(granules):
            row = granules * (frame - first_frame) + granule
            lines[row] = 0
            first = side[granule, 0]
            other = side[granule, channels - 1]
            blocks[row, 0] = first[BLOCK_TYPE] + (MIXED if first[MIXED_BLOCK] else 0)
            blocks[row, 1] = other[BLOCK_TYPE] + (MIXED if other[MIXED_BLOCK] else 0)
            for channel in range(channels):
                current = side[granule, channel]
                end = position + current[PART2_3_LENGTH]
                if end > main_begin[frame + 1] * 8:
                    return BITS_OVERRUN
                if granules == 2:
                    position = read_scale_factors(words, position, current, factors[channel])
                elif current[BLOCK_TYPE] == 2 and current[MIXED_BLOCK]:
                    return MIXED_MPEG_2
                else:
                    position = read_mpeg_2_scale_factors(words, position, current, factors[channel])
                if position > end:
                    return BITS_OVERRUN
                differs = blocks[row, 0] != blocks[row, 1]
                is_needed = channel == 0 or differs or not is_mid_side
                count = 0
                if current[PART2_3_LENGTH]:
                    limit = _wanted_values(current, short_edges, lines.shape[1]) if is_needed else 0
                    count = read_values(words, position, end, current, limit, values)
                    if count < 0:
                        return BAD_VALUES if count == CONTRADICTORY else CUT_VALUES
                position = end
                if not is_needed and current[GLOBAL_GAIN] > _LOUDEST_SIDE_GAIN and current[PART2_3_LENGTH]:
                    return LOUD_SIDE
                if not is_needed or not is_requantized:
                    continue
                if channel == 0:  # of the sum and the difference of the channels, the mean is the first alone
                    halvings = 0 if channels == 1 else (2 if is_mid_side else 4)
                    target = lines[row]
                elif differs:
                    halvings = 6 if is_mid_side else 4
                    target = other_lines[row]
                    target[:] = 0
                else:
                    halvings = 4
                    target = lines[row]
                add_lines(current, factors[channel], values, count, halvings, long_edges, short_edges, target)
            if is_mid_side and blocks[row, 0] != blocks[row, 1]:
                _mid_side_to_channels(lines[row], other_lines[row])
    return DECODED


@kernel
def _wanted_values(granule, short_edges, lines):
    """Returns how many values a number of lines takes: in short blocks those of a band's three windows stand one after another."""
    if granule[BLOCK_TYPE] != 2:
        return lines
    for edge in short_edges:
        if 3 * edge >= lines:
            return np.int64(3 * edge)
    return lines


@kernel
def _mid_side_to_channels(mid, side):
    """Replaces the mean of two channels and a quarter of their difference, in lines, by half of each channel."""
    for line in range(len(mid)):
        half = mid[line] / 2
        mid[line], side[line] = half + side[line], half - side[line]


@kernel
def _walk(data, size, frame_bytes, channels, places):
    """Finds the frames that follow one another from the first byte on; returns how many there are, at most len(places) - 1."""
    place, frame = 0, 0
    places[0] = 0
    while frame < len(places) - 1 and place + 4 <= size:
        is_mono = (data[place + 3] >> 6) == 3
        if data[place] != 0xFF or ((data[place + 1] ^ data[1]) & 0xFE) or is_mono != (channels == 1):
            break
        length = frame_bytes[data[place + 2]]
        if length == 0 or place + length > size:
            break
        place += length
        frame += 1
        places[frame] = place
    return frame
