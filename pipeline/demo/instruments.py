"""Instruments made of oscillators and seeded noise: no samples, no recordings.

An instrument returns one note, a mono waveform [samples], given a frequency in Hz and a length in steps (sixteenth
notes). A `Song` is the grid and the mix that notes are placed into. An `ArtistSound` is what an artist's songs share.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import signal

STEPS_PER_BAR = 16  # four beats
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))  # major and minor, in semitones above the tonic
PROGRESSIONS = ((0, 4, 5, 3), (0, 3, 4, 3), (0, 5, 3, 4), (0, 5, 2, 6))  # scale degrees of four bars' chords
# The first three resonances of the vowels a, e, i, o, u of an average speaker.
VOWELS_HZ = ((730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240))


@dataclass(frozen=True)
class ArtistSound:
    """Artists differ the way bands do. The ranges are the same for every style."""

    tempo_position: float  # 0 = the slowest of the style, 1 = the fastest
    tonic_midi: int
    scale: tuple[int, ...]
    voice_level: float
    voice_pitch_hz: float
    treble_db: float  # treble above 900 Hz, against the bass
    room_seconds: float  # decay of the reverberation
    peak_db: float  # relative to full scale; low enough for what an MP3 adds to it


def draw_artist_sound(rng: np.random.Generator) -> ArtistSound:
    """Draws an artist's sound."""
    return ArtistSound(
        tempo_position=rng.uniform(),
        tonic_midi=int(rng.integers(36, 48)),
        scale=SCALES[rng.integers(2)],
        voice_level=rng.uniform(0.6, 1.4),
        voice_pitch_hz=rng.uniform(90.0, 230.0),
        treble_db=rng.uniform(-6.0, 6.0),
        room_seconds=rng.uniform(0.15, 1.2),
        peak_db=rng.uniform(-12.0, -2.0),
    )


