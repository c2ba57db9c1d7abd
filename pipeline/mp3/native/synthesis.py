"""From subband samples to sound: the synthesis filterbank (11172-3 2.4.3.2.2, table B.11).

Subband k sounds as its samples, one every 32, through the filter window[n] cos((2k + 1)(n + 16) pi / 64). The cosine repeats
with n, so all subbands are first summed for each angle, and the window is then applied to those sums. For every second sample,
half of the angles and half of the window suffice: that is sound at half the rate, once the subbands hold nothing above half of
that rate (see `half_band`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pipeline.mp3.native.compiled import kernel

BANDS = 32
TAPS = 512
# Table B.11 times 65536, without its signs' flips: the first half of the symmetric prototype filter.
_HALF_WINDOW = """
    0 -1 -1 -1 -1 -1 -1 -2 -2 -2 -2 -3 -3 -4 -4 -5 -5 -6 -7 -7 -8 -9 -10 -11 -13 -14 -16 -17 -19 -21 -24 -26 -29 -31
    -35 -38 -41 -45 -49 -53 -58 -63 -68 -73 -79 -85 -91 -97 -104 -111 -117 -125 -132 -139 -147 -154 -161 -169 -176
    -183 -190 -196 -202 -208 -213 -218 -222 -225 -227 -228 -228 -227 -224 -221 -215 -208 -200 -189 -177 -163 -146
    -127 -106 -83 -57 -29 2 36 72 111 153 197 244 294 347 401 459 519 581 645 711 779 848 919 991 1064 1137 1210
    1283 1356 1428 1498 1567 1634 1698 1759 1817 1870 1919 1962 2001 2032 2057 2075 2085 2087 2080 2063 2037 2000
    1952 1893 1822 1739 1644 1535 1414 1280 1131 970 794 605 402 185 -45 -288 -545 -814 -1095 -1388 -1692 -2006
    -2330 -2663 -3004 -3351 -3705 -4063 -4425 -4788 -5153 -5517 -5879 -6237 -6589 -6935 -7271 -7597 -7910 -8209
    -8491 -8755 -8998 -9219 -9416 -9585 -9727 -9838 -9916 -9959 -9966 -9935 -9863 -9750 -9592 -9389 -9139 -8840
    -8492 -8092 -7640 -7134 -6574 -5959 -5288 -4561 -3776 -2935 -2037 -1082 -70 998 2122 3300 4533 5818 7154 8540
    9975 11455 12980 14548 16155 17799 19478 21189 22929 24694 26482 28289 30112 31947 33791 35640 37489 39336 41176
    43006 44821 46617 48390 50137 51853 53534 55178 56778 58333 59838 61289 62684 64019 65290 66494 67629 68692
    69679 70590 71420 72169 72835 73415 73908 74313 74630 74856 74992 75038
