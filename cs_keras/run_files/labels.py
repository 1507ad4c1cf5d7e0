"""``label_evaluation.json`` and ``labels.npz``: results and labels of a run whose targets are labels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.special

from cs_keras.run_files.evaluation import Evaluation, MeanRecord, TrackCounts
from cs_keras.run_files.names import LABEL_EVALUATION_FILE, LABELS_FILE
from cs_keras.run_files.records import StoredRecord
from cs_keras.run_files.training import Training
from cs_keras.runs import read_npz, write_npz
from cs_keras.storage.location import Location, is_file

# Predictors that every model is compared with.
CHANCE = "chance"
FREQUENCY = "frequency"


@dataclass(frozen=True)
class RankingMetrics:
    """ROC AUC and average precision, or means of both; None where neither is defined."""

    auc: MeanRecord | None
    average_precision: MeanRecord | None


@dataclass(frozen=True)
class LabelResult:
    """A label, the train and test tracks that have it, and the metrics of the model."""

    label: str
    n_train: int
    n_test: int
    metrics: RankingMetrics


@dataclass(frozen=True)
class PredictorResult:
    """Metrics of a predictor: means over labels, and over tracks."""

    over_labels: RankingMetrics
    over_tracks: RankingMetrics


@dataclass(frozen=True, kw_only=True)
class LabelEvaluation(StoredRecord):
    """The results of a model of labels on test tracks.

    Attributes
    ----------
    target
        What the model predicts: ``labels``, or the name of the factors of which labels are scored.
    n_tracks
        Labelled tracks of each split.
    n_test_artists
        Known artists of the test tracks.
    predictors
        By name, those that every model is compared with included.
    labels
        Of each label, the most frequent first.
    """

    FILE = LABEL_EVALUATION_FILE
    VERSIONS = (1,)

    schema_version: int = VERSIONS[-1]
    model: str
    seed: int
    training: Training
    target: str
    n_tracks: TrackCounts
    n_test_artists: int
    predictors: dict[str, PredictorResult]
    labels: tuple[LabelResult, ...]


@dataclass(frozen=True, eq=False)
class LabelScorer:
    """Labels of a model, to score tracks by its output.

    Attributes
    ----------
    labels : ndarray of str, shape (n_labels,)
    label_factors : ndarray of float32, shape (n_labels, n_factors)
        Scores are dot products with predicted factors; the identity where the model predicts labels.
    are_logits : bool
        Whether scores are logarithms of odds.
    """

    labels: npt.NDArray[np.str_]
    label_factors: npt.NDArray[np.float32]
    are_logits: bool

    def score(self, factors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return scores of tracks, shape (n_tracks, n_labels), probabilities where the model was trained for them.

        `factors` are predicted, shape (n_tracks, n_factors).
        """
        scores = factors @ self.label_factors.T
        return np.asarray(scipy.special.expit(scores) if self.are_logits else scores, np.float32)

    def write(self, run: Location) -> None:
        """Write ``labels.npz`` of a run."""
        arrays = {"labels": self.labels, "label_factors": self.label_factors}
        write_npz(run / LABELS_FILE, **arrays, are_logits=np.array(self.are_logits))

    @classmethod
    def read(cls, run: Location) -> "LabelScorer":
        """Read ``labels.npz`` of a run; StorageError when it cannot be read."""
        arrays = read_npz(run / LABELS_FILE, "labels", "label_factors", "are_logits")
        return cls(arrays["labels"], arrays["label_factors"], bool(arrays["are_logits"]))


def read_evaluation(run: Location) -> Evaluation | LabelEvaluation:
    """Read the results of a run on test tracks, of factors or of labels; errors as for `StoredRecord.read`."""
    return LabelEvaluation.read(run) if is_file(run / LABEL_EVALUATION_FILE) else Evaluation.read(run)
