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
from cs_keras.evaluation.confidence import expected_errors
from cs_keras.models.distribution import split_moments
from cs_keras.progress import Progress, SilentProgress
from cs_keras.storage.location import Location
from cs_keras.storage.open_files import refuse_links
from pipelines.beam.parts import PARALLEL_READS, make_parts, missing_parts
from pipelines.inference.prediction_blocks import (
    Block,
    BlockMaker,
    DatasetTracks,
    Source,
    TrackModel,
    identify_tracks,
    plan_digest,
    remove_parts,
)
from pipelines.inference.track_vectors import Matrix, check_output, write_vectors
from pipelines.inference.trained_run import TrainedRun, track_function

PARTS_SUFFIX = ".parts"

# Track ids, shape (n,), outputs of the model, shape (n, n_outputs), and reasons for tracks left out, by id.
Outputs = tuple[npt.NDArray[np.str_], Matrix, dict[str, str]]
# Track ids, vectors by name, metadata, see `pipelines.inference.track_vectors.write_vectors`, and reasons as above.
Table = tuple[npt.NDArray[np.str_], Mapping[str, Matrix], Mapping[str, str], dict[str, str]]


@dataclasses.dataclass(frozen=True)
class Predicted:
    """Numbers of tracks and dimensions that were predicted, and reasons for tracks left out, by id.

    `expected_error` is the median over tracks; None where the model predicts none.
    """

    n_tracks: int
    n_factors: int
    left_out: Mapping[str, str]
    expected_error: float | None = None


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
        n_factors), float32; and ``scaled_factors``, the model's own output; see `describe_factors`. Or a Parquet
        table of the same, by its suffix; see `pipelines.inference.track_vectors.write_vectors`.
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
    """Write the outputs of a run's model; see `write_outputs`."""

    def make(parts: Location) -> Table:
        track_ids, values, left_out = apply(parts)
        if run.layer:
            about = {"layer": run.layer, "run_digest": run.digest}
            return track_ids, {"features": values}, about, left_out
        described = describe_factors(run, values) if len(track_ids) else {}
        return track_ids, described, {}, left_out

    return write_outputs(out, make)


def describe_factors(run: TrainedRun, outputs: Matrix) -> dict[str, Matrix]:
    """Return what is written of the outputs of a run's model, shape (n, n_outputs): arrays by name.

    ``factors`` and ``scaled_factors``, and where the model predicts them ``std``, standard deviations of the
    factors, all of shape (n, n_factors), and ``expected_error``, shape (n,).
    """
    scaler = run.signature.scaler
    scaled, deviation = split_moments(outputs, len(scaler.offset))
    described = {"factors": scaler.inverse(scaled), "scaled_factors": scaled}
    if deviation is not None:
        described |= {"std": deviation * scaler.scale, "expected_error": expected_errors(deviation)}
    return described


def write_outputs(out: Location, make: Callable[[Location], Table]) -> Predicted:
    """Write the table that `make` returns, which may leave files of blocks in the folder that it is given.

    Raises
    ------
    ConfigError
        When `out` ends neither in ``.npz`` nor in ``.parquet``.
    DataError
        When all tracks are left out.
    StorageError
        When it cannot be written, or the folder of blocks is a link.
    """
    check_output(out)
    folder = out.with_name(f"{out.name}{PARTS_SUFFIX}")
    refuse_links(folder)
    track_ids, vectors, about, left_out = make(folder)
    if len(track_ids):
        write_vectors(out, track_ids, vectors, about)
    remove_parts(folder)
    if not len(track_ids):
        raise DataError(f"None of the {len(left_out)} tracks can be used: nothing was written.")
    errors = vectors.get("expected_error")
    return Predicted(
        len(track_ids),
        next(iter(vectors.values())).shape[1],
        left_out,
        None if errors is None else float(np.median(errors)),
    )


def apply_in_blocks(
    model: TrackModel,
    source: Source,
    items: Mapping[str, Any],
    folder: Location,
    progress: Progress,
    beam: Sequence[str] = (),
) -> Outputs:
    """Apply a model of one row per track to tracks; see `make_blocks`."""
    contents = identify_tracks(source.open(), items)
    track_ids, _, rows, left_out = make_blocks(model, source, items, contents, folder, progress, beam)
    return track_ids, rows, left_out


def make_blocks(
    model: TrackModel,
    source: Source,
    items: Mapping[str, Any],
    contents: Mapping[str, str],
    folder: Location,
    progress: Progress,
    beam: Sequence[str] = (),
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64], Matrix, dict[str, str]]:
    """Apply a model to tracks; blocks that have a file in `folder` are read from it, others written to it.

    Parameters
    ----------
    items, contents
        Items of `source`, and digests of their audio (`identify_tracks`), by track id.
    beam
        See `predict_dataset`, also for errors.

    Returns
    -------
    track_ids, n_rows, rows, left_out
        Shapes (n,), (n,) and (n_rows.sum(), n_outputs); and reasons for the other tracks, by id.
    """
    ids, blocks = list(items), []
    for number, first in enumerate(range(0, len(ids), model.block_tracks)):
        inside = tuple(ids[first : first + model.block_tracks])
        plan = plan_digest(model, {track_id: contents[track_id] for track_id in inside})
        blocks.append(Block(number, plan, inside, tuple(items[track_id] for track_id in inside)))
    # Beam runs several workers on a machine; without it, this process reads with all cores.
    maker = BlockMaker(model, source, folder, threads=1 if beam else len(os.sched_getaffinity(0)))
    if beam:
        make_parts(blocks, maker, beam, f"{model.task}, in blocks of {model.block_tracks} tracks", progress)
        return _gather(blocks, maker, progress)
    missing = missing_parts(blocks, maker)
    with progress.task(model.task, len(ids)) as advance:
        advance(len(ids) - sum(len(block.items) for block in missing))
        if missing:
            make = maker.open(advance)
            for block in missing:
                make(block)
    return _gather(blocks, maker, progress)


def _gather(
    blocks: Sequence[Block], maker: BlockMaker, progress: Progress
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64], Matrix, dict[str, str]]:
    """Read the files of the blocks, in the order of the tracks."""
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        parts = list(pool.map(maker.read, blocks))
    ids, n_rows, rows, left_out, reasons = map(np.concatenate, zip(*parts, strict=True))
    refused = dict(zip(left_out.tolist(), reasons.tolist(), strict=True))
    for track_id, reason in refused.items():
        progress.log(f"left out {track_id}: {reason}")
    return ids, n_rows, rows, refused


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
                    outputs = predict(opened.read(item))[np.newaxis]
                    factors[track_id] = describe_factors(run, outputs)["factors"][0]
                except AudioError as error:
                    left_out[track_id] = str(error)
                advance(1)
    return factors, left_out
