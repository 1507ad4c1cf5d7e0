"""Playlists sampled from tastes for styles and social factors, from popularity and at random; and dislikes."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cs_keras.data.demo.catalogue import DemoCatalogue
from cs_keras.data.demo.config import MIN_PLAYLIST_LENGTH, DemoConfig
from cs_keras.data.demo.style import style_matrix

Matrix = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

TASTE_SPREAD = 0.4  # standard deviation of a taste around the track that inspired it, in standardised units
LENGTH_SHAPE = 3.0  # of the gamma distribution of playlist lengths; smaller is more unequal
REPEAT_PROBABILITY = 0.1  # that an entry is played once more; counts are geometric
PLAYLISTS_PER_BLOCK = 1024  # bounds memory: a block holds this many rows of n_tracks probabilities


def draw_interactions(catalogue: DemoCatalogue, config: DemoConfig) -> tuple[Integers, Integers, Integers]:
    """Draw playlists, the same for the same settings, sorted by playlist, then by track.

    Returns the number of the playlist, the row of the track in the catalogue, and the plays (at least 1) of each
    entry, shape (n_entries,) each.

    A playlist has a taste: the style of one track and the social factors of another, both with noise. With d² the
    squared distance per dimension between taste and track, w the audible share, s the sharpness, β the popularity
    exponent and c the chance share, its tracks are drawn without replacement with probability

        (1 - c) · softmax(β · log(popularity) - s · (w · d²_style + (1 - w) · d²_social)) + c / n_tracks.
    """
    rng = np.random.default_rng([config.seed, 1])
    entries = [np.argwhere(block.chosen) + [block.start, 0] for block in _draw_blocks(catalogue, config, rng)]
    playlists, tracks = np.concatenate(entries).T
    return playlists, tracks, rng.geometric(1 - REPEAT_PROBABILITY, len(tracks))


def draw_dislikes(catalogue: DemoCatalogue, config: DemoConfig) -> tuple[Integers, Integers]:
    """Draw tracks that the listener of a playlist dislikes, sorted by playlist, then by track.

    Returns the number of the playlist and the row of the track in the catalogue, shape (n_dislikes,) each. Nothing
    that `draw_interactions` draws depends on them.

    A playlist has as many dislikes as tracks. They are drawn without replacement in proportion to popularity^β from
    the half of all tracks that is farthest from the playlist's taste, less its own tracks: like those that were
    played, tracks that many come across.
    """
    rng = np.random.default_rng([config.seed, 3])
    popularity = catalogue.popularity**config.popularity_exponent
    dislikes = []
    for block in _draw_blocks(catalogue, config, np.random.default_rng([config.seed, 1])):
        is_far = block.distance > np.median(block.distance, axis=1, keepdims=True)
        is_candidate = is_far & ~block.chosen
        drawn = _draw_without_replacement(is_candidate * popularity, block.chosen.sum(axis=1), rng)
        dislikes.append(np.argwhere(drawn & is_candidate) + [block.start, 0])
    playlists, tracks = np.concatenate(dislikes).T
    return playlists, tracks


class _Block(NamedTuple):
    """Playlists from number `start` on: squared distances of tastes from tracks, and the tracks drawn."""

    start: int
    distance: Matrix  # (n, n_tracks)
    chosen: npt.NDArray[np.bool_]  # (n, n_tracks)


def _draw_blocks(catalogue: DemoCatalogue, config: DemoConfig, rng: np.random.Generator) -> Iterator[_Block]:
    style = style_matrix(catalogue.styles).astype(np.float64)
    social = catalogue.social.astype(np.float64)
    lengths = _draw_lengths(config, rng)
    for start in range(0, config.n_playlists, PLAYLISTS_PER_BLOCK):
        block = lengths[start : start + PLAYLISTS_PER_BLOCK]
        style_taste = _draw_tastes(style, len(block), rng)
        social_taste = _draw_tastes(social, len(block), rng)
        distance = config.audible_share * _squared_distances(style_taste, style)
        distance += (1 - config.audible_share) * _squared_distances(social_taste, social)
        logit = config.popularity_exponent * np.log(catalogue.popularity) - config.taste_sharpness * distance
        weight = np.exp(logit - logit.max(axis=1, keepdims=True))
        probability = (1 - config.chance_share) * weight / weight.sum(axis=1, keepdims=True)
        yield _Block(
            start,
            distance,
            _draw_without_replacement(probability + config.chance_share / config.n_tracks, block, rng),
        )


def _draw_lengths(config: DemoConfig, rng: np.random.Generator) -> Integers:
    """Draw gamma-Poisson (negative binomial) lengths above the minimum, at most the whole catalogue."""
    excess = config.mean_playlist_length - MIN_PLAYLIST_LENGTH
    rates = rng.gamma(LENGTH_SHAPE, excess / LENGTH_SHAPE, config.n_playlists)
    return np.asarray(np.minimum(MIN_PLAYLIST_LENGTH + rng.poisson(rates), config.n_tracks))


def _draw_tastes(tracks: Matrix, n: int, rng: np.random.Generator) -> Matrix:
    blur = TASTE_SPREAD * rng.standard_normal((n, tracks.shape[1]))
    return np.asarray(tracks[rng.integers(len(tracks), size=n)] + blur)


def _squared_distances(a: Matrix, b: Matrix) -> Matrix:
    """Return the mean squared difference over dimensions between rows of `a` and of `b`."""
    products = np.einsum("ud,td->ut", a, b)  # not BLAS, whose rounding depends on the number of threads
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * products
    return np.asarray(squares / a.shape[1])


def _draw_without_replacement(
    probability: Matrix, lengths: Integers, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Mark lengths[i] tracks of row i, each drawn in proportion to its probability among those left.

    By the Gumbel top-k trick: Kool, van Hoof & Welling, "Stochastic Beams and Where to Find Them", ICML 2019.
    """
    with np.errstate(divide="ignore"):  # log 0 = -inf: never drawn before the others
        keys = np.log(probability) + rng.gumbel(size=probability.shape)
    ranks = np.argsort(np.argsort(-keys, axis=1, kind="stable"), axis=1)
    return np.asarray(ranks < lengths[:, None])
