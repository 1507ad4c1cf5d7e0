"""Evaluation of runs whose targets are labels: ``label_evaluation.json`` and ``labels.npz``."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.data.schema import Tracks
from cs_keras.evaluation.labels.multi_label import LabelMetrics, evaluate_labels
from cs_keras.factors.store import Factors
from cs_keras.run_files.evaluation import MODEL, TrackCounts
from cs_keras.run_files.labels import (
    CHANCE,
    FREQUENCY,
    LabelEvaluation,
    LabelResult,
    LabelScorer,
    PredictorResult,
)
from cs_keras.run_files.names import LABEL_EVALUATION_FILE
from cs_keras.run_files.predictions import read_predictions
from cs_keras.run_files.training import Training
from cs_keras.runs import digest
from pipelines.factors.labels import TrackLabels, select_label_factors
from pipelines.training.run_config import RunConfig

Matrix = npt.NDArray[Any]


class LabelEvaluator:
    """Evaluates predictions of the labels of the test tracks of a dataset.

    Predictors that every model is compared with are evaluated at once: chance, equal scores of everything, and
    frequency, the share of train tracks with a label, the same for every track. DataError as of
    `cs_keras.evaluation.labels.multi_label.evaluate_labels`.
    """

    def __init__(self, labels: TrackLabels, tracks: Tracks, factors: Factors) -> None:
        self.labels, self.factors = labels, factors
        self._label_factors = select_label_factors(labels, factors)
        is_used = labels.is_labelled & factors.has_factors
        train, validation = (
            np.flatnonzero(tracks.in_split(one) & is_used) for one in ("train", "validation")
        )
        self._test = np.flatnonzero(tracks.in_split("test") & labels.is_labelled)
        self._counts = TrackCounts(len(train), len(validation), len(self._test))
        self._ids, self._artists = tracks.ids[self._test], tracks.artist_numbers[self._test]
        self._n_train = labels.has[train].sum(axis=0)
        zeros = np.zeros((len(self._test), len(labels.names)))
        scores = {CHANCE: zeros, FREQUENCY: zeros + self._n_train}
        self._references = {name: _summary(self._evaluate(own)) for name, own in scores.items()}

    @property
    def digest(self) -> str:
        """Digest of labels and test tracks: that of comparable runs."""
        return digest([self.labels.digest, self._ids.tolist()])

    def evaluate(self, run: RunConfig, folder: Path) -> None:
        """Evaluate the predictions of a run folder, unless that is done, and write the results there."""
        if (folder / LABEL_EVALUATION_FILE).exists():
            return
        are_logits = run.training.loss == "binary_crossentropy"
        scorer = LabelScorer(self.labels.names, self._label_factors, are_logits)
        predicted = read_predictions(folder).select(self._ids).factors
        found = self._evaluate(predicted @ self._label_factors.T)  # logits: probabilities may round to 1
        artists = self._artists
        n_test = self.labels.has[self._test].sum(axis=0).tolist()
        counts = zip(self.labels.names.tolist(), self._n_train.tolist(), n_test, found.by_label, strict=True)
        scorer.write(folder)
        LabelEvaluation(
            model=run.key,
            seed=run.seed,
            training=dataclasses.replace(Training.read(folder), history=()),
            target=self.factors.name,
            n_tracks=self._counts,
            n_test_artists=len(np.unique(artists[artists >= 0])),
            predictors={MODEL: _summary(found), **self._references},
            labels=tuple(LabelResult(*own) for own in counts),
        ).write(folder)

    def _evaluate(self, scores: Matrix) -> LabelMetrics:
        return evaluate_labels(self.labels.has[self._test], scores, self._artists)


def _summary(metrics: LabelMetrics) -> PredictorResult:
    return PredictorResult(metrics.over_labels, metrics.over_tracks)
