"""How each kind of model is trained: a file for each value of `cs_keras.models.spec.Baseline.procedure`."""

from collections.abc import Callable

from pipelines.procedures.codebook import train_codebook
from pipelines.procedures.features import train_features
from pipelines.procedures.job import Job, Trained
from pipelines.procedures.regression import train_regression
from pipelines.procedures.triplet import train_triplet

PROCEDURES: dict[str, Callable[[Job], Trained]] = {
    "regression": train_regression,
    "codebook": train_codebook,
    "features": train_features,
    "triplet": train_triplet,
}
__all__ = ["PROCEDURES", "Job", "Trained"]
