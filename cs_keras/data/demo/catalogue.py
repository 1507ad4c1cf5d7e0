"""The demo catalogue: artists around genres, tracks around artists, and invented names."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from cs_keras.data.demo.config import DemoConfig
from cs_keras.data.demo.style import GENRES, Style

SOCIAL_NAMES = ("scene", "era", "city", "label")  # shared by listeners, independent of the audio
GENRE_CONTRAST = 0.75  # moves genres towards the middle of each range, so that they overlap
ARTIST_SPREAD = 0.9  # standard deviation of an artist's style around the genre's, in standardised units
TRACK_SPREAD = 0.4  # the same for a track around its artist
SOCIAL_TRACK_SPREAD = 1.2  # the same for the social factors, in which artists have a standard deviation of 1
POPULARITY_SPREAD = 1.0  # of the natural logarithm of a track's popularity
TRACKS_PER_ALBUM = 4

EPITHETS = """
    Amber Backwards Borrowed Clockwork Crooked Distant Drowsy Electric Feathered Folded Gentle Hollow Imaginary
    Invisible Lopsided Lunar Magnetic Midnight Northern Paper Patient Plastic Polite Quiet Reluctant Salted
    Sideways Silver Slow Spare Tidal Velvet
""".split()
THINGS = """
    Antelope Atlas Biscuit Cathedral Comet Compass Dynamo Ferry Glacier Harbour Hedgehog Kettle Ladder Lantern
    Meadow Meridian Orchard Otter Pendulum Periscope Pigeon Postcard Quarry Radiator Satellite Signal
    Staircase Teapot Umbrella Viaduct Walrus Weathervane
""".split()
ENSEMBLES = "Committee Department Ensemble Society".split()


@dataclass(frozen=True)
class DemoCatalogue:
    """The tracks of a demo with their latent variables, a row for each track.

    The ISRCs have the country code ZZ, which is not assigned. `styles` are audible. `social`, shape (n_tracks,
    n_social), are inaudible factors: artists have a standard deviation of 1, and tracks scatter around their
    artist. `popularity`, shape (n_tracks,), is log-normal of median 1. The three are independent of each other.
    """

    track_ids: tuple[str, ...]
    artists: tuple[str, ...]
    titles: tuple[str, ...]
    albums: tuple[str, ...]
    isrcs: tuple[str, ...]
    genres: tuple[str, ...]
    styles: tuple[Style, ...]
    social: npt.NDArray[np.float32]
    popularity: npt.NDArray[np.float64]
    duration_s: npt.NDArray[np.float64]


def draw_catalogue(config: DemoConfig) -> DemoCatalogue:
    """Draw artists around genres and tracks around artists, the same for the same settings."""
    rng = np.random.default_rng([config.seed, 0])
    n_tracks, n_artists = config.n_tracks, config.n_artists
    artist_of = np.arange(n_tracks) * n_artists // n_tracks
    genre_of = artist_of % config.n_genres
    centres = np.stack([style.to_vector() for style in GENRES.values()])
    n_dims, n_social = centres.shape[1], len(SOCIAL_NAMES)
    style = (
        GENRE_CONTRAST * centres[genre_of]
        + ARTIST_SPREAD * rng.standard_normal((n_artists, n_dims))[artist_of]
    )
    style += TRACK_SPREAD * rng.standard_normal((n_tracks, n_dims))
    social = rng.standard_normal((n_artists, n_social))[artist_of]
    social += SOCIAL_TRACK_SPREAD * rng.standard_normal((n_tracks, n_social))
    artists = [" ".join(words) for words in product(EPITHETS, THINGS, ENSEMBLES)]
    titles = [" ".join(words) for words in product(EPITHETS, THINGS)]
    artist_names = rng.choice(artists, n_artists, replace=False)
    title_order = rng.permutation(len(titles))  # titles repeat only after all were used
    first_of_album = np.arange(n_tracks) - _position_within(artist_of) % TRACKS_PER_ALBUM
    return DemoCatalogue(
        track_ids=tuple(f"demo{index:05d}" for index in range(n_tracks)),
        artists=tuple(str(artist_names[artist]) for artist in artist_of),
        titles=tuple(titles[title_order[index % len(titles)]] for index in range(n_tracks)),
        albums=tuple(titles[title_order[index % len(titles)]] for index in first_of_album),
        isrcs=tuple(f"ZZCSK00{index:05d}" for index in range(n_tracks)),
        genres=tuple(list(GENRES)[genre] for genre in genre_of),
        styles=tuple(Style.from_vector(vector) for vector in style),
        social=social.astype(np.float32),
        popularity=np.exp(POPULARITY_SPREAD * rng.standard_normal(n_tracks)),
        duration_s=rng.uniform(config.min_duration_s, config.max_duration_s, n_tracks).round(2),
    )


def _position_within(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the position of each row within its run of equal groups."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))
