"""Factors of a dataset's tracks by a fusion of several models, from all that is known of each track."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cs_keras import config
from cs_keras.data.attributes.table import Attributes, align, genre_attributes
from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import DataError, StorageError
from cs_keras.models.spec import NEEDS
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.names import BRANCH_FILE, BRANCHES_FOLDER, CONFIG_FILE
from cs_keras.runs import digest, read_json
from cs_keras.storage.location import Location, is_file, is_folder
from cs_keras.training.hidden_layers import build_hidden_model
from pipelines.inference.features import at_layer
from pipelines.inference.predict import PARTS_SUFFIX, Predicted, apply_in_blocks, check_audio, choose_rows
from pipelines.inference.predict_items import open_encoding
from pipelines.inference.prediction_blocks import DatasetTracks, remove_parts
from pipelines.inference.track_vectors import check_suffix, write_vectors
from pipelines.inference.trained_run import TrainedRun, load_run_model, no_dataset
from pipelines.training.attribute_files import read_attributes
from pipelines.training.procedures.branches import apply_to_vectors
from pipelines.training.procedures.fusion import join_vectors
from pipelines.training.procedures.track_vectors import TrackVectors
from pipelines.training.targets import Rows


@dataclasses.dataclass(frozen=True)
class FeaturesFile:
    """A table of attributes, or ``features.npz``, and which of its columns has the ids; see `read_attributes`."""

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
    """Predict the factors of a dataset's tracks; those of which no branch knows anything are left out.

    Parameters
    ----------
    run
        A finished fusion.
    tracks, split, out
        See `pipelines.inference.predict.predict_dataset`.
    features
        Attributes of tracks; None to do without branches that take attributes.
    progress
        Is told what was left out.

    Raises
    ------
    ConfigError, DataError, StorageError
        Where `predict_dataset` and `pipelines.inference.predict_items.predict_items` raise them.
    """
    progress = progress or SilentProgress()
    check_suffix(out)
    if is_folder(out):
        raise StorageError(f"{out} is a folder; expected the name of a file to write.")
    dataset = Dataset(tracks.folder, tracks.reading)
    check_audio(run, dataset)
    rows = choose_rows(dataset, split)
    parts = out.with_name(f"{out.name}{PARTS_SUFFIX}")
    given = _Given(tracks, dataset, features, parts)
    branches = [_Branch(run, key, given, progress) for key in branch_keys(run)]
    joined = join_vectors([branch.vectors(rows) for branch in branches], rows)
    head = load_run_model(run.folder)
    if head.input_shape[1] != joined.values.shape[1]:
        raise DataError(
            f"The model of {run.folder} does not fit its branches: expected {head.input_shape[1]} numbers of them. "
            f"Received: {joined.values.shape[1]}."
        )
    if not len(joined.rows):
        raise DataError(
            f"No branch of {run.folder} knows anything of {len(rows)} tracks: nothing was written."
        )
    left_out = {
        str(dataset.tracks.ids[row]): "it has nothing that a branch takes in"
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
    """Return the dataset among what a fusion is to predict from; raise ConfigError where there is none."""
    if dataset is None:
        raise no_dataset(run, ", ".join(sources))
    return dataset


def branch_keys(run: TrainedRun) -> list[str]:
    """Return the keys of the branches that a fusion has, in their order; some may have been left out of it."""
    keys = read_json(run.folder / CONFIG_FILE)["model"]["branches"]
    return [key for key in keys if is_file(run.folder / BRANCHES_FOLDER / key / BRANCH_FILE)]


@dataclasses.dataclass(frozen=True)
class _Given:
    """What a fusion is to predict from, and the folder for what it has heard."""

    tracks: DatasetTracks
    dataset: Dataset
    features: FeaturesFile | None
    parts: Location


class _Branch:
    """A branch of a fusion, with what it takes in of one dataset."""

    def __init__(self, run: TrainedRun, key: str, given: _Given, progress: Progress) -> None:
        self._run, self._folder = run, run.folder / BRANCHES_FOLDER / key
        self._given, self._dataset, self._progress = given, given.dataset, progress
        features = given.features
        self._summary: dict[str, Any] = read_json(self._folder / BRANCH_FILE)
        self._needs = NEEDS.get(self._summary["procedure"], "sound")
        if self._needs == "attributes" and features is None:
            progress.log(f"no --features: tracks are predicted without the branch {key}")
        self._attributes = self._read_attributes(features)

    def vectors(self, rows: Rows) -> TrackVectors:
        """Return the vectors of those of `rows` that have what the branch takes in."""
        known = rows[self._has()[rows]]
        if self._attributes is None and len(known):
            return self._hear(known)
        network = build_hidden_model(load_run_model(self._folder), self._summary["layer"])
        if not len(known):
            return TrackVectors(np.zeros((0, network.output_shape[1]), np.float32), known)
        assert self._attributes is not None  # else nothing is known
        encoding = open_encoding(self._folder)
        vectors = encoding.encode(self._attributes.table.take(known))
        return TrackVectors(apply_to_vectors(network, vectors), known)

    def _hear(self, known: Rows) -> TrackVectors:
        """Return the vectors of tracks with sound, in blocks, each of which a kill leaves as it is."""
        summary = self._summary
        run = dataclasses.replace(
            self._run,
            folder=self._folder,
            procedure=summary["procedure"],
            sequence=config.replace(SequenceConfig(), summary["sequence"], "sequence."),
            batch_size=summary["batch_size"],
            digest=digest([self._run.digest, summary]),
        )
        run = at_layer(run, summary["layer"])
        items = dict(zip(self._dataset.tracks.ids[known].tolist(), known.tolist(), strict=True))
        heard = apply_in_blocks(run, self._given.tracks, items, self._given.parts, self._progress)
        row_of = [items[track_id] for track_id in heard.track_ids.tolist()]
        return TrackVectors(heard.values, np.array(row_of, np.int64))

    def _has(self) -> Any:
        if self._needs == "sound":
            return self._dataset.tracks.has_audio
        return np.zeros(len(self._dataset), np.bool_) if self._attributes is None else self._attributes.has

    def _read_attributes(self, features: FeaturesFile | None) -> Attributes | None:
        if self._needs == "genres":
            return genre_attributes(self._dataset.tracks)
        if self._needs != "attributes" or features is None:
            return None
        kinds = open_encoding(self._folder).kinds
        table = read_attributes(features.path, kinds, features.id_column, only=True)
        return align(table, self._dataset.tracks.ids, str(self._dataset.folder))
