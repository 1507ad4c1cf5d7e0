"""Reference predictors: random factors, mean, single ranking, artist mean, regression from true features."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.checks import FloatArray, check_count, check_factors, check_width
from cs_keras.evaluation.search.search import blocks

RIDGE_PENALTIES = (1.0, 10.0, 30.0, 100.0, 300.0)
KERNEL_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)
ROWS_PER_BLOCK = 2**14  # in float64 at a time: 26 MB of 200 factors


def random_predictor(reference: npt.ArrayLike, seed: int | Sequence[int]) -> FloatArray:
    """Return normal random factors with the mean and standard deviation of each factor of the reference.

    Parameters
    ----------
    reference : array_like, shape (n_tracks, n_factors), float32
    seed : int or sequence of int

    Returns
    -------
    numpy.ndarray, shape (n_tracks, n_factors), float32

    Raises
    ------
    DataError
        Not a finite factor matrix.
    """
    reference = check_factors("reference factors", reference)
    mean = reference.mean(axis=0, dtype=np.float64)
    sd = np.array([column.std(dtype=np.float64) for column in reference.T])  # of all at once: twice its size
    random, drawn = np.random.default_rng(seed), np.empty_like(reference)
    for block in blocks(len(drawn), ROWS_PER_BLOCK):
        drawn[block] = mean + sd * random.standard_normal(drawn[block].shape)
    return drawn


def mean_predictor(train_mean: npt.ArrayLike, n_tracks: int) -> FloatArray:
    """Return the same factors, the mean of the training tracks, for every track.

    All its lists are tied, so its overlap is that of row order: use it for losses only.

    Parameters
    ----------
    train_mean : array_like, shape (n_factors,), float32
    n_tracks : int

    Returns
    -------
    numpy.ndarray, shape (n_tracks, n_factors), float32

    Raises
    ------
    DataError
        Not a finite vector.
    ConfigError
        `n_tracks` is not a positive whole number.
    """
    if np.ndim(train_mean) != 1:
        raise DataError(
            f"train_mean is not a vector: expected shape (n_factors,). Received: shape {np.shape(train_mean)}."
        )
    mean = check_factors("train_mean", np.asarray(train_mean)[np.newaxis])
    return np.repeat(mean, check_count("n_tracks", n_tracks), axis=0)


def score_by_mean_playlist(
    factors: npt.ArrayLike, playlist_factors: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return one score per track: its dot product with the playlists' factors, averaged over playlists.

    As a prediction, it gives the overlap of a single ranking for all playlists. From reference factors it is the
    popularity oracle, from a model's factors the model's own single ranking. It is not the best single ranking
    for every k. Pass the scores to `evaluate_overlap` as the prediction; collinear factors would reverse the
    ranking for playlists at an obtuse angle to the mean.

    Parameters
    ----------
    factors : array_like, shape (n_tracks, n_factors), float32
    playlist_factors : array_like, shape (n_playlists, n_factors), float32

    Returns
    -------
    numpy.ndarray, shape (n_tracks,), float64
        Larger is better.

    Raises
    ------
    DataError
        Not finite factor matrices of one width.
    """
    items = check_factors("item factors", factors)
    playlists = check_factors("playlist factors", playlist_factors)
    check_width(playlists, items)
    mean_playlist = playlists.mean(axis=0, dtype=np.float64)
    scores = np.empty(len(items))
    for block in blocks(len(scores), ROWS_PER_BLOCK):
        scores[block] = (items[block] * mean_playlist).sum(axis=1)
    return scores


def centre_playlists(playlist_factors: npt.ArrayLike) -> FloatArray:
    """Return playlist factors less their mean, which ranks tracks by popularity; rows of zeros stay zero.

    Lists by these do not reward popularity. Shapes are (n_playlists, n_factors), float32; the mean is
    over playlists that are not zero. `DataError` is raised for no finite factor matrix.
    """
    playlists = check_factors("playlist factors", playlist_factors)
    has_factors = playlists.any(axis=1)
    if not has_factors.any():
        return playlists
    mean = playlists[has_factors].mean(axis=0, dtype=np.float64)
    return np.where(has_factors[:, np.newaxis], playlists - mean, 0).astype(np.float32)


