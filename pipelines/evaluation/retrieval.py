"""Retrieval of tracks of the same label, by features of tracks or by the factors that a run predicted."""

from typing import Any

import msgspec
import numpy as np

from cs_keras.evaluation.labels.retrieval import measure_retrieval
from cs_keras.storage.location import Location
from pipelines.evaluation.labels import Labelled, match_features


def retrieve_labels(features: Location, labelled: Labelled, ks: tuple[int, ...]) -> dict[str, Any]:
    """Measure retrieval and return a JSON-ready report: data, mean average precision and precision@k.

    Similarity is the cosine, of features less their mean in standard deviations (over the labelled tracks), since
    their units differ, and of predicted factors as they are.

    Parameters
    ----------
    features, labelled
        See `pipelines.evaluation.labels.match_features`.
    ks
        Lengths of the lists of precision@k.

    Raises
    ------
    StorageError, DataError
        As by `match_features` and `cs_keras.evaluation.labels.retrieval.measure_retrieval`.
    """
    tracks = match_features(features, labelled)
    matrix, labels, groups = tracks.features, tracks.examples.labels, tracks.groups
    if not tracks.is_predicted:
        sd = matrix.std(axis=0)
        matrix = (matrix - matrix.mean(axis=0)) / np.where(sd > 0, sd, 1)
    found = measure_retrieval(matrix, labels.tolist(), groups, ks)
    names, n_queries = np.unique(labels[found.queries], return_counts=True)
    return {
        "features": str(features),
        **tracks.about,
        "labels": str(labelled.source),
        "n_tracks": len(labels),
        "n_features": matrix.shape[1],
        "grouped_by": labelled.grouped_by if len(np.unique(groups)) < len(groups) else None,
        "n_groups": len(np.unique(groups)),
        "queries": dict(zip(names.tolist(), n_queries.tolist(), strict=True)),
        "mean_average_precision": msgspec.to_builtins(found.mean_average_precision),
        "chance": found.chance,
        "precision": {f"{k}": msgspec.to_builtins(one) for k, one in found.precision.items()},
        "chance_precision": found.chance_precision,
    }
