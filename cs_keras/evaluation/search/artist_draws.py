"""Lists by dot product over one random track per artist.

Lists of playlists have no query artist whose tracks could be filtered out, so recognising artists increases the
overlap where an artist has several tracks among the candidates. With one track per artist it does not. Each draw
takes one random track of every artist; the overlap is the mean over draws.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cs_keras.evaluation.checks import check_count
from cs_keras.evaluation.search.search import Int64Array
from cs_keras.evaluation.search.topk import TopK

N_DRAWS = 20


def draw_tracks(artists: npt.ArrayLike, n_draws: int = N_DRAWS, seed: int = 0) -> Int64Array:
    """Return a random track of every known artist, shape (n_draws, n_artists), in order of artists.

    `artists`, shape (n_tracks,), int, has -1 for unknown: such tracks are not drawn, since they may be by one
    artist.
    """
    own = np.asarray(artists)
    random, n_draws = np.random.default_rng(seed), check_count("n_draws", n_draws)
    n_artists = len(np.unique(own[own >= 0]))
    drawn = np.empty((n_draws, n_artists), np.int64)
    for tracks in drawn:
        shuffled = random.permutation(np.flatnonzero(own >= 0))
        tracks[:] = shuffled[np.unique(own[shuffled], return_index=True)[1]]
    return drawn


def assign_queries(
    queries: Int64Array, n_draws: int = N_DRAWS, max_queries: int = 20_000, seed: int = 0
) -> Int64Array:
    """Return the playlists of every draw, shape (n_draws, n), n as large as `max_queries` in all allow.

    All of `queries` in every draw if they are few enough, else others in every draw, each equally often or once
    more.
    """
    n = min(len(queries), max(1, max_queries // n_draws))
    if n == len(queries):
        return np.tile(queries, (n_draws, 1))
    shuffled = np.random.default_rng(seed).permutation(queries)
    return np.sort(np.resize(shuffled, (n_draws, n)), axis=1)


def stack_draws(lists: Sequence[TopK]) -> TopK:
    """Return the lists of all draws as those of one ranking of artists: items are artists, in their order."""
    first = lists[0]
    return TopK(
        np.concatenate([one.indices for one in lists]),
        np.concatenate([one.ties for one in lists]),
        np.concatenate([one.queries for one in lists]),
        first.n_items,
        first.metric,
    )