def predict_artist_means(
    train_factors: npt.ArrayLike, train_artists: npt.ArrayLike, artists: npt.ArrayLike
) -> FloatArray:
    """Predict for each track the mean factors of its artist's training tracks.

    Tracks of an artist without training tracks, or of unknown artist, get the mean of all training tracks, so they
    tie with each other; with folds by artist, that is every track.

    Parameters
    ----------
    train_factors : array_like, shape (n_train_tracks, n_factors), float32
    train_artists : array_like, shape (n_train_tracks,), int
        Number of the artist, -1 if unknown.
    artists : array_like, shape (n_tracks,), int

    Returns
    -------
    numpy.ndarray, shape (n_tracks, n_factors), float32

    Raises
    ------
    DataError
        Not a finite factor matrix, or not one artist for each of its rows.
    """
    factors = check_factors("train factors", train_factors).astype(np.float64)
    names, codes = np.unique(train_artists, return_inverse=True)
    if np.shape(train_artists) != (len(factors),):
        raise DataError(
            f"artists do not match: expected one for each of {len(factors)} training tracks. "
            f"Received: shape {np.shape(train_artists)}."
        )
    sums = np.zeros((len(names), factors.shape[1]))
    np.add.at(sums, codes, factors)
    means = np.vstack((sums / np.bincount(codes)[:, np.newaxis], factors.mean(axis=0))).astype(np.float32)
    wanted = np.asarray(artists)
    found = np.searchsorted(names, wanted).clip(max=len(names) - 1)
    rows = np.where(
        (names[found] == wanted) & (wanted >= 0), found, len(names)
    )  # the last row is the mean of all
    return np.asarray(means[rows])


def predict_from_features(
    features: npt.ArrayLike, factors: npt.ArrayLike, rows: Mapping[str, npt.NDArray[np.int64]]
) -> FloatArray:
    """Predict test tracks' factors by the ridge or kernel ridge regression that is best on validation tracks.

    With the true style that the audio was generated from as features, it is the predictor best-from-sound: a
    model cannot infer more than the style from audio. Features are standardised on train tracks; the kernel is
    Gaussian, exp(-d² / (2 n_features)).

    Parameters
    ----------
    features : array_like, shape (n_tracks, n_features), float
    factors : array_like, shape (n_tracks, n_factors), float32
    rows : mapping of str to numpy.ndarray of int64
        Rows of ``train``, ``validation`` and ``test`` tracks, some of each.

    Returns
    -------
    numpy.ndarray, shape (n_test, n_factors), float32
    """
    from sklearn.kernel_ridge import KernelRidge  # here: it takes a second to import
    from sklearn.linear_model import Ridge

    values, targets = np.asarray(features, np.float64), np.asarray(factors, np.float64)
    train, validation, test = (rows[split] for split in ("train", "validation", "test"))
    values = (values - values[train].mean(axis=0)) / np.maximum(values[train].std(axis=0), 1e-6)
    centre = targets[train].mean(axis=0)
    models = [
        *(Ridge(alpha=penalty, fit_intercept=False) for penalty in RIDGE_PENALTIES),
        *(
            KernelRidge(kernel="rbf", gamma=0.5 / values.shape[1], alpha=penalty)
            for penalty in KERNEL_PENALTIES
        ),
    ]
    errors = []
    for model in models:
        model.fit(values[train], targets[train] - centre)
        residual = model.predict(values[validation]) + centre - targets[validation]
        errors.append(np.square(residual).mean())
    best = models[int(np.argmin(errors))]
    return np.asarray(best.predict(values[test]) + centre, dtype=np.float32)
