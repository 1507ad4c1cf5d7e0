"""Predicting factors by a model of artists, from the artist of a track and its content."""

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.data.attributes.table import Attributes, AttributeTable
from cs_keras.data.catalogue import describe_recordings
from cs_keras.data.dataset import Dataset
from cs_keras.factors.arrays import read_arrays, require_arrays
from cs_keras.models.declaration import Input
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.names import ARTISTS_FILE, BRANCH_FILE, BRANCHES_FOLDER, CONFIG_FILE
from cs_keras.runs import read_json
from cs_keras.storage.location import Location
from cs_keras.training.artists import Names
from pipelines.inference.predict import (
    Outputs,
    Predicted,
    apply_in_blocks,
    check_audio,
    choose_rows,
    write_predicted,
)
from pipelines.inference.predict_fusion import Branch, DatasetInputs, FusionInputs, apply_fusion, as_run
from pipelines.inference.predict_items import TableFiles, apply_to_items, open_encoding
from pipelines.inference.prediction_blocks import DatasetTracks, Source
from pipelines.inference.trained_run import TrainedRun, source_error
from pipelines.training.attribute_files import read_attributes
from pipelines.training.procedures.artists import KnownTracks
from pipelines.training.procedures.branches import apply_to_vectors


@dataclasses.dataclass(frozen=True, eq=False)
class ItemInputs:
    """Inputs of items that a table of attributes describes; see `FusionInputs`."""

    table: AttributeTable
    run: TrainedRun

    @property
    def ids(self) -> npt.NDArray[np.str_]:
        """Ids of the items."""
        return self.table.ids

    def audio(self, run: TrainedRun) -> tuple[Source, Mapping[str, Any]]:
        """Raise ConfigError, since items have no audio."""
        raise source_error(self.run, self.table.where)

    def attributes(self, branch: Branch) -> Attributes | None:
        """Return the attributes of the table."""
        return Attributes(self.table, ~self.table.is_empty)


def open_content(run: TrainedRun) -> Branch | None:
    """Return the content model of a run; None where its model takes nothing but artists."""
    settings = read_json(run.folder / CONFIG_FILE)
    key = settings["model"].get("content")
    folder = run.folder / BRANCHES_FOLDER / str(key)
    return None if key is None else Branch(key, folder, read_json(folder / BRANCH_FILE))


def predict_artists(
    run: TrainedRun,
    tracks: DatasetTracks,
    split: str,
    out: Location,
    tables: TableFiles,
    progress: Progress | None,
) -> Predicted:
    """Predict the factors of a dataset's tracks by a model of artists.

    See `pipelines.inference.predict_fusion.predict_fused` for the parameters, and for errors.
    """
    progress = progress or SilentProgress()
    dataset = Dataset(tracks.folder, tracks.reading, None if split == "all" else run.split_name)
    check_audio(run, dataset)
    inputs = DatasetInputs(dataset, tracks, choose_rows(dataset, split), tables)
    names = dataset.tracks.artist_names[inputs.rows]
    return write_predicted(run, out, lambda parts: apply_with_artists(run, inputs, names, parts, progress))


def predict_artists_of_items(
    run: TrainedRun,
    path: Path,
    out: Location,
    id_column: str | None,
    artist: str | None,
    progress: Progress | None,
) -> Predicted:
    """Predict the factors of the items of a table, all by `artist`, by a model whose content model takes a table.

    See `pipelines.inference.predict_items.predict_items` for the other parameters, and for errors.
    """
    progress, content = progress or SilentProgress(), open_content(run)
    if content is None or content.procedure.takes is not Input.ATTRIBUTES:
        raise source_error(run, str(path))
    kinds = open_encoding(content.folder).kinds
    inputs = ItemInputs(read_attributes(path, kinds, id_column, only=True), run)
    names = np.full(len(inputs.ids), (artist or "").strip())
    return write_predicted(run, out, lambda parts: apply_with_artists(run, inputs, names, parts, progress))


