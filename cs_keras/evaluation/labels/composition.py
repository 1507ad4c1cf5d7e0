"""Genre compositions: shares of genres in words, tracks nearest to them, and genre names of other collections."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.checks import check_count
from cs_keras.evaluation.labels.genre_accuracy import Genres, match_genres

Float64Array = npt.NDArray[np.float64]

_PART = re.compile(
    r"(?P<percent>\d+(?:\.\d+)?)\s*%?\s+(?P<genre>.+)|(?P<name>.+?)\s*=\s*(?P<value>\d+(?:\.\d+)?)\s*%?"
)


def parse_composition(text: str, genres: Sequence[str]) -> Float64Array:
    """Return the share of each genre, shape (n_genres,), of a composition such as "60% ambient, 40% techno".

    ``ambient=60, techno=40`` is the same. Shares are scaled to a sum of 1; genres match case-insensitively.

    Raises
    ------
    ConfigError
        The text has another form, a genre is unknown or named twice, or all shares are 0.

    Examples
    --------
    >>> parse_composition("60% ambient, 20% Techno", ("ambient", "rock", "techno"))
    array([0.75, 0.  , 0.25])
    """
    shares = np.zeros(len(genres))
    columns = []
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        if found is None:
            raise ConfigError(
                "a composition is written as '60% ambient, 40% techno' or 'ambient=60, techno=40'. "
                f"Received: {text!r}."
            )
        name, share = found["genre"] or found["name"], float(found["percent"] or found["value"])
        (own,) = match_genres([[name]], genres)
        if not own:
            raise ConfigError(f"genres must be some of {', '.join(genres)}. Received: {name!r}.")
        columns += own
        shares[own] = share
    if len(set(columns)) < len(columns) or not shares.any():
        raise ConfigError(f"a composition names each genre once, with shares above 0. Received: {text!r}.")
    return np.asarray(shares / shares.sum())


def rank_by_composition(
    probabilities: npt.ArrayLike, wanted: npt.ArrayLike, k: int
) -> tuple[npt.NDArray[np.int64], Float64Array]:
    """Return the k tracks whose genre probabilities are nearest to a composition, and their Euclidean distances.

    Parameters
    ----------
    probabilities : array_like, shape (n_tracks, n_genres), float
    wanted : array_like, shape (n_genres,), float
    k : int
        All tracks where there are fewer.

    Returns
    -------
    rows : ndarray of int64, shape (k,)
        Nearest first; ties in row order.
    distances : ndarray of float64, shape (k,)
    """
    k = check_count("k", k)
    distances = np.linalg.norm(np.asarray(probabilities, np.float64) - np.asarray(wanted), axis=1)
    rows = np.argsort(distances, kind="stable")[:k]
    return rows, distances[rows]


def map_genres(labels: Genres, table: Mapping[str, str], genres: Sequence[str]) -> list[list[str]]:
    """Return the genres of tracks of another collection under the names of a classifier's.

    Names that the table lacks stay as they are.

    Raises
    ------
    DataError
        The table maps to a genre that the classifier does not have.
    """
    for name, own in zip(
        table.values(), match_genres([[name] for name in table.values()], genres), strict=True
    ):
        if not own:
            raise DataError(f"genres must be mapped to some of {', '.join(genres)}. Received: {name!r}.")
    folded = {name.casefold(): to for name, to in table.items()}
    return [[folded.get(name.casefold(), name) for name in own] for own in labels]
