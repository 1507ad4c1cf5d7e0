"""Queries for recommendations: seed tracks, which may be new recordings, or a playlist."""

import dataclasses
import difflib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.sparse

from cs_keras.data.catalogue import find_audio
from cs_keras.data.schema import INTERACTIONS_FILE
from cs_keras.errors import AudioError, ConfigError, DataError
from cs_keras.factors.interactions import align, load_interactions
from cs_keras.playlists.entries import Entry
from cs_keras.playlists.rerank import compute_mean_direction, unit_rows
from cs_keras.progress import Progress
from cs_keras.storage.location import is_file
from pipelines.recommend.audio_files import describe_files
from pipelines.recommend.catalogue import Catalogue, require_dataset

if TYPE_CHECKING:
    from pipelines.inference.trained_run import TrainedRun

Matrix = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Query:
    """A query for recommendations.

    Vectors, shape (n_factors,), are from predictions, and from reference factors where all seeds have interactions.

    Attributes
    ----------
    title
        What the list is for.
    seeds
        None for a playlist.
    by_audio, by_interactions
        The two vectors.
    seed_factors, origins
        For each seed its factors, scaled to length 1, of which `by_audio` is the mean, shape (n_seeds, n_factors),
        and whether they are ``predicted`` or ``reference``.
    held
        Counts of the tracks that the playlist has already, csr_matrix of shape (1, n_tracks); None if unknown.
    expected_errors
        Of predicted seeds (`cs_keras.evaluation.confidence.expected_errors`); none where that of one is unknown.
    """

    title: str
    seeds: tuple[Entry, ...]
    by_audio: Matrix
    by_interactions: Matrix | None
    seed_factors: Matrix
    origins: tuple[str, ...] = ()
    held: scipy.sparse.csr_matrix | None = None
    expected_errors: tuple[float, ...] = ()


def query_tracks(
    catalogue: Catalogue,
    seeds: Sequence[str],
    decoder: str,
    progress: Progress,
    weights: Mapping[str, Path] | None = None,
    artist: str | None = None,
    predicted: bool = False,
) -> Query:
    """Return the query for tracks like all of `seeds`: ids of the catalogue, or audio files and folders.

    See `predict_files` for `weights` and `artist`. With `predicted`, factors of train tracks are predicted too,
    from the audio in the dataset.

    Raises
    ------
    DataError
        A seed is neither, has no factors, or cannot be decoded.
    StorageError
        Something cannot be read.
    """
    rows = [catalogue.row_of[seed] for seed in dict.fromkeys(seeds) if seed in catalogue.row_of]
    paths = [Path(seed) for seed in dict.fromkeys(seeds) if seed not in catalogue.row_of]
    for path in paths:
        if not path.exists():
            where = catalogue.dataset or f"those that {catalogue.run} predicted"
            raise DataError(
                f"{str(path)!r} is neither an audio file nor among the {len(catalogue.ids)} tracks of {where}."
                f"{_hint(str(path), catalogue.row_of)}"
            )
    known = catalogue.by_audio
    by_row = predict_rows(catalogue, rows, progress) if predicted else {}
    for row in rows:
        if predicted and row not in by_row:
            raise DataError(
                f"The audio of track {str(catalogue.ids[row])!r} cannot be used for a prediction."
            )
        if row not in by_row and not known.known[row]:
            raise DataError(
                f"Track {str(catalogue.ids[row])!r} has neither interactions nor a prediction by {catalogue.run}; "
                "name its recording instead."
            )
    found = find_audio(paths)
    by_file: dict[str, Matrix] = {}
    errors: dict[str, float] = {}
    if found:
        from pipelines.inference.trained_run import read_run

        recordings = {str(path): path for path, _ in found}
        run = read_run(catalogue.run)
        by_file, errors = predict_files(run, recordings, decoder, progress, weights, artist)
    files = [(path, track_id) for path, track_id in found if str(path) in by_file]
    if not rows and not files:
        raise AudioError("No seed is left: none of the recordings can be decoded.")
    entries = [catalogue.entry(row) for row in rows]
    for entry in describe_files(files):
        own = find_recording(catalogue, entry)
        if own is not None:
            progress.log(
                f"{entry.path} is the track {catalogue.ids[own]} of the catalogue, so it is not recommended"
            )
        entries.append(entry if own is None else catalogue.entry(own))
    title = f"Tracks like {entries[0].label}" + (f" and {len(entries) - 1} more" if entries[1:] else "")
    by_interactions, reference = None, catalogue.reference
    if reference is not None and not files and reference.has_factors[rows].all():
        by_interactions = compute_mean_direction(reference.item_factors[rows])
    factors = np.stack(
        [by_row.get(row, known.factors[row]) for row in rows] + [by_file[str(path)] for path, _ in files]
    )
    is_predicted = [row in by_row or bool(catalogue.predicted.known[row]) for row in rows] + [True] * len(
        files
    )
    of_rows = [] if catalogue.expected_errors is None else catalogue.expected_errors[rows].tolist()
    certain = [error for error in of_rows if not np.isnan(error)]
    # Train tracks that are predicted for this query have no expected error, so the least certain seed is unknown.
    is_complete = all(row not in by_row or catalogue.predicted.known[row] for row in rows)
    return Query(
        title,
        tuple(entries),
        compute_mean_direction(factors),
        by_interactions,
        unit_rows(factors),
        tuple("predicted" if flag else "reference" for flag in is_predicted),
        expected_errors=(*certain, *errors.values()) if is_complete else (),
    )