class Song:
    """One track's tempo, harmony and stereo mix."""

    def __init__(
        self,
        rng: np.random.Generator,
        sound: ArtistSound,
        tempo_range_bpm: tuple[float, float],
        sample_rate_hz: int,
        duration_seconds: float,
    ):
        # An artist's songs are about as fast as each other.
        tempo_position = np.clip(sound.tempo_position + rng.normal(0, 0.15), 0, 1)
        tempo_bpm = tempo_range_bpm[0] + tempo_position * (tempo_range_bpm[1] - tempo_range_bpm[0])
        self.rng, self.sound, self.sample_rate_hz = rng, sound, sample_rate_hz
        self.step_seconds = 15.0 / tempo_bpm
        self.swing_steps = 0.0  # how late every second step is
        self.steps = int(np.ceil(duration_seconds / self.step_seconds))
        self.progression = rng.choice(np.array(PROGRESSIONS))
        self.mix = np.zeros((2, round(duration_seconds * sample_rate_hz)))  # [left and right, samples]

    def pitch_hz(self, degree: int, octave: int) -> float:
        """The frequency of a scale degree (0 = tonic), `octave` octaves above the low tonic."""
        midi = self.sound.tonic_midi + self.sound.scale[degree % 7] + 12 * (degree // 7 + octave)
        return 440.0 * 2.0 ** ((midi - 69) / 12)

    def bars(self) -> Iterator[tuple[int, int]]:
        """The first step of each bar, and the scale degree of its chord."""
        return ((start, self.progression[start // STEPS_PER_BAR % 4]) for start in range(0, self.steps, STEPS_PER_BAR))

    def time(self, steps: float) -> np.ndarray:
        """The sample times, in seconds, of a note of so many steps."""
        return np.arange(int(steps * self.step_seconds * self.sample_rate_hz)) / self.sample_rate_hz

    def filtered(self, waveform: np.ndarray, kind: str, cutoff_hz: float | Sequence[float]) -> np.ndarray:
        """A Butterworth filter: "lowpass", "highpass" or "bandpass"."""
        return signal.sosfilt(signal.butter(2, cutoff_hz, kind, fs=self.sample_rate_hz, output="sos"), waveform)

    def place(self, note: np.ndarray, steps: ArrayLike, level: float, pan: float = 0.0) -> None:
        """Adds a note at each of the steps, now louder, now softer; `pan` is -1 (left) ... 1 (right)."""
        fade = np.minimum(1, np.arange(len(note), 0, -1) / (0.01 * self.sample_rate_hz))  # no click at its end
        angle = (pan + 1) * np.pi / 4
        stereo = level * np.array([[np.cos(angle)], [np.sin(angle)]]) * fade * note
        for step in np.atleast_1d(steps):
            start = int((step + self.swing_steps * (step % 2 == 1)) * self.step_seconds * self.sample_rate_hz)
            part = self.mix[:, start : start + len(note)]
            part += self.rng.uniform(0.8, 1.0) * stereo[:, : part.shape[1]]


def saw(pitch_hz: float, time: np.ndarray, phase: float = 0.0) -> np.ndarray:
    """A sawtooth, not band-limited: its aliases pass for the dirt of cheap equipment."""
    return 2.0 * ((pitch_hz * time + phase) % 1.0) - 1.0


def kick(song: Song, pitch_hz: float, steps: float) -> np.ndarray:
    """A bass drum, whose pitch falls; a long one is an 808 bass note."""
    time = song.time(steps)
    cycles = pitch_hz * (time + 0.125 * (1 - np.exp(-time / 0.025)))
    return np.tanh(2 * np.sin(2 * np.pi * cycles) * np.exp(-4 * time / time[-1]))


def noise_hit(song: Song, lowest_hz: float, steps: float) -> np.ndarray:
    """A snare or a hat."""
    time = song.time(steps)
    return song.filtered(song.rng.standard_normal(len(time)) * np.exp(-5 * time / time[-1]), "highpass", lowest_hz)


def bass(song: Song, pitch_hz: float, steps: float) -> np.ndarray:
    """A bass guitar."""
    time = song.time(steps)
    return song.filtered(saw(pitch_hz, time) * np.exp(-time / 0.6), "lowpass", 600)


def distorted_guitar(song: Song, pitch_hz: float, steps: float) -> np.ndarray:
    """A power chord (root, fifth and octave) through an overdriven amplifier and its cabinet."""
    time = song.time(steps)
    strings = sum(saw(pitch_hz * ratio, time, song.rng.uniform()) for ratio in (1.0, 1.5, 2.0))
    return song.filtered(np.tanh(6 * strings) * np.exp(-5 * time), "bandpass", (90, 4000))


def pluck(song: Song, pitch_hz: float, steps: float) -> np.ndarray:
    """A piano or a harp: harmonics of which the higher are weaker and die sooner."""
    time = song.time(steps)
    return sum(np.sin(2 * np.pi * k * pitch_hz * time) * np.exp(-time * (1 + k / 2)) / k**1.5 for k in range(1, 6))


def pad(song: Song, pitch_hz: float, steps: float) -> np.ndarray:
    """Strings that swell and fade: two detuned sawtooths."""
    time = song.time(steps)
    strings = saw(0.997 * pitch_hz, time) + saw(1.004 * pitch_hz, time, song.rng.uniform())
    return 0.15 * song.filtered(strings, "lowpass", 1500) * np.sin(np.pi * time / time[-1])


def syllable(song: Song, pitch_hz: float, steps: float) -> np.ndarray:
    """One sung or spoken syllable: a consonant's hiss, and a buzz through a vowel's three resonances."""
    time = song.time(steps)
    hiss = song.rng.standard_normal(len(time))
    buzz = saw(pitch_hz, time + 0.0003 * np.sin(2 * np.pi * 5.5 * time)) + 0.1 * hiss  # with vibrato
    peaks = [
        signal.iirpeak(formant_hz, 8, fs=song.sample_rate_hz) for formant_hz in song.rng.choice(np.array(VOWELS_HZ))
    ]
    vowel = sum(gain * signal.lfilter(*peak, buzz) for gain, peak in zip((1.0, 0.7, 0.4), peaks, strict=True))
    return vowel + 0.3 * song.filtered(hiss * np.exp(-time / 0.03), "highpass", 3000)
