"""Instruments from oscillators and seeded noise: no samples, no recordings.

An artist's sound is drawn once (`draw_artist_sound`) and shared by the artist's tracks, so that artists differ the way
bands do: in key, tempo, tone, room and loudness. A `Song` is the grid and the mix that instruments are placed into.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import signal

MAJOR_STEPS = (0, 2, 4, 5, 7, 9, 11)
MINOR_STEPS = (0, 2, 3, 5, 7, 8, 10)
MAJOR_PROGRESSIONS = ((0, 4, 5, 3), (0, 3, 4, 3), (0, 5, 3, 4), (0, 3, 0, 4))
MINOR_PROGRESSIONS = ((0, 5, 2, 6), (0, 6, 5, 6), (0, 3, 5, 4), (0, 0, 5, 3))
# The first three resonances (Hz) of the vowels a, e, i, o, u of an average speaker.
VOWEL_FORMANTS_HZ = (
    (730, 1090, 2440),
    (530, 1840, 2480),
    (270, 2290, 3010),
    (570, 840, 2410),
    (300, 870, 2240),
)
STEPS_PER_BAR = 16  # sixteenth notes, four beats


@dataclass(frozen=True)
class ArtistSound:
    """What an artist's tracks have in common."""

    tempo_position: float  # 0 = the slowest of the style, 1 = the fastest
    key_midi: int  # MIDI note of the low tonic
    minor: bool
    brightness: float  # 0 = dark ... 1 = bright
    drive: float  # gain before the distortion
    drum_level: float
    voice_level: float
    voice_pitch_hz: float
    tilt_db: float  # treble minus bass of the master equaliser
    noise_db: float  # noise floor, relative to full scale
    room_seconds: float  # decay of the reverberation
    loudness_db: float  # peak of the finished track, relative to full scale


def draw_artist_sound(rng: np.random.Generator) -> ArtistSound:
    """Draws an artist's sound; the ranges are the same for every style."""
    return ArtistSound(
        tempo_position=rng.uniform(),
        key_midi=int(rng.integers(36, 48)),
        minor=bool(rng.uniform() < 0.6),
        brightness=rng.uniform(),
        drive=rng.uniform(2.0, 12.0),
        drum_level=rng.uniform(0.6, 1.1),
        voice_level=rng.uniform(0.3, 0.8),
        voice_pitch_hz=rng.uniform(90.0, 230.0),
        tilt_db=rng.uniform(-6.0, 5.0),
        noise_db=rng.uniform(-78.0, -55.0),
        room_seconds=rng.uniform(0.15, 1.2),
        loudness_db=rng.uniform(-12.0, -0.5),
    )


