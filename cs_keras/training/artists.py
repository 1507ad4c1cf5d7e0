"""Train tracks by artist: sums over an artist's other tracks, and variances between and within artists.

Artists are names, "" where unknown.
"""

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
Names = npt.NDArray[np.str_]
Rows = npt.NDArray[np.int64]


def sum_by_artist(values: Matrix, artists: Names, wanted: Names, leave_out: Matrix | None = None) -> Matrix:
    """Return the sum of `values` over the train tracks of each artist of `wanted`, and their number.

    Parameters
    ----------
    values
        A vector for each train track, shape (n_train, n_numbers).
    artists
        Artist of each train track, shape (n_train,).
    wanted
        Artists, shape (n,).
    leave_out
        The vectors of `wanted`, shape (n, n_numbers), where these are train tracks themselves: each is left out of
        the sum and the number of its artist. None for new tracks.

    Returns
    -------
    numpy.ndarray, shape (n, n_numbers + 1), float32
        0 for unknown artists and for those without (other) train tracks.
    """
    names, codes = np.unique(artists, return_inverse=True)
    counted = np.hstack([values, np.ones((len(values), 1))])  # float64
    sums = np.zeros((len(names) + 1, counted.shape[1]))  # the last is that of nobody
    np.add.at(sums, codes, counted)
    if leave_out is not None:
        own = np.hstack([leave_out, np.ones((len(leave_out), 1))])
    else:
        own = np.zeros((len(wanted), counted.shape[1]))
    found = np.searchsorted(names, wanted)
    is_known = (wanted != "") & (names[found.clip(max=len(names) - 1)] == wanted)
    of_artist = sums[np.where(is_known, found, -1)] - np.where(is_known[:, np.newaxis], own, 0)
    of_artist[of_artist[:, -1] < 1] = 0  # without the rounding of a difference
    return np.asarray(of_artist, np.float32)


def estimate_variance_ratio(values: Matrix, artists: Names) -> float:
    """Estimate the variance between artists divided by that within them, which is 1 / c of the shrunk mean.

    By the unbiased sums of squares of a one-way analysis of variance with groups of unequal size (Searle, Casella &
    McCulloch 1992, "Variance Components", section 3.6), each summed over all columns.

    Parameters
    ----------
    values
        A vector for each train track, shape (n_train, n_numbers).
    artists
        Artist of each, shape (n_train,); tracks of unknown artists are not used.

    Returns
    -------
    float
        0 where no variance between artists can be shown, as without two tracks of one artist; at most a million.
    """
    known = artists != ""
    x, codes = values[known].astype(np.float64), np.unique(artists[known], return_inverse=True)[1]
    sizes = np.bincount(codes)
    n, n_artists = len(x), len(sizes)
    if n_artists < 2 or n == n_artists:
        return 0.0
    means = np.zeros((n_artists, x.shape[1]))
    np.add.at(means, codes, x)
    means /= sizes[:, np.newaxis]
    within = np.square(x - means[codes]).sum() / (n - n_artists)
    between = (sizes[:, np.newaxis] * np.square(means - x.mean(axis=0))).sum() / (n_artists - 1)
    typical_size = (n - np.square(sizes).sum() / n) / (n_artists - 1)
    of_artists = max(between - within, 0) / typical_size
    return float(of_artists / max(within, 1e-6 * of_artists)) if of_artists > 0 else 0.0


def gather_by_artist(
    vectors: Matrix, artists: Names, wanted: Names, max_tracks: int, seed: int, own: Rows | None = None
) -> Matrix:
    """Return the vectors of the train tracks of each artist of `wanted`, each followed by 1, and zeros after them.

    Parameters
    ----------
    vectors, artists, wanted
        As in `sum_by_artist`.
    max_tracks
        Maximum number of tracks; of more, the first by an order that `seed` draws.
    own
        The row of each of `wanted` among the train tracks, shape (n,), which is left out; None for new tracks.

    Returns
    -------
    numpy.ndarray, shape (n, n_tracks, n_numbers + 1), float32
        With the most tracks that any artist has, at least one and at most `max_tracks`.
    """
    order = np.random.default_rng(seed).permutation(len(artists))
    names, codes = np.unique(artists[order], return_inverse=True)
    by_artist = np.split(order[np.argsort(codes, kind="stable")], np.cumsum(np.bincount(codes))[:-1])
    rows_of = dict(zip(names.tolist(), by_artist, strict=True)) | {"": order[:0]}
    rows = [rows_of.get(name, order[:0]) for name in wanted.tolist()]
    if own is not None:
        rows = [found[found != row] for found, row in zip(rows, own.tolist(), strict=True)]
    n_tracks = max(1, min(max(map(len, rows), default=0), max_tracks))
    gathered = np.zeros((len(wanted), n_tracks, vectors.shape[1] + 1), np.float32)
    for track, found in enumerate(rows):
        n = min(len(found), n_tracks)
        gathered[track, :n, :-1], gathered[track, :n, -1] = vectors[found[:n]], 1
    return gathered


def fit_combination(content: Matrix, means: Matrix, factors: Matrix) -> npt.NDArray[np.float64]:
    """Fit the weights of `cs_keras.layers.artists.ContentAndArtist` by least squares over all tracks and factors.

    Parameters
    ----------
    content, means
        Inputs of the layer, shapes (n, n_factors) and (n, 2 * n_factors).
    factors
        Targets, shape (n, n_factors).

    Returns
    -------
    numpy.ndarray, shape (3,)
        ``own``, ``artist`` and ``others``; all 1 without tracks.
    """
    if not len(factors):
        return np.ones(3)
    artist, others = np.hsplit(means.astype(np.float64), 2)
    inputs = np.stack([content.ravel(), artist.ravel(), -others.ravel()], axis=1)
    return np.asarray(np.linalg.lstsq(inputs, factors.ravel().astype(np.float64), rcond=None)[0])
