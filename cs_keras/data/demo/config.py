"""Settings of the demo data and their checks."""

from dataclasses import dataclass, fields
from typing import Any

from cs_keras.config import check_range
from cs_keras.data.demo.style import GENRES
from cs_keras.errors import ConfigError

MIN_PLAYLIST_LENGTH = 5  # tracks; a shorter playlist has little information about a taste


@dataclass(frozen=True)
class DemoConfig:
    """Settings of the demo data; ConfigError if one lies outside its range.

    The default has 285 test tracks by 57 artists, enough for lists of 100; `of_size` keeps its proportions.

    Attributes
    ----------
    n_genres
        Number of genres, the first of `GENRES`.
    n_artists, n_tracks, n_playlists
        Sizes. Tracks are spread evenly over artists, artists over genres.
    min_duration_s, max_duration_s
        Range of track durations in seconds.
    sample_rate
        Hz.
    mean_playlist_length
        Mean number of tracks in a playlist; lengths have a shifted negative binomial distribution.
    audible_share
        Weight of the audible style in a taste, 0 to 1; the rest is the weight of the social factors.
    chance_share
        Probability, 0 to 1, that an entry is a uniformly random track.
    popularity_exponent
        Weight of log popularity; 0 ignores it.
    taste_sharpness
        Weight of the distance between taste and track; 0 ignores taste.
    seed
        Seed of all random numbers: the same settings give the same files.
    """

    n_genres: int = 8
    n_artists: int = 280
    n_tracks: int = 1400
    min_duration_s: float = 8.0
    max_duration_s: float = 12.0
    sample_rate: int = 22050
    n_playlists: int = 2800
    mean_playlist_length: float = 25.0
    audible_share: float = 0.7
    chance_share: float = 0.05
    popularity_exponent: float = 0.5
    taste_sharpness: float = 4.0
    seed: int = 0

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "n_genres": (1, len(GENRES)),
            "n_artists": (self.n_genres, 4096),
            "n_tracks": (self.n_artists, 99_999),  # the running number of an ISRC has five digits
            "min_duration_s": (1, 600),
            "max_duration_s": (self.min_duration_s, 600),
            "sample_rate": (8000, 96_000),
            "n_playlists": (1, 10_000_000),
            "mean_playlist_length": (MIN_PLAYLIST_LENGTH, self.n_tracks / 2),
            "audible_share": (0, 1),
            "chance_share": (0, 1),
            "popularity_exponent": (0, 4),
            "taste_sharpness": (0, 100),
            "seed": (0, 2**63 - 1),
        }
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.type is int and (not isinstance(value, int) or isinstance(value, bool)):
                raise ConfigError(f"{setting.name} must be a whole number. Received: {value!r}.")
            check_range(setting.name, value, *limits[setting.name])

    @classmethod
    def of_size(cls, n_tracks: int, **changes: Any) -> "DemoConfig":
        """Return settings for `n_tracks`: by default five tracks per artist and two playlists per track."""
        sizes = {"n_artists": max(n_tracks // 5, 1), "n_playlists": max(2 * n_tracks, 1)}
        return cls(n_tracks=n_tracks, **{**sizes, **changes})
