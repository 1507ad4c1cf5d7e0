"""Predicting factors, or features, of a dataset's tracks or of recordings by the model of a finished run.

A track's factors depend on the model and on that track only, not on other tracks or on the worker that computes
them. Blocks of tracks are predicted into files next to the result, so that an interruption costs at most one block.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.data.catalogue import find_audio
from cs_keras.data.dataset import Dataset
from cs_keras.errors import AudioError, DataError
from cs_keras.progress import Progress, SilentProgress
from cs_keras.storage.location import Location
from pipelines.beam.parts import PARALLEL_READS, make_parts, missing_parts
from pipelines.inference.prediction_blocks import (
    Block,
    BlockMaker,
    DatasetTracks,
    Source,
    plan_digest,
    remove_parts,
)
from pipelines.inference.track_vectors import check_output, write_vectors
from pipelines.inference.trained_run import Matrix, TrainedRun, track_function

BLOCK_TRACKS = 32
PARTS_SUFFIX = ".parts"

# Track ids, shape (n,), outputs of the model, shape (n, n_outputs), and reasons for tracks left out, by id.
Outputs = tuple[npt.NDArray[np.str_], Matrix, dict[str, str]]


@dataclasses.dataclass(frozen=True)
class Predicted:
    """Numbers of tracks and dimensions that were predicted, and reasons for tracks left out, by id."""

    n_tracks: int
    n_factors: int
    left_out: Mapping[str, str]


def predict_dataset(
    run: TrainedRun,
    tracks: DatasetTracks,
    split: str,
    out: Location,
    progress: Progress | None = None,
    beam: Sequence[str] = (),
) -> Predicted:
    """Predict the factors of a dataset's tracks.

    Parameters
    ----------
    run
        Run with the model. At a hidden layer (`pipelines.inference.features.at_layer`) `out` gets ``features``, the
        layer's name and the run's digest in place of both kinds of factors.
    tracks
        The dataset; its audio settings must be those the model was trained on.
    split
        ``train``, ``validation``, ``test`` or ``all``; by the named split that the run was trained by, if any.
    out
        The npz to write: ``track_ids``, shape (n,), in the order of the track table; ``factors``, shape (n,
        n_factors), float32; and ``scaled_factors``, the model's own output. Or a Parquet table of the same, by its
        suffix; see `pipelines.inference.track_vectors.write_vectors`.
    beam
        Options of Apache Beam, ``--runner=`` first, whose workers predict; they need access to run, dataset and
        `out`.

    Raises
    ------
    ConfigError
        When there is no such split, or `out` ends neither in ``.npz`` nor in ``.parquet``.
    DataError
        When the dataset does not match the model or lacks its named split, or the split is empty.
    StorageError
        When files cannot be read or written.
    """
    dataset = Dataset(tracks.folder, tracks.reading, None if split == "all" else run.split_name)
    check_audio(run, dataset)
    rows = choose_rows(dataset, split)
    items = dict(zip(dataset.tracks.ids[rows].tolist(), rows.tolist(), strict=True))
    progress = progress or SilentProgress()
    return write_predicted(run, out, lambda parts: apply_in_blocks(run, tracks, items, parts, progress, beam))


def list_recordings(audio: Iterable[Path]) -> dict[str, Path]:
    """Return absolute paths of audio files, and of those in folders, by their ids.

    See `cs_keras.data.catalogue.find_audio` for the ids; DataError when two recordings have the same id.
    """
    files: dict[str, Path] = {}
    for path, track_id in find_audio(audio):
        absolute = Path(os.path.abspath(path))
        if files.setdefault(track_id, absolute) != absolute:
            raise DataError(
                f"Two recordings have the id {track_id!r}: {files[track_id]} and {absolute}; pass the folder that "
                "contains both."
            )
    return files


def choose_rows(dataset: Dataset, split: str) -> npt.NDArray[np.int64]:
    """Return the track table rows of a split, or of ``all``; raise DataError where there are none."""
    table = dataset.tracks
    rows = np.arange(len(table)) if split == "all" else np.flatnonzero(table.in_split(split))
    if not len(rows):
        raise DataError(f"{dataset.folder} has no tracks to predict in split {split!r}.")
    return rows


def check_audio(run: TrainedRun, dataset: Dataset) -> None:
    """Raise DataError unless the dataset has the audio settings of the model's training."""
    for name, expected in dataclasses.asdict(run.signature.audio).items():
        received = getattr(dataset.info.audio, name)
        if received != expected:
            raise DataError(
                f"{dataset.folder} does not match the model of {run.folder}: expected {name} = {expected}. "
                f"Received: {received}."
            )


