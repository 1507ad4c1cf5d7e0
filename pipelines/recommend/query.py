"""What a list of tracks is made for: a few seeds, which may be recordings never seen, or a playlist."""

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.data.catalogue import describe_recordings, find_audio
from cs_keras.data.schema import INTERACTIONS_FILE
from cs_keras.errors import AudioError, DataError
from cs_keras.factors.interactions import align, load_interactions
from cs_keras.playlists.entries import Entry
from cs_keras.playlists.rerank import compute_mean_direction
from cs_keras.progress import Progress
from cs_keras.storage.location import is_file
from pipelines.recommend.catalogue import Catalogue, require_dataset

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Query:
    """What a list is made for.

    Attributes
    ----------
    title
        In words.
    seeds
        Tracks that it starts from; none for a playlist.
    by_audio, by_interactions
        Query in the space, shape (n_factors,), float32: by predictions, and by reference factors; None where a seed
        has no listening.
    held
        Rows of tracks that the playlist holds already.
    """

    title: str
    seeds: tuple[Entry, ...]
    by_audio: Matrix
    by_interactions: Matrix | None
    held: Rows


def query_tracks(catalogue: Catalogue, seeds: Sequence[str], decoder: str, progress: Progress) -> Query:
    """Return the question for tracks like all of `seeds`: ids of the catalogue, or audio files and folders.

    Raises
    ------
    DataError
        When a seed is neither, has no place in the space, or cannot be heard.
    StorageError
        When something cannot be read.
    """
    rows = [catalogue.row_of[seed] for seed in dict.fromkeys(seeds) if seed in catalogue.row_of]
    paths = [Path(seed) for seed in dict.fromkeys(seeds) if seed not in catalogue.row_of]
    for path in paths:
        if not path.exists():
            raise DataError(_unknown_seed(str(path), catalogue))
    known = catalogue.by_audio
    for row in rows:
        if not known.known[row]:
            raise DataError(
                f"Track {str(catalogue.ids[row])!r} has neither listening nor a prediction by {catalogue.run}; "
                "name its recording instead."
            )
    found = find_audio(paths)
    heard = _hear(catalogue, [path for path, _ in found], decoder, progress)
    files = [(path, track_id) for path, track_id in found if path in heard]
    if not rows and not files:
        raise AudioError("No seed is left: none of the recordings can be heard.")
    entries = [catalogue.entry(row) for row in rows] + [_entry(path, track_id) for path, track_id in files]
    title = f"Tracks like {entries[0].label}" + (f" and {len(entries) - 1} more" if entries[1:] else "")
    by_interactions = _listening_of(catalogue, rows) if not files else None
    by_audio = compute_mean_direction(np.stack([*known.factors[rows], *(heard[path] for path, _ in files)]))
    return Query(title, tuple(entries), by_audio, by_interactions, np.zeros(0, np.int64))


def query_playlist(catalogue: Catalogue, playlist: str) -> Query:
    """Return the question for tracks that a playlist of the listening data lacks.

    Raises
    ------
    DataError
        When there is no such playlist, or no dataset that could know it.
    StorageError
        When its listening cannot be read.
    """
    factors = require_dataset(catalogue.reference, "playlists")
    (found,) = np.nonzero(factors.playlist_ids == playlist)
    if not len(found):
        close = difflib.get_close_matches(playlist, factors.playlist_ids.tolist(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise DataError(
            f"There is no playlist {playlist!r} among the {len(factors.playlist_ids)} of {factors.name!r}.{hint}"
        )
    query = factors.playlist_factors[found[0]]
    return Query(f"Tracks for playlist {playlist}", (), query, query, _held(catalogue, playlist))


def _hear(
    catalogue: Catalogue, files: Sequence[Path], decoder: str, progress: Progress
) -> dict[Path, Matrix]:
    """Return the factors of recordings, shape (n_factors,), by the run's model; what cannot be heard is told."""
    if not files:
        return {}
    from pipelines.inference.predict_tracks import predict_in_memory
    from pipelines.inference.prediction_blocks import (
        Recordings,  # with TensorFlow, which tracks of the catalogue do not need
    )
    from pipelines.inference.trained_run import read_run

    run = read_run(catalogue.run)
    source = Recordings(run.signature.audio, run.signature.dtype, decoder)
    heard = predict_in_memory(run, source, {str(path): path for path in files}, progress)
    for reason in heard.left_out.values():
        progress.log(f"left out: {reason}")
    return {Path(name): factors for name, factors in heard.factors.items()}


def _entry(path: Path, track_id: str) -> Entry:
    (tags,) = describe_recordings([(path, track_id)])
    return Entry(track_id, tags.artist, tags.title, tags.album, tags.isrc, tags.duration_s, path)


def _listening_of(catalogue: Catalogue, rows: Sequence[int]) -> Matrix | None:
    if catalogue.reference is None or not catalogue.reference.has_factors[list(rows)].all():
        return None
    return compute_mean_direction(catalogue.reference.item_factors[list(rows)])


def _held(catalogue: Catalogue, playlist: str) -> Rows:
    """Return the rows of a playlist's own tracks; none where the dataset does not know its listening."""
    dataset = catalogue.dataset
    if dataset is None or not is_file(dataset / INTERACTIONS_FILE):
        return np.zeros(0, np.int64)
    listening = align(load_interactions(dataset / INTERACTIONS_FILE), catalogue.ids)
    (found,) = np.nonzero(listening.playlist_ids == playlist)
    return np.asarray(listening.user_items[found].indices, np.int64)


def _unknown_seed(text: str, catalogue: Catalogue) -> str:
    close = difflib.get_close_matches(text, catalogue.row_of, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    where = catalogue.dataset or f"those that {catalogue.run} predicted"
    return f"{text!r} is neither an audio file nor among the {len(catalogue.ids)} tracks of {where}.{hint}"
