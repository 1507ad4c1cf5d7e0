"""The public API that trains and loads models, as `cs_keras` exports it: for notebooks and other programs.

Everything is done as by the commands, on the same files.
"""

import dataclasses
import functools
import os
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from cs_keras.config import check_range, merge
from cs_keras.data.attributes.table import AttributeTable
from cs_keras.data.batches import TrainingBatches
from cs_keras.data.catalogue import find_sources
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.data.schema import read_tracks
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import CsKerasError, DataError
from cs_keras.factors.arrays import read_arrays
from cs_keras.playlists.rerank import Rules
from cs_keras.progress import Progress
from cs_keras.run_files.evaluation import Evaluation
from cs_keras.run_files.labels import LabelEvaluation, read_evaluation
from cs_keras.run_files.names import CONFIG_FILE, RESULT_FILES
from cs_keras.run_files.settings import require_finished
from cs_keras.runs import read_json
from cs_keras.storage.location import Location, locate
from pipelines.factors.labels import LabelsConfig
from pipelines.factors.open import open_factors
from pipelines.inference.predict_sources import predict_sources
from pipelines.inference.trained_run import TrainedRun, read_run
from pipelines.recommend.recommend import RecommendedTrack, SearchConfig, recommend_from_run
from pipelines.run_baselines import run_baselines as train_baselines

Place = str | os.PathLike[str] | Location


@dataclasses.dataclass(frozen=True, eq=False)
class PredictedFactors:
    """Factors that a model predicts.

    Attributes
    ----------
    track_ids : numpy.ndarray, shape (n_tracks,), str
        Ids of the dataset, or of recordings their paths without the suffix.
    factors : numpy.ndarray, shape (n_tracks, n_factors), float32
        In the space of the factors that the model was trained on.
    left_out : dict
        Reason for each recording that cannot be used, by id.
    std : numpy.ndarray, shape (n_tracks, n_factors), float32, or None
        Standard deviations of `factors`; None where the model predicts none (`cs_keras.models.distribution`).
    expected_errors : numpy.ndarray, shape (n_tracks,), float32, or None
        Root mean square of the standard deviations of scaled factors: the lower, the more certain.
    """

    track_ids: npt.NDArray[np.str_]
    factors: npt.NDArray[np.float32]
    left_out: Mapping[str, str]
    std: npt.NDArray[np.float32] | None = None
    expected_errors: npt.NDArray[np.float32] | None = None


class Run:
    """A finished run of `run_baselines`.

    Attributes
    ----------
    folder : path
        The run folder, which may be behind a URL.
    settings : dict
        Every setting of the run.
    """

    def __init__(self, folder: Location) -> None:
        require_finished(folder, RESULT_FILES)
        self.folder = folder
        self.settings: dict[str, Any] = read_json(folder / CONFIG_FILE)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @functools.cached_property
    def model(self) -> keras.Model:
        """The Keras model: from magnitude frames, or whatever it takes, to scaled factors."""
        return self._trained.load_model()

    @functools.cached_property
    def _trained(self) -> TrainedRun:
        return read_run(self.folder)

    @functools.cached_property
    def evaluation(self) -> Evaluation | LabelEvaluation:
        """What was measured on the test tracks."""
        return read_evaluation(self.folder)

    def predict(
        self, sources: Place | Iterable[Place], *, split: str | None = None, progress: Progress | None = None
    ) -> PredictedFactors:
        """Predict factors of recordings, of a dataset's tracks, or of the items of a table that the model takes.

        Parameters
        ----------
        sources
            Audio files and folders; or a dataset; or one table of attributes.
        split
            Split of a dataset; None for all its tracks.
        progress
            Receives the progress.

        Raises
        ------
        ConfigError
            When the model cannot take `sources`.
        DataError
            When none of them can be used.
        StorageError
            When files cannot be read.
        """
        one = isinstance(sources, str | os.PathLike) or not isinstance(sources, Iterable)
        names: list[Any] = [sources] if one else list(sources)  # type: ignore[arg-type]
        dataset, files = find_sources([str(name) for name in names], split)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "factors.npz"
            done = predict_sources(self._trained, dataset, files, out, split=split, progress=progress)
            arrays = read_arrays(out)
        return PredictedFactors(
            arrays["track_ids"],
            arrays["factors"],
            done.left_out,
            arrays.get("std"),
            arrays.get("expected_error"),
        )

    def recommend(
        self,
        seeds: Sequence[str] | str = (),
        *,
        dataset: Place | None = None,
        playlist: str | None = None,
        k: int = 10,
        exclude_artist: bool = False,
        max_per_artist: int | None = None,
        diversity: float = 0.0,
        candidates: str = "all",
        predicted: bool = False,
        explain: bool = False,
    ) -> tuple[RecommendedTrack, ...]:
        """Return the tracks most similar to `seeds`, track ids or recordings, or else the best for a playlist.

        `predicted` uses predicted factors of seeds that are train tracks too. `explain` fills
        ``RecommendedTrack.explanation``, see `pipelines.recommend.explanation.Explanation`.
        See `pipelines.recommend.recommend` for the settings, and ``cs-keras recommend --help``.
        """
        chosen = [seeds] if isinstance(seeds, str) else list(seeds)
        found = recommend_from_run(
            self.folder,
            None if dataset is None else _locate(dataset),
            chosen,
            playlist,
            SearchConfig("similarity" if playlist is None else "dot", candidates),
            Rules(k, exclude_artist, max_per_artist, diversity),
            predicted=predicted,
            explain=explain,
        )
        return found.tracks


