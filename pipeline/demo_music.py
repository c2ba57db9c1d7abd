"""Synthesis of three musical styles from oscillators and seeded noise: no samples, no recordings.

An artist's sound is drawn once (`draw_artist_sound`) and shared by the artist's tracks, so that artists
differ the way bands do: in key, tempo, tone, room and loudness. `compose` then writes one track.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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


def _filter(waveform: np.ndarray, kind: str, cutoff_hz: float | tuple[float, ...], sample_rate_hz: int) -> np.ndarray:
    return signal.sosfilt(_butterworth(kind, cutoff_hz, sample_rate_hz), waveform)


def _saw(pitch_hz: float, time: np.ndarray, phase: float = 0.0) -> np.ndarray:
    cycles = pitch_hz * time + phase
    return 2.0 * (cycles - np.floor(cycles)) - 1.0


def _kick(song: Song, pitch_hz: float, decay_seconds: float) -> np.ndarray:
    time = np.arange(int(4 * decay_seconds * song.sample_rate_hz)) / song.sample_rate_hz
    fall_seconds = 0.025
    cycles = pitch_hz * time + 5 * pitch_hz * fall_seconds * (1 - np.exp(-time / fall_seconds))
    return np.tanh(2 * np.sin(2 * np.pi * cycles) * np.exp(-time / decay_seconds))


def _noise_hit(song: Song, cutoff_hz: float, decay_seconds: float, body_hz: float = 0.0) -> np.ndarray:
    """A hat, cymbal or clap; with `body_hz` a snare, which also has a tone."""
    time = np.arange(int(5 * decay_seconds * song.sample_rate_hz)) / song.sample_rate_hz
    hit = 0.6 * _filter(song.rng.standard_normal(len(time)), "highpass", cutoff_hz, song.sample_rate_hz)
    if body_hz:
        hit += np.sin(2 * np.pi * body_hz * time) * np.exp(-time / 0.04)
    return hit * np.exp(-time / decay_seconds)


def _pluck(song: Song, pitch_hz: float, steps: float, ring_seconds: float = 1.5) -> np.ndarray:
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


def _pad(song: Song, chord_hz: Sequence[float], steps: float) -> np.ndarray:
    time = song.time(steps)
    detuned_hz = [pitch_hz * detune for pitch_hz in chord_hz for detune in (0.996, 1.0, 1.005)]
    strings = np.sum([_saw(pitch_hz, time, song.rng.uniform()) for pitch_hz in detuned_hz], axis=0)
    envelope = np.minimum(1, np.minimum(time / 0.4, (time[-1] - time) / 0.3))
    return 0.12 * envelope * _filter(strings, "lowpass", 500 + 2000 * song.brightness, song.sample_rate_hz)


def _bass(song: Song, pitch_hz: float, steps: float, cutoff_hz: float) -> np.ndarray:
    time = song.time(steps)
    note = _saw(pitch_hz, time) * np.exp(-time / 0.6) * np.minimum(1, (time[-1] - time) / 0.02)
    return _filter(note, "lowpass", cutoff_hz, song.sample_rate_hz)


def _syllable(song: Song, pitch_hz: float, steps: float, glide: float) -> np.ndarray:
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
    return (vowel + _filter(hiss, "highpass", 3000, rate_hz)) * np.minimum(1, (time[-1] - time) / 0.03)


def _distorted_guitar(song: Song, rhythm: Sequence[int], octave: int, drive: float, first_bar: int) -> np.ndarray:
    """One rhythm guitar over the whole track: the amplifier distorts all its strings together."""
    strings = np.zeros(song.mix.shape[1])
    detune = song.rng.uniform(0.996, 1.004)
    for bar in range(first_bar, song.bars):
        root_hz = song.pitch_hz(song.progression[bar % 4], octave) * detune
        for step, next_step in zip(rhythm, (*rhythm[1:], STEPS_PER_BAR), strict=True):
            time = song.time(next_step - step)
            # Root, fifth and octave; short notes are muted by the palm.
            chord = sum(_saw(root_hz * ratio, time, song.rng.uniform()) for ratio in (1.0, 1.4983, 2.0))
            chord *= np.exp(-time / (0.25 if next_step - step < 2 else 1.5)) * np.minimum(1, (time[-1] - time) / 0.01)
            start = int((bar * STEPS_PER_BAR + step) * song.step_seconds * song.sample_rate_hz)
            part = strings[start : start + len(chord)]
            part += chord[: len(part)]
    cabinet_hz = (90, 2800 + 2500 * song.brightness)
    return _filter(np.tanh(drive * strings), "bandpass", cabinet_hz, song.sample_rate_hz)


# Parts: each places one player's notes into the song.


def _play_drums(
    song: Song,
    kicks: Sequence[float],
    snares: Sequence[int],
    hat_spacing: int,
    level: float,
    first_bar: int = 0,
) -> None:
    """A drum kit: the same pattern in every bar, with small differences in how hard it is struck."""
    rng, level = song.rng, level * song.sound.drum_level
    kick = _kick(song, rng.uniform(45, 65), rng.uniform(0.08, 0.16))
    snare = _noise_hit(song, rng.uniform(800, 2000), rng.uniform(0.06, 0.14), body_hz=rng.uniform(160, 230))
    hat = _noise_hit(song, rng.uniform(5000, 8000), rng.uniform(0.02, 0.06))
    for bar in range(first_bar, song.bars):
        start = bar * STEPS_PER_BAR
        for step in kicks:
            song.place(kick, start + step, level * rng.uniform(0.85, 1))
        for step in snares:
            song.place(snare, start + step, 0.8 * level * rng.uniform(0.8, 1), pan=0.1)
        for step in range(0, STEPS_PER_BAR, hat_spacing):
            song.place(hat, start + step, 0.35 * level * rng.uniform(0.5, 1), pan=0.4)


def _play_arpeggio(song: Song, octave: int, spacing: int, level: float, last_bar: int | None = None) -> None:
    """Broken chords on a plucked string or a piano."""
    ring_seconds = song.rng.uniform(0.4, 2.0)
    order = song.rng.permutation(4)
    for bar in range(song.bars if last_bar is None else last_bar):
        chord_hz = song.chord_hz(bar, octave)
        chord_hz.append(2 * chord_hz[0])
        notes = [_pluck(song, pitch_hz, 2.5 * spacing, ring_seconds) for pitch_hz in chord_hz]
        for index, step in enumerate(range(0, STEPS_PER_BAR, spacing)):
            note = notes[order[index % 4]]
            song.place(note, bar * STEPS_PER_BAR + step, level * song.rng.uniform(0.6, 1), pan=-0.3)


def _play_melody(song: Song, octave: int, level: float, instrument: Callable[[Song, float, float], np.ndarray]) -> None:
    """A tune that walks up and down the scale in notes of uneven length, with rests."""
    step, degree = 0, int(song.rng.integers(0, 7))
    while step < song.steps:
        steps = int(song.rng.choice((2, 4, 4, 6, 8)))
        degree = int(np.clip(degree + song.rng.integers(-2, 3), -2, 9))
        if song.rng.uniform() < 0.8:
            song.place(instrument(song, song.pitch_hz(degree, octave), steps), step, level, pan=0.2)
        step += steps


def _play_pads(song: Song, octave: int, level: float) -> None:
    for bar in range(song.bars):
        pad = _pad(song, song.chord_hz(bar, octave), STEPS_PER_BAR + 2)
        song.place(pad, bar * STEPS_PER_BAR, level, pan=song.rng.uniform(-0.4, 0.4))


def _play_bass(song: Song, rhythm: Sequence[int], cutoff_hz: float, level: float, first_bar: int = 0) -> None:
    for bar in range(first_bar, song.bars):
        pitch_hz = song.pitch_hz(song.progression[bar % 4])
        for step, next_step in zip(rhythm, (*rhythm[1:], STEPS_PER_BAR), strict=True):
            song.place(_bass(song, pitch_hz, next_step - step, cutoff_hz), bar * STEPS_PER_BAR + step, level)


def _sung_note(song: Song, pitch_hz: float, steps: float) -> np.ndarray:
    return _syllable(song, pitch_hz, steps, glide=0.02)


# The three styles.


def rock(rng: np.random.Generator, sound: ArtistSound, sample_rate_hz: int, duration_seconds: float) -> Song:
    """Distorted power chords, bass, a driving kit and singing; some tracks are ballads or start quietly."""
    song = Song(rng, sound, (110, 150), sample_rate_hz, duration_seconds)
    form = rng.choice(("driving", "half time", "quiet start", "ballad"), p=(0.6, 0.17, 0.16, 0.07))
    first_bar = 1 if form == "quiet start" else 0
    if form in ("quiet start", "ballad"):
        _play_arpeggio(song, octave=2, spacing=2, level=0.4, last_bar=first_bar or song.bars)
    snares = (8,) if form == "half time" else (4, 12)
    kicks = ((0, 8), (0, 8, 10), (0, 6, 8), (0, 3, 8, 11))[rng.integers(4)]
    if form == "ballad":
        _play_drums(song, (0, 8), snares, hat_spacing=2, level=0.8)
        _play_bass(song, (0, 8), 500, level=0.35)
    else:
        rhythms = (
            (0, 2, 4, 6, 8, 10, 12, 14),
            (0, 3, 6, 8, 11, 14),
            (0, 2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15),
            (0, 6, 8),
        )
        rhythm = rhythms[rng.integers(4)]
        level = rng.uniform(0.5, 0.9)
        for pan in (-0.8, 0.8):  # double-tracked
            song.place(_distorted_guitar(song, rhythm, 1, sound.drive, first_bar), 0, level, pan)
        _play_drums(song, kicks, snares, int(rng.choice((2, 4))), rng.uniform(0.8, 1.2), first_bar)
        crash = _noise_hit(song, 3500, 0.6)
        for bar in range(first_bar, song.bars, 4):
            song.place(crash, bar * STEPS_PER_BAR, 0.5 * sound.drum_level, pan=-0.4)
        _play_bass(song, tuple(range(0, STEPS_PER_BAR, 2)), 700, rng.uniform(0.3, 0.6), first_bar)
    if form == "ballad" or rng.uniform() < 0.6:
        _play_melody(song, 2, 1.3 * sound.voice_level, _sung_note)
    return song


def hip_hop(rng: np.random.Generator, sound: ArtistSound, sample_rate_hz: int, duration_seconds: float) -> Song:
    """808 bass, a sparse swung beat, hat rolls, a chopped sample and rapping; some tracks are dreamy."""
    song = Song(rng, sound, (75, 100), sample_rate_hz, duration_seconds, swing=rng.uniform(0, 0.35))
    dreamy = rng.uniform() < 0.25
    if dreamy:
        _play_pads(song, 2, rng.uniform(0.5, 0.9))
    kicks = ((0, 7, 10), (0, 3, 10), (0, 10, 11), (0, 6, 14))[rng.integers(4)]
    _play_drums(song, kicks, (4, 12), 2, rng.uniform(0.7, 1.1))
    hat = _noise_hit(song, 7000, 0.015)
    sub_decay_seconds = rng.uniform(0.25, 0.6)
    stab_steps, stab_octave = rng.uniform(1, 3.5), int(rng.integers(2, 4))
    stab_band_hz, stab_level = (rng.uniform(150, 500), rng.uniform(1500, 5000)), rng.uniform(0.1, 0.3)
    chopped_steps = sorted(rng.choice(STEPS_PER_BAR, size=3, replace=False))
    for bar in range(song.bars):
        start = bar * STEPS_PER_BAR
        for step in kicks[:2]:
            pitch_hz = song.pitch_hz(song.progression[bar % 4] % 7, octave=-1 if song.tonic_midi > 40 else 0)
            song.place(_kick(song, pitch_hz, sub_decay_seconds), start + step, 0.8)
        if rng.uniform() < 0.6:
            for roll in range(int(rng.integers(4, 9))):
                song.place(hat, start + 12 + roll / 2, 0.3 * sound.drum_level, pan=0.4)
        notes = [_pluck(song, pitch_hz, stab_steps, 0.8) for pitch_hz in song.chord_hz(bar, stab_octave)]
        stab = np.sum(notes, axis=0)
        stab = _filter(stab, "bandpass", stab_band_hz, sample_rate_hz)
        for step in chopped_steps:
            song.place(stab, start + step, stab_level, pan=-0.4)
    if not dreamy or rng.uniform() < 0.5:
        _play_rap(song)
    if rng.uniform() < 0.5:  # the crackle of a worn record
        samples = song.mix.shape[1]
        clicks = rng.integers(samples, size=samples // 2000)
        song.mix[:, clicks] += 0.3 * rng.standard_normal(len(clicks))
    return song


def _play_rap(song: Song) -> None:
    rng, step = song.rng, 0.0
    while step < song.steps:
        steps = float(rng.choice((1, 1, 1, 2, 2, 3)))
        if rng.uniform() < 0.85:
            pitch_hz = song.sound.voice_pitch_hz * rng.uniform(0.85, 1.2)
            spoken = _syllable(song, pitch_hz, 0.9 * steps, glide=rng.uniform(-0.25, 0.05))
            song.place(spoken, step, 1.8 * song.sound.voice_level * rng.uniform(0.7, 1))
        step += steps


def instrumental(rng: np.random.Generator, sound: ArtistSound, sample_rate_hz: int, duration_seconds: float) -> Song:
    """Pads, arpeggios and a melody over slow chords; a share of the tracks borrows drums, bass or guitar."""
    song = Song(rng, sound, (65, 125), sample_rate_hz, duration_seconds)
    arpeggio = rng.uniform() < 0.75
    if arpeggio:
        _play_arpeggio(song, int(rng.integers(2, 4)), int(rng.choice((1, 2, 2, 4))), rng.uniform(0.3, 0.6))
    if not arpeggio or rng.uniform() < 0.7:
        _play_pads(song, 2, rng.uniform(0.7, 1.3))
    if rng.uniform() < 0.6:
        _play_melody(song, 3, 0.5, lambda song, pitch_hz, steps: _pluck(song, pitch_hz, steps, 1.5))
    borrowed = rng.choice(("nothing", "drums", "guitar"), p=(0.74, 0.18, 0.08))
    if borrowed == "drums":
        kicks = ((0, 8), (0, 7, 10))[rng.integers(2)]
        snares = ((), (12,))[rng.integers(2)]
        _play_drums(song, kicks, snares, int(rng.choice((2, 4))), rng.uniform(0.1, 0.22))
    elif borrowed == "guitar":
        guitar = _distorted_guitar(song, (0, 8), 1, 0.15 * sound.drive, 0)
        song.place(guitar, 0, rng.uniform(0.06, 0.15), pan=0.5)
    if rng.uniform() < 0.4:
        _play_bass(song, (0, 8), 500, rng.uniform(0.25, 0.4))
    return song


RECIPES = {"Rock": rock, "Hip-Hop": hip_hop, "Instrumental": instrumental}


def compose(
    style: str,
    recipe: str,
    sound: ArtistSound,
    rng: np.random.Generator,
    sample_rate_hz: int,
    channels: int,
    duration_seconds: float,
) -> np.ndarray:
    """Writes one track.

    Args:
        style: The label, "Rock", "Hip-Hop" or "Instrumental".
        recipe: The style whose recipe is followed. Where it is not the label the track is ambiguous, as real
            labels are: only a trace of its own style is left, and an Instrumental track still has no voice.
        sound: The artist's sound.
        rng: The source of every random choice.
        sample_rate_hz: Samples per second.
        channels: 1 or 2.
        duration_seconds: Length of the track.

    Returns:
        A float32 waveform [samples, channels] within -1...1.
    """
    if style == "Instrumental":
        sound = replace(sound, voice_level=0.0)
    mix = RECIPES[recipe](rng, sound, sample_rate_hz, duration_seconds).mix
    if recipe != style:
        mix += 0.05 * RECIPES[style](rng, sound, sample_rate_hz, duration_seconds).mix
    if channels == 1:
        mix = mix.mean(axis=0, keepdims=True)
    return _master(mix, sound, rng, sample_rate_hz).T.astype(np.float32)


def _master(mix: np.ndarray, sound: ArtistSound, rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """Room, equaliser, limiter, loudness and noise floor: [channels, samples] to the same shape."""
    samples = mix.shape[1]
    room_time = np.arange(int(sound.room_seconds * sample_rate_hz)) / sample_rate_hz
    echoes = rng.standard_normal(len(room_time)) * np.exp(-5 * room_time / sound.room_seconds)
    echoes *= rng.uniform(0.1, 0.45) / np.sqrt((echoes**2).sum())
    room = signal.oaconvolve(mix.mean(axis=0).astype(np.float32), echoes.astype(np.float32))
    mix = mix + room[:samples]
    smoothing = np.exp(-2 * np.pi * 900 / sample_rate_hz)  # a one-pole split at 900 Hz
    low = signal.lfilter([1 - smoothing], [1, -smoothing], mix)
    tilt = 10 ** ((sound.tilt_db + rng.normal(0, 1.5)) / 40)
    mix = low / tilt + (mix - low) * tilt
    mix = np.tanh(mix / (1.5 * np.std(mix) + 1e-9) / rng.uniform(1.2, 3.0))
    mix *= 10 ** (sound.loudness_db / 20) / np.max(np.abs(mix))
    noise = rng.standard_normal(mix.shape, dtype=np.float32)
    return np.clip(mix + 10 ** (sound.noise_db / 20) * noise, -1, 1)
