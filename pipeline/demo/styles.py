"""Three musical styles played on `pipeline.demo.instruments`; `compose` writes one track."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import signal

from pipeline.demo.instruments import (
    STEPS_PER_BAR,
    ArtistSound,
    Song,
    bass,
    distorted_guitar,
    filtered,
    kick,
    noise_hit,
    pad,
    pluck,
    syllable,
)

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
    kick_hit = kick(song, rng.uniform(45, 65), rng.uniform(0.08, 0.16))
    snare = noise_hit(song, rng.uniform(800, 2000), rng.uniform(0.06, 0.14), body_hz=rng.uniform(160, 230))
    hat = noise_hit(song, rng.uniform(5000, 8000), rng.uniform(0.02, 0.06))
    for bar in range(first_bar, song.bars):
        start = bar * STEPS_PER_BAR
        for step in kicks:
            song.place(kick_hit, start + step, level * rng.uniform(0.85, 1))
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
        notes = [pluck(song, pitch_hz, 2.5 * spacing, ring_seconds) for pitch_hz in chord_hz]
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
        chord = pad(song, song.chord_hz(bar, octave), STEPS_PER_BAR + 2)
        song.place(chord, bar * STEPS_PER_BAR, level, pan=song.rng.uniform(-0.4, 0.4))


def _play_bass(song: Song, rhythm: Sequence[int], cutoff_hz: float, level: float, first_bar: int = 0) -> None:
    for bar in range(first_bar, song.bars):
        pitch_hz = song.pitch_hz(song.progression[bar % 4])
        for step, next_step in zip(rhythm, (*rhythm[1:], STEPS_PER_BAR), strict=True):
            song.place(bass(song, pitch_hz, next_step - step, cutoff_hz), bar * STEPS_PER_BAR + step, level)


def _sung_note(song: Song, pitch_hz: float, steps: float) -> np.ndarray:
    return syllable(song, pitch_hz, steps, glide=0.02)


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
            song.place(distorted_guitar(song, rhythm, 1, sound.drive, first_bar), 0, level, pan)
        _play_drums(song, kicks, snares, int(rng.choice((2, 4))), rng.uniform(0.8, 1.2), first_bar)
        crash = noise_hit(song, 3500, 0.6)
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
    hat = noise_hit(song, 7000, 0.015)
    sub_decay_seconds = rng.uniform(0.25, 0.6)
    stab_steps, stab_octave = rng.uniform(1, 3.5), int(rng.integers(2, 4))
    stab_band_hz, stab_level = (rng.uniform(150, 500), rng.uniform(1500, 5000)), rng.uniform(0.1, 0.3)
    chopped_steps = sorted(rng.choice(STEPS_PER_BAR, size=3, replace=False))
    for bar in range(song.bars):
        start = bar * STEPS_PER_BAR
        for step in kicks[:2]:
            pitch_hz = song.pitch_hz(song.progression[bar % 4] % 7, octave=-1 if song.tonic_midi > 40 else 0)
            song.place(kick(song, pitch_hz, sub_decay_seconds), start + step, 0.8)
        if rng.uniform() < 0.6:
            for roll in range(int(rng.integers(4, 9))):
                song.place(hat, start + 12 + roll / 2, 0.3 * sound.drum_level, pan=0.4)
        notes = [pluck(song, pitch_hz, stab_steps, 0.8) for pitch_hz in song.chord_hz(bar, stab_octave)]
        stab = np.sum(notes, axis=0)
        stab = filtered(stab, "bandpass", stab_band_hz, sample_rate_hz)
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
            spoken = syllable(song, pitch_hz, 0.9 * steps, glide=rng.uniform(-0.25, 0.05))
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
        _play_melody(song, 3, 0.5, lambda song, pitch_hz, steps: pluck(song, pitch_hz, steps, 1.5))
    borrowed = rng.choice(("nothing", "drums", "guitar"), p=(0.74, 0.18, 0.08))
    if borrowed == "drums":
        kicks = ((0, 8), (0, 7, 10))[rng.integers(2)]
        snares = ((), (12,))[rng.integers(2)]
        _play_drums(song, kicks, snares, int(rng.choice((2, 4))), rng.uniform(0.1, 0.22))
    elif borrowed == "guitar":
        guitar = distorted_guitar(song, (0, 8), 1, 0.15 * sound.drive, 0)
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
