"""Predicting factors by a fusion of several models, of a dataset's tracks or of recordings."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cs_keras import config
from cs_keras.data.attributes.table import (
    Attributes,
    AttributeTable,
    align,
    align_tables,
    genre_attributes,
    join_attributes,
    join_tables,
)
from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import DataError
from cs_keras.models.declaration import PROCEDURES, Input, Procedure
from cs_keras.models.registry import split_key, split_tables
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.names import BRANCH_FILE, BRANCHES_FOLDER, CONFIG_FILE
from cs_keras.runs import digest, read_json
from cs_keras.storage.location import Location, is_file
from cs_keras.training.hidden_layers import build_hidden_model
from pipelines.inference.embedded import embed_recordings, is_embedded
from pipelines.inference.features import at_layer
from pipelines.inference.predict import (
    Outputs,
    Predicted,
    apply_in_blocks,
    check_audio,
    choose_rows,
    write_predicted,
)
from pipelines.inference.predict_items import TableFiles, open_encoding, read_tables
from pipelines.inference.prediction_blocks import DatasetTracks, Recordings, Source
from pipelines.inference.trained_run import TrainedRun
from pipelines.training.procedures.branches import apply_to_vectors
from pipelines.training.procedures.fusion import join_vectors
from pipelines.training.procedures.track_vectors import TrackVectors
from pipelines.training.targets import Rows


@dataclasses.dataclass(frozen=True)
class Branch:
    """A trained branch of a fusion: key, folder, and content of its ``branch.json``."""

    key: str
    folder: Location
    summary: Mapping[str, Any]

    @property
    def procedure(self) -> Procedure:
        """How it was trained."""
        return PROCEDURES[self.summary["procedure"]]

    @property
    def table(self) -> str:
        """What its key names after ``@``: the table of attributes that it takes, or several."""
        return split_key(self.key)[1]

    @property
    def takes_table(self) -> bool:
        """Whether it takes a table of attributes."""
        return self.procedure.takes is Input.ATTRIBUTES

    def read_features(self, files: TableFiles) -> dict[str, AttributeTable]:
        """Return the tables that files hold for the branch, by name; none where none is given."""
        if not self.takes_table or not any(name in files.features for name in split_tables(self.table)):
            return {}
        return read_tables(self.folder, self.table, files)


class FusionInputs(Protocol):
    """Inputs of the branches of a fusion for some tracks."""

    @property
    def ids(self) -> npt.NDArray[np.str_]:
        """Ids of the tracks, shape (n_tracks,)."""

    def audio(self, run: TrainedRun) -> tuple[Source, Mapping[str, Any]]:
        """Return the source of frames for a branch that takes audio, and its item for each track with audio."""

    def attributes(self, branch: Branch) -> Attributes | None:
        """Return what a branch takes that takes no audio, in the order of `ids`; None where it is not given."""


@dataclasses.dataclass(frozen=True, eq=False)
class DatasetInputs:
    """Inputs of the tracks in `rows` of a dataset."""

    dataset: Dataset
    source: DatasetTracks
    rows: Rows
    tables: TableFiles

    @property
    def ids(self) -> npt.NDArray[np.str_]:
        """Ids of the tracks."""
        return self.dataset.tracks.ids[self.rows]

    def audio(self, run: TrainedRun) -> tuple[Source, Mapping[str, Any]]:
        """Return the dataset and the rows with audio."""
        rows = self.rows[self.dataset.tracks.has_audio[self.rows]]
        return self.source, dict(zip(self.dataset.tracks.ids[rows].tolist(), rows.tolist(), strict=True))

    def attributes(self, branch: Branch) -> Attributes | None:
        """Return the genres of the track table, or the attributes of a file."""
        tracks = self.dataset.tracks
        if branch.procedure.takes is Input.GENRES:
            return genre_attributes(tracks).take(self.rows)
        tables = branch.read_features(self.tables)
        if not tables:
            return None
        return join_attributes(align_tables(tables, tracks, str(self.dataset.folder))).take(self.rows)


@dataclasses.dataclass(frozen=True, eq=False)
class RecordingInputs:
    """Inputs of recordings by id: their audio, attributes of files, and vectors of the encoders of tables."""

    files: Mapping[str, Path]
    decoder: str
    tables: TableFiles
    progress: Progress

    @property
    def ids(self) -> npt.NDArray[np.str_]:
        """Ids of the recordings."""
        return np.array(list(self.files), np.str_)

    def audio(self, run: TrainedRun) -> tuple[Source, Mapping[str, Any]]:
        """Return all recordings, in frames of the run's audio settings."""
        return Recordings(run.signature.audio, run.signature.dtype, self.decoder), self.files

    def attributes(self, branch: Branch) -> Attributes | None:
        """Return the attributes of a file, or the vectors of the table's encoder."""
        if tables := branch.read_features(self.tables):
            return align(join_tables(tables), self.ids, "the recordings")
        if not is_embedded(branch.folder):
            return None
        names = split_tables(branch.table)
        table, _ = embed_recordings(
            branch.folder, names, self.files, self.decoder, self.tables, self.progress
        )
        return Attributes(table, ~table.is_empty)