def predict_rows(catalogue: Catalogue, rows: Sequence[int], progress: Progress) -> dict[int, Matrix]:
    """Return predicted factors of tracks, shape (n_factors,): stored ones, and new ones for train tracks.

    Tracks of a dataset whose audio cannot be used are missing.
    """
    known = catalogue.predicted
    stored = {row: known.factors[row] for row in rows if known.known[row]}
    missing = {str(row): row for row in rows if not known.known[row]}
    if not missing or catalogue.dataset is None:
        return stored
    # Imported here, with TensorFlow, which stored predictions do not need.
    from pipelines.inference.predict import predict_in_memory
    from pipelines.inference.prediction_blocks import DatasetTracks
    from pipelines.inference.trained_run import read_run

    added, _ = predict_in_memory(read_run(catalogue.run), DatasetTracks(catalogue.dataset), missing, progress)
    found = stored | {missing[name]: factors for name, factors in added.items()}
    return {row: found[row] for row in rows if row in found}


def find_recording(catalogue: Catalogue, recording: Entry) -> int | None:
    """Return the row of the track that was made from a recording; None where there is none.

    It is the one whose id ends the recording's path, as ids that `cs-keras ingest` gives do, unless its duration is
    known to differ by a second or more. Of several ids, the longest is meant.
    """
    assert recording.path is not None
    parts = recording.path.absolute().with_suffix("").parts
    rows = (catalogue.row_of.get("/".join(parts[first:])) for first in range(len(parts)))
    row = next((row for row in rows if row is not None), None)
    if row is None:
        return None
    known = (catalogue.entry(row).duration_s, recording.duration_s)
    return None if all(known) and abs(known[0] - known[1]) >= 1 else row


def query_playlist(catalogue: Catalogue, playlist: str) -> Query:
    """Return the query for tracks that a playlist of the interactions lacks.

    Raises
    ------
    DataError
        There is no such playlist, or no dataset.
    StorageError
        The interactions cannot be read.
    """
    factors = require_dataset(catalogue.reference, "playlists")
    (found,) = np.nonzero(factors.playlist_ids == playlist)
    if not len(found):
        raise DataError(
            f"There is no playlist {playlist!r} among the {len(factors.playlist_ids)} of {factors.name!r}."
            f"{_hint(playlist, factors.playlist_ids.tolist())}"
        )
    held, dataset = None, catalogue.dataset
    if dataset is not None and is_file(dataset / INTERACTIONS_FILE):
        interactions = align(load_interactions(dataset / INTERACTIONS_FILE), catalogue.ids)
        held = interactions.user_items[interactions.playlist_ids == playlist]
    query = factors.playlist_factors[found[0]]
    return Query(
        f"Tracks for playlist {playlist}", (), query, query, np.zeros((0, len(query)), np.float32), (), held
    )


def _hint(text: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(text, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def predict_files(
    run: "TrainedRun",
    files: Mapping[str, Path],
    decoder: str,
    progress: Progress,
    weights: Mapping[str, Path] | None = None,
    artist: str | None = None,
) -> tuple[dict[str, Matrix], dict[str, float]]:
    """Predict factors of recordings and their expected errors, by the ids of `files`; unreadable ones are reported.

    `weights` are those of encoders, see `pipelines.inference.predict_items.TableFiles`; `artist` is that of the
    recordings, see `pipelines.inference.predict_recordings.predict_recordings`. Factors have shape (n_factors,),
    float32. There are no expected errors where the model predicts none.
    """
    # Imported here, with TensorFlow, which queries for tracks of the catalogue do not need.
    from pipelines.inference.predict import describe_factors
    from pipelines.inference.predict_items import TableFiles
    from pipelines.inference.predict_recordings import apply_to_recordings, check_tables

    tables = TableFiles(weights=weights or {})
    check_tables(run, tables)
    if artist is not None and not run.procedure.takes_artists:
        raise ConfigError(f"--artist is for a model of artists, and the model of {run.folder} is not one.")
    with tempfile.TemporaryDirectory() as parts:
        ids, outputs, _ = apply_to_recordings(run, files, decoder, Path(parts), progress, (), tables, artist)
    if not len(ids):
        return {}, {}
    described, names = describe_factors(run, outputs), ids.tolist()
    errors = described.get("expected_error", np.zeros(0)).tolist()
    return dict(zip(names, described["factors"], strict=True)), dict(zip(names, errors, strict=False))