"""

HISTORY = 15  # slots before a sample's own that it is made of


class Filterbank(NamedTuple):
    """What a slot's samples are computed by; the kernel takes any number of samples from a slot.

    Attributes:
        angles: float32 [bands, 2 * samples], the cosines.
        even: float32 [8, samples], the window of the slot itself, of that two slots before, ...
        odd: float32 [8, samples], the window of the slot before, ...
    """

    angles: np.ndarray
    even: np.ndarray
    odd: np.ndarray


def window() -> np.ndarray:
    """Returns the prototype filter, float64 [512]."""
    half = np.array(_HALF_WINDOW.split(), np.float64)
    return np.concatenate([half, half[-2:0:-1]]) / 65536


def subband_filters(bands: int) -> np.ndarray:
    """Returns the filters of the lowest subbands, float64 [bands, 512]."""
    band = np.arange(bands)[:, np.newaxis]
    return window() * np.cos((2 * band + 1) * (np.arange(TAPS) + 16) * np.pi / 64)


def filterbank(bands: int, step: int, phase: int) -> Filterbank:
    """Returns the tables for samples `phase`, `phase + step`, ... of the 32 of each slot, from the lowest subbands.

    Args:
        bands: number of subbands.
        step: a divisor of 32.
        phase: 0 to step - 1.
    """
    place = np.arange(phase, BANDS, step)
    band = np.arange(bands)[:, np.newaxis]
    angles = [np.cos((2 * band + 1) * (place + 16 + offset) * np.pi / 64) for offset in (0, 32)]
    # After 64 places the cosine returns with the other sign.
    blocks = np.array([1, -1] * 4)[:, np.newaxis] * window().reshape(8, 64)
    even, odd = (blocks[:, place + offset] for offset in (0, 32))
    return Filterbank(*(np.ascontiguousarray(table, np.float32) for table in (np.concatenate(angles, 1), even, odd)))


def synthesis_kernel(bands: int, samples_of_slot: int) -> Callable[..., None]:
    """Returns a kernel for tables of this size: loops of a known length are several times as fast.

    The kernel has these arguments:
        subbands: float32 [slots + 15, bands]; the first 15 slots are only what the samples of the later ones are made of too.
        tables: a `Filterbank`.
        samples: float32 [slots * samples of a slot], the result.
    """
    count = 2 * samples_of_slot  # of a slot's sums
    block = 16  # slots, whose sums stay in the fastest memory

    @kernel
    def synthesize(subbands, tables, samples):
        angles, even, odd = tables[0].reshape(-1), tables[1].reshape(-1), tables[2].reshape(-1)
        slots = len(subbands)
        sums = np.zeros((HISTORY + block) * count, np.float32)
        for begin in range(0, slots, block):
            for place in range(HISTORY * count):
                sums[place] = sums[block * count + place]
            end = min(begin + block, slots)
            for slot in range(begin, end):
                row = sums[(HISTORY + slot - begin) * count : (HISTORY + slot - begin + 1) * count]
                source = subbands[slot]
                for place in range(count):
                    total = np.float32(0)
                    for band in range(bands):
                        total += source[band] * angles[band * count + place]
                    row[place] = total
            for slot in range(max(begin, HISTORY), end):
                near = sums[(slot - begin) * count : (slot - begin + HISTORY + 1) * count]
                first = (slot - HISTORY) * samples_of_slot
                target = samples[first : first + samples_of_slot]
                for place in range(samples_of_slot):
                    total = np.float32(0)
                    for part in range(8):
                        total += even[part * samples_of_slot + place] * near[(15 - 2 * part) * count + place]
                        total += (
                            odd[part * samples_of_slot + place]
                            * near[(14 - 2 * part) * count + samples_of_slot + place]
                        )
                    target[place] = total

    return synthesize


HALF_BANDS = 16  # what sound at half the rate is made of
HALF_RATE = (filterbank(HALF_BANDS, 2, 0), filterbank(HALF_BANDS, 2, 1))  # for even and for odd samples
synthesize_half = synthesis_kernel(HALF_BANDS, BANDS // 2)


@kernel
def synthesize_full(subbands, work, samples):
    """Computes samples at the file's rate: the even ones and the odd ones apart, each from half as many subbands.

    Subbands k and 31 - k sound alike at the even samples, and at the odd ones but for the sign.

    Args:
        subbands: float32 [slots + 15, 32], as for the kernels of `synthesis_kernel`.
        work: float32, at least 32 * (slots + 15): working memory.
        samples: float32 [slots * 32], the result.
    """
    slots = len(subbands)
    size, made = slots * HALF_BANDS, (slots - HISTORY) * HALF_BANDS
    folded, half = work[:size].reshape((slots, HALF_BANDS)), work[size : size + made]
    for phase in range(2):
        for slot in range(slots):
            for band in range(HALF_BANDS):
                mirrored = subbands[slot, BANDS - 1 - band]
                folded[slot, band] = subbands[slot, band] + (mirrored if phase == 0 else -mirrored)
        synthesize_half(folded, HALF_RATE[phase], half)
        for place in range(made):
            samples[2 * place + phase] = half[place]
