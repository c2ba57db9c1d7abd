"""What is measured of a clip's sound, and from which value on it is a fault.

The thresholds stand between 126 real clips of all encodings, of which none is to be found, and the same kinds of clips
with planted faults, encoded at 64 to 320 kbit/s afterwards; beside each stands how far both are from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

VERSION = 2  # changes whenever an equal clip would get other measures
_BLOCK_SECONDS = 0.1
_FLOOR_DB = -200.0  # of silence, whose logarithm is none

# The loudest 0.1 s, below full scale. Noise of half a step of 16 bits is at -96 dB and the quietest real clip at -25: music
# at -60 has ten bits less than its file, and nobody hears it beside other clips.
SILENT_DB = -60.0
# Correlation of the channels where it is loud; the real clips' is -0.35 and above, of inverted channels it is -1. A model hears
# the mean of the channels, which loses 6 dB against the channels at -0.5.
OUT_OF_PHASE = -0.5
# Between the channels' levels: the real clips' is 4 dB and less, an empty channel's over 150. At 40 the weaker one adds a
# hundredth to what is heard.
ONE_CHANNEL_DB = 40.0
# From the octave below 4 or 8 kHz to what is above: real clips fall by 16 dB and less, those resampled from 8 or 16 kHz
# by 78 and more. An encoder's low-pass at 11 kHz and more is not looked at.
BAND_LIMIT_DB = 30.0
BAND_EDGES_HZ = (4000, 8000)
# Of the median length: FMA's clips of 30 s that are cut at 12 s or less have lost more than half of their windows.
SHORT_SHARE = 0.4


@dataclasses.dataclass(frozen=True)
class Pile:
    """Samples that pile up at one level, as clipping leaves them, also where an encoder blurred the level afterwards.

    Attributes:
        levels: where the pile may stand, of full scale.
        width: of the pile, a share of its level, either way.
        below: the range of levels that it is compared with, as shares of its level.
        above: level from which on there must be little, as a share of its level.
        ratio: of the density in the pile to that below, from which on it is one. Music's amplitudes get rarer towards the peak.
        share: of all samples that the pile must hold.
    """

    levels: tuple[float, float]
    width: float
    below: tuple[float, float]
    above: float
    ratio: float
    share: float


# At full scale real clips have 0.35 (of more than 1 % of the samples), clips driven 12 dB over it 0.73 at 64 kbit/s and up to 5.
# Levels up to 1.06, because a decoded MP3 overshoots. Peaks above that are no clipping.
# Lower down, where synthetic square waves pile up too (0.65), clips turned down after clipping have 1.5 and more.
PILES = (
    Pile((0.85, 1.06), 0.10, (0.65, 0.85), 1.1, ratio=0.5, share=0.02),
    Pile((0.20, 0.85), 0.12, (0.50, 0.70), 1.2, ratio=1.0, share=0.05),
)
_STEPS = 400  # of the histogram, from 0 to full scale
_MOST_LEVEL = 2.0
_EVERY = 3  # samples of which one is counted: a histogram of a third is the same


@dataclasses.dataclass(frozen=True)
class SoundMeasures:
    """What was measured of a clip; findings follow from it.

    Attributes:
        seconds: length of the clip.
        loudest_db: level of its loudest 0.1 s in its louder channel, of full scale.
        clipped_share: share of the samples that are piled up by clipping; 0 where it is none.
        correlation: of the two channels where it is loud, -1...1; 1 for other numbers of channels, and for silence.
        channel_difference_db: between the loudest and the weakest channel.
        drop_4k_db, drop_8k_db: from below to above 4 and 8 kHz; 0 where the rate does not reach that far.
    """

    seconds: float
    loudest_db: float
    clipped_share: float
    correlation: float
    channel_difference_db: float
    drop_4k_db: float
    drop_8k_db: float


@dataclasses.dataclass(frozen=True)
class SoundFinding:
    """A fault of a clip's sound.

    Attributes:
        finding: its name.
        score: larger is worse; of what, depends on the kind.
        detail: in words.
    """

    finding: str
    score: float
    detail: str


def measure_sound(audio: np.ndarray, sample_rate_hz: int, seconds: float) -> SoundMeasures:
    """Measures a clip.

    Args:
        audio: float [samples, channels], the clip or its beginning.
        sample_rate_hz: its rate.
        seconds: length of the whole clip.
    """
    power = _block_power(audio, sample_rate_hz)  # [blocks, channels]
    levels_db = _decibels(power.mean(axis=0))
    louder = int(levels_db.argmax())
    drops = _band_drops(np.ascontiguousarray(audio[:, louder]), sample_rate_hz)
    return SoundMeasures(
        seconds=seconds,
        loudest_db=float(_decibels(power.max())),
        clipped_share=find_clipping(audio),
        correlation=_correlation(audio, power, sample_rate_hz),
        channel_difference_db=float(levels_db.max() - levels_db.min()),
        drop_4k_db=drops[0],
        drop_8k_db=drops[1],
    )


def find_sound_faults(measures: SoundMeasures, median_seconds: float) -> Iterator[SoundFinding]:
    """Names the faults of a clip.

    Args:
        measures: of the clip.
        median_seconds: median length of the data set's clips.

    Yields:
        Each fault; of a silent clip nothing but that, and perhaps its length.
    """
    m = measures
    if m.seconds < SHORT_SHARE * median_seconds:
        detail = f"{m.seconds:.1f} s long; the median of the data set is {median_seconds:.1f} s"
        yield SoundFinding("too_short", 1 - m.seconds / median_seconds, detail)
    if m.loudest_db < SILENT_DB:
        quiet = (
            f"at {m.loudest_db:.0f} dB of full scale where it is loudest"
            if m.loudest_db > _FLOOR_DB
            else "nothing but zeros"
        )
        yield SoundFinding("silent", -m.loudest_db, quiet)
        return
    if m.clipped_share:
        detail = f"{100 * m.clipped_share:.1f} % of its samples are cut off at one level"
        yield SoundFinding("clipped", m.clipped_share, detail)
    if m.channel_difference_db > ONE_CHANNEL_DB:
        detail = f"one channel is {m.channel_difference_db:.0f} dB below the other"
        yield SoundFinding("one_channel", m.channel_difference_db, detail)
    elif m.correlation < OUT_OF_PHASE:
        detail = f"the channels cancel one another in mono: their correlation is {m.correlation:.2f}"
        yield SoundFinding("out_of_phase", -m.correlation, detail)
    for edge_hz, drop_db in zip(BAND_EDGES_HZ, (m.drop_4k_db, m.drop_8k_db), strict=True):
        if drop_db > BAND_LIMIT_DB:
            detail = (
                f"nothing above {edge_hz // 1000} kHz, where it falls by {drop_db:.0f} dB: it was resampled from "
                f"{2 * edge_hz // 1000} kHz"
            )
            yield SoundFinding("band_limited", drop_db, detail)
            return


def find_clipping(audio: np.ndarray) -> float:
    """Returns the share of samples that stand piled up at one level, as clipping leaves them; 0 for sound without clipping.

    Args:
        audio: float [samples, channels].
    """
    levels = np.abs(audio[::_EVERY]).ravel()
    if not len(levels):
        return 0.0
    bins = np.minimum(levels * _STEPS, _MOST_LEVEL * _STEPS - 1).astype(np.int16)
    counts = np.bincount(bins, minlength=int(_MOST_LEVEL * _STEPS))
    edges = np.arange(len(counts) + 1) / _STEPS
    below_level = np.concatenate(([0], np.cumsum(counts))) / len(levels)

    def share(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return np.interp(high, edges, below_level) - np.interp(low, edges, below_level)

    found = 0.0
    for pile in PILES:
        level = np.arange(*pile.levels, 0.01)
        held = share(level * (1 - pile.width), level * (1 + pile.width))
        beneath = share(level * pile.below[0], level * pile.below[1])
        density = held / (2 * pile.width)
        density_beneath = beneath / (pile.below[1] - pile.below[0])
        is_pile = (
            (held >= pile.share)
            & (density >= pile.ratio * density_beneath)
            & (share(level * pile.above, np.full_like(level, np.inf)) <= held / 2)
        )
        found = max(found, float(np.max(held, where=is_pile, initial=0.0)))
    return found


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 10 ** (_FLOOR_DB / 10)))


def _blocks(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Cuts audio [samples, channels] to [blocks, samples of a block, channels]; what is left over at the end is dropped."""
    length = min(max(1, round(_BLOCK_SECONDS * sample_rate_hz)), len(audio))
    count = len(audio) // length
    return audio[: count * length].reshape(count, length, audio.shape[1])


