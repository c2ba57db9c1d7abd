"""Three styles of music played on `pipeline.demo.instruments`; `compose` writes one track."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import signal

from pipeline.demo import instruments
from pipeline.demo.instruments import STEPS_PER_BAR, ArtistSound, Song


def rock(song: Song) -> None:
    """Distorted power chords, bass and driving drums; most songs are sung."""
    rng = song.rng
    _play_drums(song, ((0, 8), (0, 8, 10), (0, 6, 8), (0, 3, 8, 11))[rng.integers(4)], rng.uniform(0.8, 1.6))
    strokes = ((0, 2, 4, 6, 8, 10, 12, 14), (0, 3, 6, 8, 11, 14), (0, 2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15))
    rhythm, level = np.array(strokes[rng.integers(3)]), rng.uniform(0.6, 1.0)
    for start, degree in song.bars():
        for pan in (-0.8, 0.8):  # two guitars, not quite in tune
            pitch_hz = rng.uniform(0.997, 1.003) * song.pitch_hz(degree, 1)
            song.place(instruments.distorted_guitar(song, pitch_hz, 2.5), start + rhythm, level, pan)
        song.place(instruments.bass(song, song.pitch_hz(degree, 0), 2), start + np.arange(0, STEPS_PER_BAR, 2), 0.5)
    if rng.uniform() < 0.7:
        _play_melody(song, instruments.syllable, 2, song.sound.voice_level)


def hip_hop(song: Song) -> None:
    """808 bass, a sparse swung beat, rolls of the hat, and rapping."""
    rng = song.rng
    song.swing_steps = rng.uniform(0, 0.35)
    kicks = ((0, 7, 10), (0, 3, 10), (0, 10, 11), (0, 6, 14))[rng.integers(4)]
    _play_drums(song, kicks, rng.uniform(0.6, 1.2))
    for start, degree in song.bars():
        song.place(instruments.kick(song, song.pitch_hz(degree, 0), rng.uniform(6, 12)), start + np.array(kicks), 0.8)
        roll = start + 12 + np.arange(rng.integers(0, 9)) / 2
        song.place(instruments.noise_hit(song, 7000, 0.4), roll, 0.4, pan=0.4)
    step = 0
    while step < song.steps:
        length = int(rng.integers(1, 4))
        pitch_hz = rng.uniform(0.85, 1.2) * song.sound.voice_pitch_hz
        song.place(instruments.syllable(song, pitch_hz, 0.8 * length), step, song.sound.voice_level)
        step += length


def instrumental(song: Song) -> None:
    """Pads and arpeggios over slow chords; most songs have a melody, none has drums or a voice."""
    rng = song.rng
    spacing, octave, order = int(rng.choice((1, 2, 4))), int(rng.integers(2, 4)), rng.permutation(4)
    pluck_level, pad_level = rng.uniform(0.3, 0.6), rng.uniform(0.6, 1.2)
    for start, degree in song.bars():
        for position, third in zip(order, (0, 2, 4, 7), strict=True):
            pitch_hz = song.pitch_hz(degree + third, octave)
            steps = np.arange(start + position * spacing, start + STEPS_PER_BAR, 4 * spacing)
            song.place(instruments.pluck(song, pitch_hz, 2.5 * spacing), steps, pluck_level, pan=-0.3)
            song.place(instruments.pad(song, pitch_hz, STEPS_PER_BAR + 2), start, pad_level)
    if rng.uniform() < 0.7:
        _play_melody(song, instruments.pluck, 3, 0.6)


def _play_drums(song: Song, kicks: Sequence[int], level: float) -> None:
    """Kicks as given, a snare on the second and the fourth beat, a hat on every eighth."""
    rng = song.rng
    drum = instruments.kick(song, rng.uniform(45, 65), rng.uniform(2, 4))
    snare = instruments.noise_hit(song, rng.uniform(800, 2000), rng.uniform(2, 4))
    hat = instruments.noise_hit(song, rng.uniform(5000, 8000), rng.uniform(0.5, 1.5))
    for start, _ in song.bars():
        song.place(drum, start + np.array(kicks), level)
        song.place(snare, (start + 4, start + 12), 0.6 * level, pan=0.1)
        song.place(hat, start + np.arange(0, STEPS_PER_BAR, 2), 0.3 * level, pan=0.4)


def _play_melody(song: Song, instrument: Callable[[Song, float, float], np.ndarray], octave: int, level: float) -> None:
    """A tune that walks up and down the scale in notes of uneven length."""
    step, degree = 0, 3
    while step < song.steps:
        length = int(song.rng.choice((2, 4, 4, 6, 8)))
        degree = int(np.clip(degree + song.rng.integers(-2, 3), -2, 9))
        song.place(instrument(song, song.pitch_hz(degree, octave), length), step, level, pan=0.2)
        step += length


# What plays each style, and its slowest and fastest tempo in beats a minute.
RECIPES = {"Rock": (rock, (110, 150)), "Hip-Hop": (hip_hop, (75, 100)), "Instrumental": (instrumental, (65, 125))}


def compose(
    recipe: str, sound: ArtistSound, rng: np.random.Generator, sample_rate_hz: int, duration_seconds: float
) -> np.ndarray:
    """Writes one track in the style `recipe`: a stereo waveform [samples, 2] within -1...1."""
    play, tempo_range_bpm = RECIPES[recipe]
    song = Song(rng, sound, tempo_range_bpm, sample_rate_hz, duration_seconds)
    play(song)
    room_time = np.arange(int(sound.room_seconds * sample_rate_hz)) / sample_rate_hz
    echoes = rng.standard_normal(len(room_time)) * np.exp(-5 * room_time / sound.room_seconds)
    echoes *= rng.uniform(0.1, 0.4) / np.linalg.norm(echoes)
    mix = song.mix + signal.oaconvolve(song.mix.mean(axis=0), echoes)[: song.mix.shape[1]]
    mix += (10 ** (sound.treble_db / 20) - 1) * song.filtered(mix, "highpass", 900)
    mix = np.tanh(mix / (3 * np.std(mix)))
    return (10 ** (sound.peak_db / 20) * mix / np.abs(mix).max()).T
