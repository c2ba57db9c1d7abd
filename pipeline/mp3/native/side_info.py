"""Parses a frame's side information: how each granule and channel is coded (11172-3 2.4.1.7, 2.4.2.7; 13818-3 2.4.1.7)."""

from __future__ import annotations

from pipeline.mp3.native.bits import read_bits
from pipeline.mp3.native.compiled import kernel

# The columns of a granule's parameters; names as in the standard.
PART2_3_LENGTH = 0  # bits of the scale factors and values
BIG_VALUES = 1  # number of pairs
GLOBAL_GAIN = 2
SCALEFAC_COMPRESS = 3
BLOCK_TYPE = 4  # 0 long, 1 start, 2 short, 3 stop
SHORT = 2
MIXED_BLOCK = 5  # 1 if the two lowest subbands are of a long block
TABLE_SELECT = 6  # ... 8: for three regions
REGION_END = 9  # ... 10: where the first two regions end, in lines
SUBBLOCK_GAIN = 11  # ... 13: for three windows
PREFLAG = 14
SCALEFAC_SCALE = 15
COUNT1TABLE_SELECT = 16
SCFSI = 17  # which groups of bands keep the scale factors of the granule before, four bits
PARAMETERS = 18

MPEG_1, MPEG_2, MPEG_2_5 = 3, 2, 0  # the version's bits in a header; frames of the last two have one granule
_MAX_PAIRS = 288


@kernel
def read_side_info(data, position, channels, long_edges, granules, version=MPEG_1):
    """Parses the side information of a frame.

    Args:
        data: uint8 [bytes], of which 40 follow `position`.
        position: of its first bit.
        channels: 1 or 2.
        long_edges: the bands of long blocks (see `bands`).
        granules: int32 [2 granules, 2 channels, PARAMETERS], the result.
        version: the version's bits in the frame's header.

    Returns:
        How many bytes before this frame's own the bits of its first granule begin (main_data_begin); -1 if the
        information is contradictory.
    """
    is_mpeg_1 = version == MPEG_1
    if is_mpeg_1:
        main_data_begin = read_bits(data, position, 9)
        position += 9 + (5 if channels == 1 else 3)  # private bits
    else:
        main_data_begin = read_bits(data, position, 8)
        position += 8 + channels
    for channel in range(channels):
        granules[0, channel, SCFSI] = 0
        granules[1, channel, SCFSI] = 0
        if is_mpeg_1:
            granules[1, channel, SCFSI] = read_bits(data, position, 4)
            position += 4
    for granule in range(2 if is_mpeg_1 else 1):
        for channel in range(channels):
            found = granules[granule, channel]
            found[PART2_3_LENGTH] = read_bits(data, position, 12)
            found[BIG_VALUES] = read_bits(data, position + 12, 9)
            found[GLOBAL_GAIN] = read_bits(data, position + 21, 8)
            compress_bits = 4 if is_mpeg_1 else 9
            found[SCALEFAC_COMPRESS] = read_bits(data, position + 29, compress_bits)
            is_window_switching = read_bits(data, position + 29 + compress_bits, 1)
            position += 30 + compress_bits
            if found[BIG_VALUES] > _MAX_PAIRS:
                return -1
            if is_window_switching:
                found[BLOCK_TYPE] = read_bits(data, position, 2)
                found[MIXED_BLOCK] = read_bits(data, position + 2, 1)
                if found[BLOCK_TYPE] == 0:
                    return -1
                for region in range(2):
                    found[TABLE_SELECT + region] = read_bits(data, position + 3 + 5 * region, 5)
                found[TABLE_SELECT + 2] = 0
                for window in range(3):
                    found[SUBBLOCK_GAIN + window] = read_bits(data, position + 13 + 3 * window, 3)
                found[REGION_END] = long_edges[8]
                if found[BLOCK_TYPE] == 2 and not is_mpeg_1:
                    found[REGION_END] = 36
                    if version == MPEG_2_5 and not found[MIXED_BLOCK]:
                        found[REGION_END] = long_edges[6]
                    elif version == MPEG_2_5:
                        found[REGION_END] = long_edges[8]
                found[REGION_END + 1] = long_edges[22]
            else:
                found[BLOCK_TYPE] = 0
                found[MIXED_BLOCK] = 0
                for region in range(3):
                    found[TABLE_SELECT + region] = read_bits(data, position + 5 * region, 5)
                    found[SUBBLOCK_GAIN + region] = 0
                bands = read_bits(data, position + 15, 4) + 1
                found[REGION_END] = long_edges[bands]
                bands += read_bits(data, position + 19, 3) + 1
                found[REGION_END + 1] = long_edges[min(bands, 22)]
            position += 22
            found[PREFLAG] = 0  # of MPEG-2, a scalefac_compress says it
            if is_mpeg_1:
                found[PREFLAG] = read_bits(data, position, 1)
                position += 1
            found[SCALEFAC_SCALE] = read_bits(data, position, 1)
            found[COUNT1TABLE_SELECT] = read_bits(data, position + 1, 1)
            position += 2
            if found[PART2_3_LENGTH] == 0:  # as libmpg123 reads it: without bits there are no scale factors either
                found[SCALEFAC_COMPRESS] = 0
    return main_data_begin
