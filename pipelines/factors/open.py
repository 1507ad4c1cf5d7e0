"""Factors and interactions of a dataset, read in its tracks' order and for one split."""

import re

from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.data.schema import INTERACTIONS_FILE, Tracks, factors_names, factors_path
from cs_keras.errors import DataError
from cs_keras.factors.interactions import Interactions, align, load_interactions
from cs_keras.factors.store import Factors, adapt_to_split, load_factors
from cs_keras.storage.location import Location, is_file

DEFAULT_NAME = "wmf"
OF_ROTATION = re.compile(r"-cv\d+-\d+$")  # names of factors that a cross-validation fits for its rotations


def open_factors(dataset: Location, tracks: Tracks, name: str | None = None) -> Factors:
    """Read factors of a dataset, by default its only ones, apart from those of rotations, or ``wmf``.

    DataError is raised when there are none, or they are of other tracks than the dataset's.
    """
    names = factors_names(dataset)
    if not names:
        raise DataError(f"{dataset} has no factors; `cs-keras factors LISTENING.csv {dataset}` makes them.")
    choices = [one for one in names if not OF_ROTATION.search(one)]
    name = name or (choices[0] if len(choices) == 1 else DEFAULT_NAME)
    if name not in names:
        raise DataError(f"{dataset} has no factors called {name!r}. Received: {', '.join(names)}.")
    factors = load_factors(factors_path(dataset, name))
    if factors.track_ids.tolist() != tracks.ids.tolist():
        raise DataError(
            f"Factors {name!r} are not of the tracks that {dataset} holds now ({len(factors.track_ids)} against "
            f"{len(tracks)}); fit them again with `cs-keras factors`."
        )
    return factors


def open_dataset(
    folder: Location,
    factors_name: str | None = None,
    split_name: str | None = None,
    reading: ReadConfig | None = None,
) -> tuple[Dataset, Factors]:
    """Open a dataset and factors of its tracks, both with one split: a named one, or that of the factors.

    Errors are those of `cs_keras.data.dataset.Dataset`, `open_factors` and
    `cs_keras.factors.store.adapt_to_split`.
    """
    dataset = Dataset(folder, reading)
    factors = open_factors(folder, dataset.tracks, factors_name)
    name = split_name or factors.split_name
    dataset.use_split(name)
    return dataset, adapt_to_split(factors, name, dataset.tracks.in_split("train"))


def open_interactions(dataset: Location, factors: Factors) -> Interactions | None:
    """Read the interactions of a dataset in the rows and columns of `factors`.

    None where none are stored or they are of other playlists, as with external factors. StorageError or DataError
    is raised when the file is damaged.
    """
    path = dataset / INTERACTIONS_FILE
    if not len(factors.playlist_ids) or not is_file(path):
        return None
    interactions = align(load_interactions(path), factors.track_ids)
    is_same = interactions.playlist_ids.tolist() == factors.playlist_ids.tolist()
    return interactions if is_same else None