def write_predicted(run: TrainedRun, out: Location, apply: Callable[[Location], Outputs]) -> Predicted:
    """Write the outputs of `apply`, which may leave files of blocks in the folder that it is given.

    Raises
    ------
    ConfigError
        When `out` ends neither in ``.npz`` nor in ``.parquet``.
    DataError
        When all tracks are left out.
    StorageError
        When it cannot be written.
    """
    check_output(out)
    folder = out.with_name(f"{out.name}{PARTS_SUFFIX}")
    track_ids, values, left_out = apply(folder)
    if len(track_ids) and run.layer:
        about = {"layer": run.layer, "run_digest": run.digest}
        write_vectors(out, track_ids, {"features": values}, about)
    elif len(track_ids):
        factors = run.signature.scaler.inverse(values)
        write_vectors(out, track_ids, {"factors": factors, "scaled_factors": values})
    remove_parts(folder)
    if not len(track_ids):
        raise DataError(f"None of the {len(left_out)} tracks can be used: nothing was written.")
    return Predicted(len(values), values.shape[1], left_out)


def apply_in_blocks(
    run: TrainedRun,
    source: Source,
    items: Mapping[str, Any],
    folder: Location,
    progress: Progress,
    beam: Sequence[str] = (),
) -> Outputs:
    """Apply a model to tracks; blocks that have a file in `folder` are read from it, others written to it.

    `items` are those of `source`, by track id. See `predict_dataset` for `beam` and errors.
    """
    opened, ids, blocks = source.open(), list(items), []
    for number, first in enumerate(range(0, len(ids), BLOCK_TRACKS)):
        inside = tuple(ids[first : first + BLOCK_TRACKS])
        where = tuple(items[track_id] for track_id in inside)
        blocks.append(Block(number, plan_digest(inside, where, run, opened), inside, where))
    # Beam runs several workers on a machine; without it, this process reads with all cores.
    maker = BlockMaker(run, source, folder, threads=1 if beam else len(os.sched_getaffinity(0)))
    if beam:
        make_parts(blocks, maker, beam, f"predict, in blocks of {BLOCK_TRACKS} tracks", progress)
        return _gather(blocks, maker, progress)
    missing = missing_parts(blocks, maker)
    with progress.task("predict", len(ids)) as advance:
        advance(len(ids) - sum(len(block.items) for block in missing))
        if missing:
            make = maker.open(advance)
            for block in missing:
                make(block)
    return _gather(blocks, maker, progress)


def _gather(blocks: Sequence[Block], maker: BlockMaker, progress: Progress) -> Outputs:
    """Read the files of the blocks, in the order of the tracks."""
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        parts = list(pool.map(maker.read, blocks))
    ids, scaled, left_out, reasons = (
        np.concatenate([part[name] for part in parts])
        for name in ("track_ids", "scaled_factors", "left_out", "reasons")
    )
    refused = dict(zip(left_out.tolist(), reasons.tolist(), strict=True))
    for track_id, reason in refused.items():
        progress.log(f"left out {track_id}: {reason}")
    return ids, scaled, refused


def predict_in_memory(
    run: TrainedRun, source: Source, items: Mapping[str, Any], progress: Progress
) -> tuple[dict[str, Matrix], dict[str, str]]:
    """Predict tracks one by one, without files.

    Parameters
    ----------
    run
        Run with the model.
    source, items
        Source of frames, and its item for each track, by id.

    Returns
    -------
    dict, dict
        Factors by id, shape (n_factors,), float32, in the space that the model was trained on; and reasons for
        tracks that cannot be used, by id.

    Raises
    ------
    StorageError, DataError
        When model or dataset cannot be read.
    """
    factors: dict[str, Matrix] = {}
    left_out: dict[str, str] = {}
    if items:
        opened, predict = source.open(), track_function(run)
        with progress.task("predict", len(items)) as advance:
            for track_id, item in items.items():
                try:
                    scaled = predict(opened.read(item))
                    factors[track_id] = run.signature.scaler.inverse(scaled[np.newaxis])[0]
                except AudioError as error:
                    left_out[track_id] = str(error)
                advance(1)
    return factors, left_out