class Song:
    """One track's tempo grid, harmony and stereo mix, into which instruments are placed."""

    def __init__(
        self,
        rng: np.random.Generator,
        sound: ArtistSound,
        tempo_range_bpm: tuple[float, float],
        sample_rate_hz: int,
        duration_seconds: float,
        swing: float = 0.0,
    ):
        slowest_bpm, fastest_bpm = tempo_range_bpm
        # A track wanders around its artist's habits.
        position = np.clip(sound.tempo_position + rng.normal(0, 0.15), 0, 1)
        self.rng, self.sound, self.sample_rate_hz, self.swing = rng, sound, sample_rate_hz, swing
        self.step_seconds = 15.0 / (slowest_bpm + position * (fastest_bpm - slowest_bpm))
        self.steps = int(np.ceil(duration_seconds / self.step_seconds))
        self.bars = -(-self.steps // STEPS_PER_BAR)
        self.mix = np.zeros((2, round(duration_seconds * sample_rate_hz)))  # [left and right, samples]
        self.brightness = float(np.clip(sound.brightness + rng.normal(0, 0.15), 0, 1))
        self.tonic_midi = sound.key_midi + int(rng.choice((0, 0, 0, -2, 3, 5)))
        progressions = MINOR_PROGRESSIONS if sound.minor else MAJOR_PROGRESSIONS
        self.progression = progressions[rng.integers(len(progressions))]

    def pitch_hz(self, degree: int, octave: int = 0) -> float:
        """The frequency of a scale degree (0 = tonic), `octave` octaves above the low tonic."""
        scale = MINOR_STEPS if self.sound.minor else MAJOR_STEPS
        midi = self.tonic_midi + scale[degree % 7] + 12 * (degree // 7 + octave)
        return float(440.0 * 2.0 ** ((midi - 69) / 12))

    def chord_hz(self, bar: int, octave: int) -> list[float]:
        """The triad of a bar."""
        root = self.progression[bar % 4]
        return [self.pitch_hz(root + third, octave) for third in (0, 2, 4)]

    def time(self, steps: float) -> np.ndarray:
        """The sample times, in seconds, of a note that lasts `steps` sixteenths."""
        return np.arange(max(1, int(steps * self.step_seconds * self.sample_rate_hz))) / self.sample_rate_hz

    def place(self, waveform: np.ndarray, step: float, level: float = 1.0, pan: float = 0.0) -> None:
        """Adds a mono waveform to the mix at a step; `pan` runs from -1 (left) to 1 (right)."""
        swung_step = step + (self.swing if step % 2 == 1 else 0.0)
        start = int(swung_step * self.step_seconds * self.sample_rate_hz)
        part = self.mix[:, start : start + len(waveform)]
        angle = (pan + 1) * np.pi / 4
        part += level * np.array([[np.cos(angle)], [np.sin(angle)]]) * waveform[: part.shape[1]]


# Filters and instruments: each returns a mono waveform [samples].


@cache
def _butterworth(kind: str, cutoff_hz: float | tuple[float, ...], sample_rate_hz: int) -> np.ndarray:
    return signal.butter(2, np.minimum(cutoff_hz, 0.45 * sample_rate_hz), kind, fs=sample_rate_hz, output="sos")


def filtered(waveform: np.ndarray, kind: str, cutoff_hz: float | tuple[float, ...], sample_rate_hz: int) -> np.ndarray:
    """A second-order Butterworth filter: "lowpass", "highpass" or "bandpass"."""
    return signal.sosfilt(_butterworth(kind, cutoff_hz, sample_rate_hz), waveform)


def saw(pitch_hz: float, time: np.ndarray, phase: float = 0.0) -> np.ndarray:
    """A sawtooth, not band-limited: its aliases pass for the dirt of cheap equipment."""
    cycles = pitch_hz * time + phase
    return 2.0 * (cycles - np.floor(cycles)) - 1.0


def kick(song: Song, pitch_hz: float, decay_seconds: float) -> np.ndarray:
    """A bass drum whose pitch falls; with a long decay, an 808 bass note."""
    time = np.arange(int(4 * decay_seconds * song.sample_rate_hz)) / song.sample_rate_hz
    fall_seconds = 0.025
    cycles = pitch_hz * time + 5 * pitch_hz * fall_seconds * (1 - np.exp(-time / fall_seconds))
    return np.tanh(2 * np.sin(2 * np.pi * cycles) * np.exp(-time / decay_seconds))


def noise_hit(song: Song, cutoff_hz: float, decay_seconds: float, body_hz: float = 0.0) -> np.ndarray:
    """A hat, cymbal or clap; with `body_hz` a snare, which also has a tone."""
    time = np.arange(int(5 * decay_seconds * song.sample_rate_hz)) / song.sample_rate_hz
    hit = 0.6 * filtered(song.rng.standard_normal(len(time)), "highpass", cutoff_hz, song.sample_rate_hz)
    if body_hz:
        hit += np.sin(2 * np.pi * body_hz * time) * np.exp(-time / 0.04)
    return hit * np.exp(-time / decay_seconds)


def pluck(song: Song, pitch_hz: float, steps: float, ring_seconds: float = 1.5) -> np.ndarray:
    """A piano, harp or clean guitar: harmonics of which the higher die sooner."""
    time = song.time(steps)
    highest = min(4 + int(6 * song.brightness), int(0.45 * song.sample_rate_hz / pitch_hz))
    slope, cycles = -1.8 + 0.8 * song.brightness, pitch_hz * time
    tone = np.zeros(len(time))
    for harmonic in range(1, highest + 1):
        # Float32 is exact enough for a phase within one turn, and its sine several times as fast.
        phase = (2 * np.pi * (harmonic * cycles - np.floor(harmonic * cycles))).astype(np.float32)
        tone += harmonic**slope * np.sin(phase) * np.exp(-time * (1 + 0.5 * harmonic) / ring_seconds)
    return tone * np.minimum(1, (time[-1] - time) / 0.01)  # no click where the note is cut


def pad(song: Song, chord_hz: Sequence[float], steps: float) -> np.ndarray:
    """A string pad: three detuned sawtooths a note, slowly faded in."""
    time = song.time(steps)
    detuned_hz = [pitch_hz * detune for pitch_hz in chord_hz for detune in (0.996, 1.0, 1.005)]
    strings = np.sum([saw(pitch_hz, time, song.rng.uniform()) for pitch_hz in detuned_hz], axis=0)
    envelope = np.minimum(1, np.minimum(time / 0.4, (time[-1] - time) / 0.3))
    return 0.12 * envelope * filtered(strings, "lowpass", 500 + 2000 * song.brightness, song.sample_rate_hz)


def bass(song: Song, pitch_hz: float, steps: float, cutoff_hz: float) -> np.ndarray:
    """A bass guitar note."""
    time = song.time(steps)
    note = saw(pitch_hz, time) * np.exp(-time / 0.6) * np.minimum(1, (time[-1] - time) / 0.02)
    return filtered(note, "lowpass", cutoff_hz, song.sample_rate_hz)


def syllable(song: Song, pitch_hz: float, steps: float, glide: float) -> np.ndarray:
    """One sung or spoken syllable: a consonant's hiss, then a buzz through a vowel's three resonances."""
    time = song.time(steps)
    rate_hz = song.sample_rate_hz
    vibrato = 1 + 0.012 * np.sin(2 * np.pi * 5.5 * time)
    pitches_hz = pitch_hz * (1 + glide * time / (time[-1] + 1e-9)) * vibrato
    buzz = 2 * (np.cumsum(pitches_hz) / rate_hz % 1) - 1 + 0.1 * song.rng.standard_normal(len(time))
    formants_hz = VOWEL_FORMANTS_HZ[song.rng.integers(len(VOWEL_FORMANTS_HZ))]
    vowel = sum(
        gain * signal.lfilter(*signal.iirpeak(formant_hz, 8, fs=rate_hz), buzz)
        for gain, formant_hz in zip((1.0, 0.7, 0.4), formants_hz, strict=True)
    )
    hiss = 0.3 * song.rng.standard_normal(len(time)) * np.exp(-time / 0.03)
    return (vowel + filtered(hiss, "highpass", 3000, rate_hz)) * np.minimum(1, (time[-1] - time) / 0.03)


def distorted_guitar(song: Song, rhythm: Sequence[int], octave: int, drive: float, first_bar: int) -> np.ndarray:
    """One rhythm guitar over the whole track: the amplifier distorts all its strings together."""
    strings = np.zeros(song.mix.shape[1])
    detune = song.rng.uniform(0.996, 1.004)
    for bar in range(first_bar, song.bars):
        root_hz = song.pitch_hz(song.progression[bar % 4], octave) * detune
        for step, next_step in zip(rhythm, (*rhythm[1:], STEPS_PER_BAR), strict=True):
            time = song.time(next_step - step)
            # Root, fifth and octave; short notes are muted by the palm.
            chord = sum(saw(root_hz * ratio, time, song.rng.uniform()) for ratio in (1.0, 1.4983, 2.0))
            chord *= np.exp(-time / (0.25 if next_step - step < 2 else 1.5)) * np.minimum(1, (time[-1] - time) / 0.01)
            start = int((bar * STEPS_PER_BAR + step) * song.step_seconds * song.sample_rate_hz)
            part = strings[start : start + len(chord)]
            part += chord[: len(part)]
    cabinet_hz = (90, 2800 + 2500 * song.brightness)
    return filtered(np.tanh(drive * strings), "bandpass", cabinet_hz, song.sample_rate_hz)