def _block_power(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    blocks = _blocks(audio, sample_rate_hz)
    return np.einsum("bsc,bsc->bc", blocks, blocks).astype(np.float64) / blocks.shape[1]


def _correlation(audio: np.ndarray, power: np.ndarray, sample_rate_hz: int) -> float:
    """Correlates two channels over the blocks that are at most 20 dB below the loudest."""
    if audio.shape[1] != 2:
        return 1.0
    loud = power.sum(axis=1) > power.sum(axis=1).max() / 100
    left, right = power[loud].sum(axis=0)
    if not min(left, right) > 0:
        return 1.0
    blocks = _blocks(audio, sample_rate_hz)
    products = np.einsum("bs,bs->b", blocks[..., 0], blocks[..., 1]).astype(np.float64) / blocks.shape[1]
    return float(products[loud].sum() / np.sqrt(left * right))


def _band_drops(channel: np.ndarray, sample_rate_hz: int) -> list[float]:
    """Returns by how many decibels the mean spectrum falls at each of the edges: from 0.7-0.9 to 1.08-1.28 of it."""
    length = 4096 if len(channel) >= 4096 else len(channel)
    windows = np.lib.stride_tricks.sliding_window_view(channel, length)[:: 2 * length]
    power = np.zeros(length // 2 + 1)
    for first in range(0, len(windows), 256):
        block = windows[first : first + 256] * np.hanning(length).astype(np.float32)
        spectrum = np.fft.rfft(block.astype(np.float64), axis=1)  # in double precision whatever NumPy it is
        power += (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
    frequency = np.fft.rfftfreq(length, 1 / sample_rate_hz)
    spectrum_db = _decibels(power / (len(windows) * length))
    drops = []
    for edge_hz in BAND_EDGES_HZ:
        inside = (frequency > 0.7 * edge_hz) & (frequency < 0.9 * edge_hz)
        outside = (frequency > 1.08 * edge_hz) & (frequency < 1.28 * edge_hz)
        reaches = sample_rate_hz / 2 > 1.3 * edge_hz and inside.any() and outside.any()
        drops.append(float(spectrum_db[inside].mean() - spectrum_db[outside].mean()) if reaches else 0.0)
    return drops