def open_dataset(folder: Place, reading: ReadConfig | None = None) -> Dataset:
    """Open a dataset, a folder or URL, of ``cs-keras ingest``, ``import-patches`` or ``demo-data``.

    The `cs_keras.data.dataset.Dataset` has the track table, ``tracks``, with ``ids``; the settings of its audio,
    ``info.audio``; and ``read_track(row)``, the frames of a track, shape (n_frames, frame_size).

    Raises StorageError or DataError when it is none, or damaged.
    """
    return Dataset(_locate(folder), reading)


def make_training_batches(
    dataset: Dataset,
    factors: str | None = None,
    *,
    split: str = "train",
    frames: int = 256,
    batch_size: int = 32,
    seed: int = 0,
) -> TrainingBatches:
    """Make tf.data batches of random sequences of a dataset's tracks with their factors, for a model of your own.

    ``model.fit(batches.from_epoch(0), steps_per_epoch=batches.steps_per_epoch, epochs=5)`` trains on other
    sequences in each epoch. A batch is a pair: frames as the dataset stores them, shape (batch, frames,
    frame_size), float16 or float32, and unscaled factors, shape (batch, n_factors), float32.

    Parameters
    ----------
    dataset
        As `open_dataset` opens it.
    factors
        Name of factors in the dataset; None for its own.
    split
        ``train``, ``validation`` or ``test``, of the factors' split; tracks without factors or audio are left out.
    frames
        Frames of a sequence.
    batch_size
        Sequences in a batch.
    seed
        Of the sequences and their order.

    Raises
    ------
    ConfigError
        When an argument is out of range.
    DataError
        When there are no such factors, or none of a track with audio in the split.
    """
    check_range("batch_size", batch_size, 1)
    check_range("seed", seed, 0)
    known = open_factors(dataset.folder, dataset.tracks, factors)
    is_in_split = read_tracks(dataset.folder, known.split_name).in_split(split)
    rows = np.flatnonzero(is_in_split & known.has_factors & dataset.tracks.has_audio)
    if not len(rows):
        raise DataError(f"No {split} track of {dataset.folder} has audio and factors {known.name!r}.")
    return TrainingBatches(dataset, rows, known.item_factors, SequenceConfig(frames), batch_size, seed)


def load_run(folder: Place) -> Run:
    """Open a finished run, a folder or URL; raise StorageError when it is none."""
    return Run(_locate(folder))


def run_baselines(
    dataset: Place,
    models: Sequence[str] | str = ("bot", "cnn-bn", "lstm"),
    out: str | os.PathLike[str] = "runs",
    *,
    settings: Mapping[str, Any] | None = None,
    features: Mapping[str, AttributeTable] | None = None,
    factors: str | None = None,
    split_name: str | None = None,
    labels: str | os.PathLike[str] | None = None,
    n_labels: int = 50,
    progress: Progress | None = None,
    **of_all: Any,
) -> list[Run]:
    """Train and evaluate models on a dataset as ``cs-keras run-baselines``; finished runs are not repeated.

    Parameters
    ----------
    dataset
        Folder or URL.
    models
        Keys of ``cs-keras models``.
    out
        Folder for run folders.
    settings
        Nested settings, as in a TOML file: ``{"models": {"cnn-bn": {"training": {"epochs": 10}}}}``.
    features
        Tables of attributes by name, "" for the one without.
    factors, split_name
        Names of the dataset's factors and split; None for its own.
    labels, n_labels
        Table of labels to predict instead of factors, and how many of them; see
        `pipelines.factors.labels.LabelsConfig`.
    progress
        Receives the progress.
    of_all
        Settings of all models, such as ``seed=1``.

    Returns
    -------
    list of Run
        In the order of `models`.

    Raises
    ------
    CsKerasError
        When a model failed, after the others are done. Models that the dataset cannot serve, such as those of
        artists where no test artist is known, are left out with a warning.
    """
    keys = [models] if isinstance(models, str) else list(models)
    changes = merge(dict(settings or {}), {"models": dict.fromkeys(keys, of_all)} if of_all else {})
    outcome = train_baselines(
        _locate(dataset),
        keys,
        Path(out),
        changes,
        factors,
        progress,
        tables=features,
        split_name=split_name,
        labels=None if labels is None else LabelsConfig(Path(labels), n_labels),
    )
    for key, reason in outcome.left_out.items():
        warnings.warn(f"{key} is left out: {reason}", stacklevel=2)
    if outcome.failed:
        reasons = "; ".join(f"{key}: {reason}" for key, reason in outcome.failed.items())
        raise CsKerasError(f"{len(outcome.failed)} of {len(keys)} models failed: {reasons}")
    return [Run(folder) for folder in outcome.runs]


def _locate(place: Place) -> Location:
    return locate(os.fspath(place)) if isinstance(place, str | os.PathLike) else place
