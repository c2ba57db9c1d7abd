"""What the demo data set will hold, decided from the seed alone: artists, titles, ids, splits and encodings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from pipeline.demo.instruments import ArtistSound, draw_artist_sound

TRACKS_PER_SPLIT = {"training": 34, "validation": 10, "test": 16}  # of each style
ARTISTS_PER_SPLIT = {"training": 6, "validation": 4, "test": 5}  # of each style
# Broad labels are subjective: this share of each style's tracks follows another style's recipe, without a trace of its
# own, so the best accuracy to expect on test is 42 of 48. No training track does: networks learn such tracks by heart,
# and then take a few honest ones for them; which ones depends on the seed and on rounding.
CONTRADICTING_SHARE = {"training": 0.0, "validation": 0.1, "test": 0.125}
# No track id that FMA's users reported as unreadable lies in this range.
TRACK_IDS = range(10_000, 16_000)

# FMA's own ids, parents and titles; a sub-genre changes its artists' sound.
GENRES = {
    12: (0, "Rock"),
    21: (0, "Hip-Hop"),
    25: (12, "Punk"),
    66: (12, "Indie-Rock"),
    100: (21, "Alternative Hip-Hop"),
    811: (21, "Hip-Hop Beats"),
    1235: (0, "Instrumental"),
}
ROOT_IDS = {title: genre_id for genre_id, (parent, title) in GENRES.items() if parent == 0}
SUB_GENRES = {"Rock": (None, 25, 66), "Hip-Hop": (None, 100, 811), "Instrumental": (None,)}
SUB_GENRE_SOUNDS: dict[int | None, dict[str, Any]] = {
    25: {"tempo_position": 0.95, "treble_db": 6.0},
    811: {"voice_level": 0.0},
}

# Invented names: a first and a last word, put together by the seed.
ARTIST_WORDS = {
    "Rock": (
        ("The Lopsided", "The Unpaved", "The Tarnished", "The Sulking", "The Crooked", "The Overgrown"),
        ("Girders", "Turnpikes", "Kettledrums", "Lampposts", "Weathervanes", "Gravel Pits"),
    ),
    "Hip-Hop": (
        ("MC", "Kid", "Professor", "Captain", "Uncle", "Doctor"),
        ("Thimble", "Vestibule", "Parallelogram", "Marzipan", "Turnstile", "Quillon"),
    ),
    "Instrumental": (
        ("Alderlight", "Saltmarsh", "Quiet Orchard", "Paper Lantern", "Northern Shed", "Slow Ferry"),
        ("Ensemble", "Chamber Group", "Quintet", "Workshop", "Society", "Duo"),
    ),
}
TITLE_WORDS = (
    (
        *("Amber", "Borrowed", "Broken", "Copper", "Distant", "Empty", "Faded", "Gentle", "Hidden", "Hollow"),
        *("Iron", "Late", "Lost", "Narrow", "Open", "Paper", "Quiet", "Restless", "Silver", "Winter"),
    ),
    (
        *("Airport", "Balcony", "Bridge", "Corridor", "Engine", "Garden", "Harbour", "Kitchen", "Ladder"),
        *("Letters", "Machine", "Mirror", "Platform", "River", "Shadows", "Signal", "Staircase", "Wires"),
    ),
)


@dataclass(frozen=True)
class Artist:
    """An invented artist: one name, one sound, one album, one split."""

    artist_id: int
    name: str
    album_title: str
    sub_genre_id: int | None
    sound: ArtistSound


@dataclass(frozen=True)
class Encoding:
    """How a clip becomes an MP3."""

    sample_rate_hz: int
    channels: int
    bit_rate_bps: int | None  # None = variable
    quality: float  # of a variable bit rate: 0 = best ... 1 = smallest
    tagged: bool


@dataclass(frozen=True)
class Track:
    """One row of the tables and one file."""

    index: int
    track_id: int
    title: str
    style: str
    recipe: str | None  # None = the broken file
    split: str
    number: int  # on the album
    artist: Artist
    encoding: Encoding

    @property
    def path(self) -> str:
        """Where FMA keeps the clip, relative to the data directory."""
        name = f"{self.track_id:06d}"
        return f"fma_small/{name[:3]}/{name}.mp3"

    @property
    def genre_ids(self) -> list[int]:
        """The style's root genre, and the sub-genre where the artist has one."""
        sub_genre_id = self.artist.sub_genre_id
        return [ROOT_IDS[self.style]] + ([sub_genre_id] if sub_genre_id else [])


