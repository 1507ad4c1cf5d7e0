"""What every model is held beside: predictors that hear nothing, a second fit, and the reference itself."""

from collections.abc import Iterator

from cs_keras.evaluation.artist_mean import predict_artist_means
from cs_keras.evaluation.reference_predictors import random_predictor, score_by_popularity
from pipelines.evaluation.reference import Predictor, Reference

RANDOM = "random"
ONE_RANKING = "one-ranking"
ARTIST_MEAN = "artist-mean"
SECOND_FIT = "second-fit"  # the ceiling
REFERENCE = "reference"


def make_reference_predictors(reference: Reference, seed: int) -> Iterator[tuple[str, Predictor]]:
    """Yield, with names, predictors that know nothing of a track's sound, and a second fit if there is one.

    One is made after another, so that no more than one need be held.

    Parameters
    ----------
    reference
        The artist mean is among them if any test track's artist made a train track: else it says nothing.
    seed
        Of the random predictor.
    """
    own = reference.own
    yield RANDOM, Predictor(random_predictor(own.items, seed), own.playlists)
    if len(own.playlists):
        yield ONE_RANKING, Predictor(score_by_popularity(own.items, own.playlists), own.playlists)
    if reference.artist_known.any():
        means = predict_artist_means(reference.train_factors, reference.train_artists, reference.artists)
        yield ARTIST_MEAN, Predictor(means, own.playlists)
        del means
    if reference.second is not None:
        yield SECOND_FIT, reference.second