def name_artists(files: Mapping[str, Path], artist: str | None) -> Names:
    """Return the artist of each recording: `artist`, or else the one that its tags or folders name."""
    if artist is not None:
        return np.full(len(files), artist.strip())
    described = describe_recordings([(path, track_id) for track_id, path in files.items()])
    return np.array([one.artist.strip() for one in described], np.str_)


def apply_with_artists(
    run: TrainedRun, inputs: FusionInputs, names: Names, parts: Location, progress: Progress
) -> Outputs:
    """Apply a model of artists to tracks; those with neither content nor an artist of train tracks are left out.

    `names` are the artists, "" where unknown, in the order of ``inputs.ids``. See
    `pipelines.inference.predict_fusion.apply_fusion` for `parts`.
    """
    path, ids = run.folder / ARTISTS_FILE, inputs.ids
    arrays = read_arrays(path)
    require_arrays(arrays, ("artists", "vectors"), path)
    known, settings = KnownTracks(arrays["artists"], arrays["vectors"]), read_json(run.folder / CONFIG_FILE)
    content, reasons = _predict_content(run, inputs, parts, progress)
    has_artist = np.isin(names, known.artists) & (names != "")
    _report_unknown(names, known.artists, progress)
    usable = has_artist | content[:, -1:].any(axis=1)
    model, wanted = run.load_model(), names[usable]
    if len(model.input_shape) == 3:
        limits = settings["model"]["max_tracks"], settings["seed"]
        values = known.sets(wanted, content[usable], *limits)
    else:
        values = known.sums(wanted, content[usable])
    left_out = {
        track_id: reasons.get(track_id, "no train track is by its artist")
        for track_id in ids[~usable].tolist()
    }
    for track_id, reason in left_out.items():
        if track_id not in reasons:
            progress.log(f"left out {track_id}: {reason}")
    return ids[usable], apply_to_vectors(model, values), left_out


def _predict_content(
    run: TrainedRun, inputs: FusionInputs, parts: Location, progress: Progress
) -> tuple[npt.NDArray[np.float32], dict[str, str]]:
    """Return predictions from content followed by a flag, shape (n_tracks, n_factors + 1), and reasons of failures.

    Shape (n_tracks, 0) without a content model.
    """
    ids, branch = inputs.ids, open_content(run)
    if branch is None:
        return np.zeros((len(ids), 0), np.float32), {}
    own, reasons = as_run(branch, run), dict[str, str]()
    found, values = ids[:0], np.zeros((0, len(run.signature.scaler.offset)), np.float32)
    if branch.procedure.is_fusion:
        found, values, reasons = apply_fusion(own, inputs, parts, progress)
    elif branch.procedure.takes_audio:
        found, values, reasons = apply_in_blocks(own, *inputs.audio(own), parts, progress)
    else:
        attributes = inputs.attributes(branch)
        if attributes is None:
            progress.log(f"no --features: tracks are predicted without the content model {branch.key}")
        elif attributes.has.any():
            found = ids[attributes.has]
            values = apply_to_items(own, attributes.table.take(np.flatnonzero(attributes.has)))
    content = np.zeros((len(ids), len(run.signature.scaler.offset) + 1), np.float32)
    row_of = {track_id: row for row, track_id in enumerate(ids.tolist())}
    rows = [row_of[track_id] for track_id in found.tolist()]
    if rows:
        content[rows, :-1], content[rows, -1] = values, 1
    return content, reasons


def _report_unknown(names: Names, known: Names, progress: Progress) -> None:
    """Report artists without train tracks, a single one by its name and the most similar one that has some."""
    is_unknown = ~np.isin(names, known) & (names != "")
    unknown = np.unique(names[is_unknown]).tolist()
    if len(unknown) == 1:
        close = difflib.get_close_matches(unknown[0], np.unique(known[known != ""]).tolist(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        progress.log(f"No train track is by {unknown[0]!r}; its artist is not used.{hint}")
    elif unknown:
        progress.log(f"{is_unknown.sum()} tracks are by {len(unknown)} artists without train tracks")