def predict_fused(
    run: TrainedRun,
    tracks: DatasetTracks,
    split: str,
    out: Location,
    tables: TableFiles | None = None,
    progress: Progress | None = None,
) -> Predicted:
    """Predict the factors of a dataset's tracks, except tracks without an input of any branch.

    Parameters
    ----------
    run
        A finished fusion.
    tracks, split, out
        See `pipelines.inference.predict.predict_dataset`.
    tables
        Attributes of tracks, which are predicted without branches on other tables.

    Raises
    ------
    ConfigError, DataError, StorageError
        Where `predict_dataset` and `pipelines.inference.predict_items.predict_items` raise them.
    """
    progress = progress or SilentProgress()
    dataset = Dataset(tracks.folder, tracks.reading, None if split == "all" else run.split_name)
    check_audio(run, dataset)
    inputs = DatasetInputs(dataset, tracks, choose_rows(dataset, split), tables or TableFiles())
    return write_predicted(run, out, lambda parts: apply_fusion(run, inputs, parts, progress))


def apply_fusion(run: TrainedRun, inputs: FusionInputs, parts: Location, progress: Progress) -> Outputs:
    """Apply a fusion to tracks; those without an input of any branch are left out.

    Outputs of audio branches are kept in files in `parts`, so that an interrupted prediction resumes.
    """
    ids = inputs.ids
    row_of = {track_id: row for row, track_id in enumerate(ids.tolist())}
    rows, vectors = np.arange(len(ids)), []
    reasons: dict[str, str] = {}
    for branch in open_branches(run):
        if branch.procedure.takes_audio:
            hidden = at_layer(as_run(branch, run), branch.summary["layer"])
            source, items = inputs.audio(hidden)
            if items:
                known, values, left_out = apply_in_blocks(hidden, source, items, parts, progress)
                reasons |= left_out
                own = np.array([row_of[track_id] for track_id in known.tolist()], np.int64)
                vectors.append(TrackVectors(values, own))
                continue
        attributes = None if branch.procedure.takes_audio else inputs.attributes(branch)
        if attributes is None and branch.takes_table:
            progress.log(f"no --features: tracks are predicted without the branch {branch.key}")
        vectors.append(_apply_to_attributes(run, branch, attributes))
    joined, head = join_vectors(vectors, rows), run.load_model()
    if head.input_shape[1] != joined.values.shape[1]:
        raise DataError(
            f"The model of {run.folder} does not match its branches: expected {head.input_shape[1]} numbers. "
            f"Received: {joined.values.shape[1]}."
        )
    missing = ids[~np.isin(rows, joined.rows)].tolist()
    for track_id in missing:
        if track_id not in reasons:
            reasons[track_id] = "it has no input of any branch"
            progress.log(f"left out {track_id}: {reasons[track_id]}")
    scaled = apply_to_vectors(head, joined.values) if len(joined.rows) else np.zeros((0, 0), np.float32)
    return ids[joined.rows], scaled, {track_id: reasons[track_id] for track_id in missing}


def open_branches(run: TrainedRun) -> list[Branch]:
    """Return the trained branches of a fusion, in order; some may have been left out."""
    folders = {
        key: run.folder / BRANCHES_FOLDER / key
        for key in read_json(run.folder / CONFIG_FILE)["model"]["branches"]
    }
    return [
        Branch(key, folder, read_json(folder / BRANCH_FILE))
        for key, folder in folders.items()
        if is_file(folder / BRANCH_FILE)
    ]


def as_run(branch: Branch, run: TrainedRun) -> TrainedRun:
    """Return a branch of `run` as a run of its own."""
    return dataclasses.replace(
        run,
        folder=branch.folder,
        procedure=branch.procedure,
        sequence=config.replace(SequenceConfig(), branch.summary["sequence"], "sequence."),
        batch_size=branch.summary["batch_size"],
        digest=digest([run.digest, branch.summary]),
        table=branch.table,
        predicts_std=False,
    )


def _apply_to_attributes(run: TrainedRun, branch: Branch, attributes: Attributes | None) -> TrackVectors:
    """Return the vectors of a branch of a run for tracks that have attributes."""
    network = build_hidden_model(run.load_model(branch.folder), branch.summary["layer"])
    rows = np.zeros(0, np.int64) if attributes is None else np.flatnonzero(attributes.has)
    if attributes is None or not len(rows):
        return TrackVectors(np.zeros((0, network.output_shape[1]), np.float32), rows)
    vectors = open_encoding(branch.folder).encode(attributes.table.take(rows))
    return TrackVectors(apply_to_vectors(network, vectors), rows)
