"""Training procedures: a module for each of `cs_keras.models.declaration.PROCEDURES`."""

import functools
from collections.abc import Callable

from cs_keras.models import declaration
from cs_keras.models.declaration import Procedure
from pipelines.training.procedures.artists import train_artist_mean, train_with_content
from pipelines.training.procedures.attributes import train_attributes
from pipelines.training.procedures.codebook import train_codebook
from pipelines.training.procedures.estimated_attributes import train_estimated_attributes
from pipelines.training.procedures.features import train_features
from pipelines.training.procedures.fusion import train_fusion
from pipelines.training.procedures.genre_space import train_genre_space
from pipelines.training.procedures.job import TrainedModel, TrainingJob
from pipelines.training.procedures.kernels import train_kernels
from pipelines.training.procedures.ranking import train_ranking
from pipelines.training.procedures.regression import train_regression
from pipelines.training.procedures.triplet import train_triplet

BRANCH_TRAINERS: dict[Procedure, Callable[[TrainingJob], TrainedModel]] = {
    declaration.REGRESSION: train_regression,
    declaration.CODEBOOK: train_codebook,
    declaration.RANKING: train_ranking,
    declaration.FEATURES: train_features,
    declaration.KERNELS: train_kernels,
    declaration.TRIPLET: train_triplet,
    declaration.ATTRIBUTES: train_attributes,
    declaration.GENRES: train_attributes,
    declaration.GENRE_SPACE: train_genre_space,
    declaration.ESTIMATED_ATTRIBUTES: train_estimated_attributes,
}
CONTENT_TRAINERS: dict[Procedure, Callable[[TrainingJob], TrainedModel]] = {
    **BRANCH_TRAINERS,
    declaration.FUSION: functools.partial(train_fusion, trainers=BRANCH_TRAINERS),
}
TRAINERS: dict[Procedure, Callable[[TrainingJob], TrainedModel]] = {
    **CONTENT_TRAINERS,
    declaration.ARTIST_MEAN: train_artist_mean,
    **dict.fromkeys(
        (declaration.ARTIST_RESIDUAL, declaration.ARTIST_ATTENTION),
        functools.partial(train_with_content, trainers=CONTENT_TRAINERS),
    ),
}
__all__ = ["TRAINERS", "TrainingJob", "TrainedModel"]
