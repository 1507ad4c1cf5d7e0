"""Predicting factors of a dataset's tracks by a fusion of several models."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cs_keras import config
from cs_keras.data.attributes.table import Attributes, align, genre_attributes
from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import DataError
from cs_keras.models.declaration import PROCEDURES, Input
from cs_keras.models.registry import split_key
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
from pipelines.inference.trained_run import TrainedRun, load_run_model
from pipelines.training.attribute_files import read_attributes
from pipelines.training.procedures.branches import apply_to_vectors
from pipelines.training.procedures.fusion import join_vectors
from pipelines.training.procedures.track_vectors import TrackVectors
from pipelines.training.targets import Rows


def predict_fused(
    run: TrainedRun,
    tracks: DatasetTracks,
    split: str,
    out: Location,
    features: Mapping[str, Path] | None = None,
    id_column: str | None = None,
    progress: Progress | None = None,
) -> Predicted:
    """Predict the factors of a dataset's tracks, except tracks without an input of any branch.

    Parameters
    ----------
    run
        A finished fusion.
    tracks, split, out
        See `pipelines.inference.predict.predict_dataset`.
    features, id_column
        Attributes of tracks by the name of their table, see `pipelines.training.attribute_files.read_attributes`.
        Tracks are predicted without branches on other tables.

    Raises
    ------
    ConfigError, DataError, StorageError
        Where `predict_dataset` and `pipelines.inference.predict_items.predict_items` raise them.
    """
    progress = progress or SilentProgress()
    check_output(out)
    dataset = Dataset(tracks.folder, tracks.reading, None if split == "all" else run.split_name)
    check_audio(run, dataset)
    rows = choose_rows(dataset, split)
    parts = out.with_name(f"{out.name}{PARTS_SUFFIX}")
    branches = []
    for key in branch_keys(run):
        folder = run.folder / BRANCHES_FOLDER / key
        summary = read_json(folder / BRANCH_FILE)
        procedure = PROCEDURES[summary["procedure"]]
        with_audio = rows[dataset.tracks.has_audio[rows]]
        if procedure.takes_audio and len(with_audio):
            branch = dataclasses.replace(
                run,
                folder=folder,
                procedure=procedure,
                sequence=config.replace(SequenceConfig(), summary["sequence"], "sequence."),
                batch_size=summary["batch_size"],
                digest=digest([run.digest, summary]),
            )
            items = dict(zip(dataset.tracks.ids[with_audio].tolist(), with_audio.tolist(), strict=True))
            branches.append(
                _predict_audio(at_layer(branch, summary["layer"]), tracks, items, parts, progress)
            )
            continue
        file = features.get(split_key(key)[1]) if features else None
        if procedure.takes is Input.ATTRIBUTES and file is None:
            progress.log(f"no --features: tracks are predicted without the branch {key}")
        attributes = _read_branch_attributes(folder, procedure.takes, dataset, file, id_column)
        branches.append(_apply_to_attributes(folder, summary["layer"], attributes, rows))
    joined = join_vectors(branches, rows)
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


def branch_keys(run: TrainedRun) -> list[str]:
    """Return the keys of the trained branches of a fusion, in order; some may have been left out."""
    keys = read_json(run.folder / CONFIG_FILE)["model"]["branches"]
    return [key for key in keys if is_file(run.folder / BRANCHES_FOLDER / key / BRANCH_FILE)]


def _predict_audio(
    run: TrainedRun,
    source: DatasetTracks,
    items: Mapping[str, int],
    parts: Location,
    progress: Progress,
) -> TrackVectors:
    """Return vectors of tracks with audio, in blocks, so that an interrupted prediction resumes."""
    track_ids, values, _ = apply_in_blocks(run, source, items, parts, progress)
    return TrackVectors(values, np.array([items[track_id] for track_id in track_ids.tolist()], np.int64))


def _read_branch_attributes(
    folder: Location, takes: Input | None, dataset: Dataset, features: Path | None, id_column: str | None
) -> Attributes | None:
    """Return the attributes that a branch takes; None if it takes audio, or `features` are missing."""
    if takes is Input.GENRES:
        return genre_attributes(dataset.tracks)
    if takes is not Input.ATTRIBUTES or features is None:
        return None
    table = read_attributes(features, open_encoding(folder).kinds, id_column, only=True)
    return align(table, dataset.tracks.ids, str(dataset.folder))


def _apply_to_attributes(
    folder: Location, layer: str, attributes: Attributes | None, rows: Rows
) -> TrackVectors:
    """Return the vectors of a branch for those of `rows` that have attributes."""
    network = build_hidden_model(load_run_model(folder), layer)
    known = rows[:0] if attributes is None else rows[attributes.has[rows]]
    if attributes is None or not len(known):
        return TrackVectors(np.zeros((0, network.output_shape[1]), np.float32), known)
    vectors = open_encoding(folder).encode(attributes.table.take(known))
    return TrackVectors(apply_to_vectors(network, vectors), known)