def plan_tracks(seed: int, tracks_per_split: Mapping[str, int] = TRACKS_PER_SPLIT) -> list[Track]:
    """Decides all but the sound: artists, titles, ids, splits and encodings. The broken file comes last."""
    rng = np.random.default_rng([seed, 0])
    total = len(ROOT_IDS) * sum(tracks_per_split.values()) + 1
    track_ids = rng.choice(TRACK_IDS, size=total, replace=False).tolist()
    phrases = _shuffled_names(rng, TITLE_WORDS)
    tracks: list[Track] = []
    artist_id = 0
    for style in ROOT_IDS:
        names = _shuffled_names(rng, ARTIST_WORDS[style])
        for split, count in tracks_per_split.items():
            artists = []
            for index in range(ARTISTS_PER_SPLIT[split]):
                artist_id += 1
                sub_genre_id = SUB_GENRES[style][index % len(SUB_GENRES[style])]
                sound = replace(draw_artist_sound(rng), **SUB_GENRE_SOUNDS.get(sub_genre_id, {}))
                artists.append(Artist(artist_id, next(names), next(phrases), sub_genre_id, sound))
            for position, recipe in enumerate(_draw_recipes(rng, style, split, count)):
                number, artist_index = divmod(position, len(artists))
                tracks.append(
                    Track(
                        index=len(tracks),
                        track_id=track_ids[len(tracks)],
                        title=next(phrases),
                        style=style,
                        recipe=recipe,
                        split=split,
                        number=number + 1,
                        artist=artists[artist_index],
                        encoding=_draw_encoding(rng),
                    )
                )
    # The first style is Rock and the first split training, so that is what the broken file is listed as.
    broken = replace(tracks[0], index=len(tracks), track_id=track_ids[-1], title=next(phrases), recipe=None, number=13)
    return [*tracks, broken]


def _shuffled_names(rng: np.random.Generator, words: tuple[Sequence[str], Sequence[str]]) -> Iterator[str]:
    return iter(rng.permutation([" ".join(pair) for pair in product(*words)]).tolist())


def _draw_recipes(rng: np.random.Generator, style: str, split: str, count: int) -> list[str]:
    """The recipes of a style's tracks; those that contradict the label take turns between the two other styles."""
    recipes = [style] * count
    styles = list(ROOT_IDS)
    contradicting = rng.choice(count, size=round(CONTRADICTING_SHARE[split] * count), replace=False)
    for turn, position in enumerate(contradicting):
        recipes[position] = styles[(styles.index(style) + 1 + turn % 2) % 3]
    return recipes


def _draw_encoding(rng: np.random.Generator) -> Encoding:
    """Draws an encoding whatever the style is, or a model could learn the encoder instead of the music."""
    sample_rate_hz = int(rng.choice((44_100, 48_000, 32_000, 22_050), p=(0.8, 0.1, 0.05, 0.05)))
    bit_rate_bps = 1000 * int(rng.choice((64, 96, 128, 160, 192, 256, 320)))
    if sample_rate_hz < 32_000:
        bit_rate_bps = min(bit_rate_bps, 160_000)  # the most that MPEG-2 allows
    return Encoding(
        sample_rate_hz=sample_rate_hz,
        channels=int(rng.choice((1, 2), p=(0.4, 0.6))),
        bit_rate_bps=bit_rate_bps if rng.uniform() < 0.6 else None,
        quality=float(rng.choice((0.0, 0.2, 0.4, 0.6))),
        tagged=bool(rng.uniform() < 0.6),
    )
