"""How each kind of model is trained: a file for each value of `cs_keras.models.spec.Baseline.procedure`."""

import functools
from collections.abc import Callable

from pipelines.training.procedures.attributes import train_attributes
from pipelines.training.procedures.codebook import train_codebook
from pipelines.training.procedures.estimated_attributes import train_estimated_attributes
from pipelines.training.procedures.features import train_features
from pipelines.training.procedures.fusion import train_fusion
from pipelines.training.procedures.genre_space import train_genre_space
from pipelines.training.procedures.job import Job, Trained
from pipelines.training.procedures.kernels import train_kernels
from pipelines.training.procedures.ranking import train_ranking
from pipelines.training.procedures.regression import train_regression
from pipelines.training.procedures.triplet import train_triplet

SINGLE: dict[str, Callable[[Job], Trained]] = {
    "regression": train_regression,
    "codebook": train_codebook,
    "ranking": train_ranking,
    "features": train_features,
    "kernels": train_kernels,
    "triplet": train_triplet,
    "attributes": train_attributes,
    "genres": train_attributes,
    "genre_space": train_genre_space,
    "estimated_attributes": train_estimated_attributes,
}
PROCEDURES: dict[str, Callable[[Job], Trained]] = {
    **SINGLE,
    "fusion": functools.partial(train_fusion, procedures=SINGLE),
}
__all__ = ["PROCEDURES", "Job", "Trained"]
