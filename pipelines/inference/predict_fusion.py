"""Predicting factors of a dataset's tracks by a fusion of several models."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cs_keras import config
from cs_keras.data.attributes.table import Attributes, align, genre_attributes
from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import DataError
from cs_keras.models.declaration import PROCEDURES, Input
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.names import BRANCH_FILE, BRANCHES_FOLDER, CONFIG_FILE
from cs_keras.runs import digest, read_json
from cs_keras.storage.location import Location, is_file
from cs_keras.training.hidden_layers import build_hidden_model
from pipelines.inference.features import at_layer
from pipelines.inference.predict import PARTS_SUFFIX, Predicted, apply_in_blocks, check_audio, choose_rows
from pipelines.inference.predict_items import open_encoding
from pipelines.inference.prediction_blocks import DatasetTracks, remove_parts
from pipelines.inference.track_vectors import check_output, write_vectors
from pipelines.inference.trained_run import TrainedRun, dataset_error, load_run_model
from pipelines.training.attribute_files import read_attributes
from pipelines.training.procedures.branches import apply_to_vectors
from pipelines.training.procedures.fusion import join_vectors
from pipelines.training.procedures.track_vectors import TrackVectors
from pipelines.training.targets import Rows


@dataclasses.dataclass(frozen=True)
class FeaturesFile:
    """A table or npz of attributes, and its column of ids; see `read_attributes`."""

    path: Path
    id_column: str | None = None


def predict_fused(
    run: TrainedRun,
    tracks: DatasetTracks,
    split: str,
    out: Location,
    features: FeaturesFile | None = None,
    progress: Progress | None = None,
) -> Predicted:
    """Predict the factors of a dataset's tracks, except tracks without an input of any branch.

    Parameters
    ----------
    run
        A finished fusion.
    tracks, split, out
        See `pipelines.inference.predict.predict_dataset`.
    features
        Attributes of tracks; None to predict without branches that take attributes.
    progress
        Receives messages about tracks that are left out.

    Raises
    ------
    ConfigError, DataError, StorageError
        Where `predict_dataset` and `pipelines.inference.predict_items.predict_items` raise them.
    """
    progress = progress or SilentProgress()
    check_output(out)
    dataset = Dataset(tracks.folder, tracks.reading)
    check_audio(run, dataset)
    rows = choose_rows(dataset, split)
    parts = out.with_name(f"{out.name}{PARTS_SUFFIX}")
    inputs = _Inputs(tracks, dataset, features, parts)
    branches = [_Branch(run, key, inputs, progress) for key in branch_keys(run)]
    joined = join_vectors([branch.vectors(rows) for branch in branches], rows)
    head = load_run_model(run.folder)
    if head.input_shape[1] != joined.values.shape[1]:
        raise DataError(
            f"The model of {run.folder} does not match its branches: expected {head.input_shape[1]} numbers. "
            f"Received: {joined.values.shape[1]}."
        )
    if not len(joined.rows):
        raise DataError(
            f"None of {len(rows)} tracks has an input of a branch of {run.folder}: nothing was written."
        )
    left_out = {
        str(dataset.tracks.ids[row]): "it has no input of any branch"
        for row in rows[~np.isin(rows, joined.rows)]
    }
    for track_id, reason in left_out.items():
        progress.log(f"left out {track_id}: {reason}")
    scaled = apply_to_vectors(head, joined.values)
    factors = run.signature.scaler.inverse(scaled)
    write_vectors(out, dataset.tracks.ids[joined.rows], {"factors": factors, "scaled_factors": scaled})
    remove_parts(parts)
    return Predicted(len(joined.rows), scaled.shape[1], left_out)


def require_dataset(run: TrainedRun, dataset: Location | None, sources: Sequence[str]) -> Location:
    """Return `dataset`; raise ConfigError if there is none among the `sources` for a fusion."""
    if dataset is None:
        raise dataset_error(run, ", ".join(sources))
    return dataset


def branch_keys(run: TrainedRun) -> list[str]:
    """Return the keys of the trained branches of a fusion, in order; some may have been left out."""
    keys = read_json(run.folder / CONFIG_FILE)["model"]["branches"]
    return [key for key in keys if is_file(run.folder / BRANCHES_FOLDER / key / BRANCH_FILE)]


@dataclasses.dataclass(frozen=True)
class _Inputs:
    """Inputs of a fusion, and the folder for outputs of audio branches."""

    tracks: DatasetTracks
    dataset: Dataset
    features: FeaturesFile | None
    parts: Location


class _Branch:
    """A branch of a fusion, with its input for one dataset."""

    def __init__(self, run: TrainedRun, key: str, inputs: _Inputs, progress: Progress) -> None:
        self._run, self._folder = run, run.folder / BRANCHES_FOLDER / key
        self._inputs, self._dataset, self._progress = inputs, inputs.dataset, progress
        features = inputs.features
        self._summary: dict[str, Any] = read_json(self._folder / BRANCH_FILE)
        self._procedure = PROCEDURES[self._summary["procedure"]]
        if self._procedure.takes is Input.ATTRIBUTES and features is None:
            progress.log(f"no --features: tracks are predicted without the branch {key}")
        self._attributes = self._read_attributes(features)

    def vectors(self, rows: Rows) -> TrackVectors:
        """Return the vectors of those of `rows` that have the input of the branch."""
        known = rows[self._has()[rows]]
        if self._attributes is None and len(known):
            return self._predict_audio(known)
        network = build_hidden_model(load_run_model(self._folder), self._summary["layer"])
        if not len(known):
            return TrackVectors(np.zeros((0, network.output_shape[1]), np.float32), known)
        assert self._attributes is not None  # else nothing is known
        encoding = open_encoding(self._folder)
        vectors = encoding.encode(self._attributes.table.take(known))
        return TrackVectors(apply_to_vectors(network, vectors), known)

    def _predict_audio(self, known: Rows) -> TrackVectors:
        """Return the vectors of tracks with audio, in blocks, so that an interrupted prediction resumes."""
        summary = self._summary
        run = dataclasses.replace(
            self._run,
            folder=self._folder,
            procedure=self._procedure,
            sequence=config.replace(SequenceConfig(), summary["sequence"], "sequence."),
            batch_size=summary["batch_size"],
            digest=digest([self._run.digest, summary]),
        )
        run = at_layer(run, summary["layer"])
        items = dict(zip(self._dataset.tracks.ids[known].tolist(), known.tolist(), strict=True))
        outputs = apply_in_blocks(run, self._inputs.tracks, items, self._inputs.parts, self._progress)
        row_of = [items[track_id] for track_id in outputs.track_ids.tolist()]
        return TrackVectors(outputs.values, np.array(row_of, np.int64))

    def _has(self) -> Any:
        if self._procedure.takes_audio:
            return self._dataset.tracks.has_audio
        return np.zeros(len(self._dataset), np.bool_) if self._attributes is None else self._attributes.has

    def _read_attributes(self, features: FeaturesFile | None) -> Attributes | None:
        if self._procedure.takes is Input.GENRES:
            return genre_attributes(self._dataset.tracks)
        if self._procedure.takes is not Input.ATTRIBUTES or features is None:
            return None
        kinds = open_encoding(self._folder).kinds
        table = read_attributes(features.path, kinds, features.id_column, only=True)
        return align(table, self._dataset.tracks.ids, str(self._dataset.folder))
