"""Predictors that every model is compared with: they use no audio, and one is the refit ceiling."""

from collections.abc import Iterator

from cs_keras.evaluation.reference_predictors import (
    predict_artist_means,
    random_predictor,
    score_by_popularity,
)
from cs_keras.run_files.evaluation import ARTIST_MEAN, POPULARITY, RANDOM, REFIT_CEILING
from pipelines.evaluation.reference import Predictor, Reference


def make_reference_predictors(reference: Reference, seed: int) -> Iterator[tuple[str, Predictor]]:
    """Yield names and predictors that use no audio, and the refit if the factors have one.

    Each is made when it is needed, so only one is in memory at a time.

    Parameters
    ----------
    reference
        The artist mean is yielded if any test track's artist made a train track.
    seed
        Seed of the random predictor.
    """
    own = reference.own
    yield RANDOM, Predictor(random_predictor(own.items, seed), own.playlists)
    if len(own.playlists):
        yield POPULARITY, Predictor(score_by_popularity(own.items, own.playlists), own.playlists)
    if reference.artist_known.any():
        means = predict_artist_means(reference.train_factors, reference.train_artists, reference.artists)
        yield ARTIST_MEAN, Predictor(means, own.playlists)
        del means
    if reference.second is not None:
        yield REFIT_CEILING, reference.second
