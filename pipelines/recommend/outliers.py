"""Outliers of a playlist by predicted factors."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.data.catalogue import find_audio
from cs_keras.data.reader import ReadConfig
from cs_keras.errors import DataError
from cs_keras.playlists.coherence import measure_coherence
from cs_keras.playlists.entries import Entry
from cs_keras.playlists.read import M3U_SUFFIXES, read_ids, read_m3u
from cs_keras.progress import Progress
from cs_keras.storage.location import Location
from pipelines.inference.trained_run import TrainedRun, read_run
from pipelines.recommend.audio_files import describe_files
from pipelines.recommend.catalogue import Catalogue, open_catalogue
from pipelines.recommend.query import predict_files, predict_rows

Matrix = npt.NDArray[np.float32]

TABLE_SUFFIXES = (".csv", ".tsv", ".txt")


@dataclasses.dataclass(frozen=True)
class Playlist:
    """Tracks to compare with each other: ids of a catalogue, or recordings by their ids."""

    name: str
    ids: tuple[str, ...] = ()
    recordings: Mapping[str, Path] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PlaylistTrack:
    """A track of a playlist, its distance from the others, and whether it is an outlier; see `Coherence`."""

    entry: Entry
    distance: float
    score: float
    is_outlier: bool


def find_outliers(
    run_folder: Location,
    paths: Sequence[Path],
    dataset: Location | None,
    decoder: str,
    progress: Progress,
    reading: ReadConfig | None = None,
) -> list[tuple[str, list[PlaylistTrack]]]:
    """Return the tracks of each playlist by distance from its others, farthest first, with the playlist's name.

    Factors are predicted by the run's model for all of them, train tracks too; unreadable recordings are left out
    and reported.

    Parameters
    ----------
    run_folder, dataset
        A finished run, and the dataset that it was trained on; None for the tracks that the run predicted.
    paths
        A playlist each for m3u8, m3u and CSV files, and one of all the audio files and folders together.
    decoder
        See `cs_keras.audio.decode.decode`.

    Raises
    ------
    DataError
        A file holds no playlist, a track is unknown, or fewer than three of a playlist can be read.
    StorageError
        Something cannot be read.
    """
    playlists = _read_playlists(paths)
    catalogue, run = open_catalogue(run_folder, dataset, reading), read_run(run_folder)
    return [(one.name, _find_outliers(run, catalogue, one, decoder, progress)) for one in playlists]


def _read_playlists(paths: Sequence[Path]) -> list[Playlist]:
    lists = []
    audio = []
    for path in paths:
        if path.suffix.lower() in M3U_SUFFIXES:
            lists.append(Playlist(path.name, recordings={str(file): file for file in read_m3u(path)}))
        elif path.suffix.lower() in TABLE_SUFFIXES:
            lists.append(Playlist(path.name, tuple(dict.fromkeys(read_ids(path)))))
        else:
            audio.append(path)
    if audio:
        lists.append(Playlist("recordings", recordings={str(path): path for path, _ in find_audio(audio)}))
    return lists


def _find_outliers(
    run: TrainedRun, catalogue: Catalogue, playlist: Playlist, decoder: str, progress: Progress
) -> list[PlaylistTrack]:
    if playlist.recordings:
        predicted, _ = predict_files(run, playlist.recordings, decoder, progress)
    else:
        predicted = _predict_ids(run, catalogue, playlist, progress)
    if not predicted:
        raise DataError(f"{playlist.name}: none of its tracks can be used.")
    factors = np.stack(list(predicted.values())).astype(np.float32)
    coherence = measure_coherence(factors)
    if playlist.recordings:
        entries = describe_files([(playlist.recordings[track_id], track_id) for track_id in predicted])
    else:
        entries = [catalogue.entry(catalogue.row_of[track_id]) for track_id in predicted]
    values = zip(entries, coherence.distance.tolist(), coherence.score.tolist(), strict=True)
    flags = coherence.is_outlier.tolist()
    ranked = [PlaylistTrack(*row, flag) for row, flag in zip(values, flags, strict=True)]
    return [ranked[row] for row in coherence.order.tolist()]


def _predict_ids(
    run: TrainedRun, catalogue: Catalogue, playlist: Playlist, progress: Progress
) -> dict[str, Matrix]:
    """Return predictions: stored ones, and for train tracks new ones by the same model."""
    unknown = [track_id for track_id in playlist.ids if track_id not in catalogue.row_of]
    if unknown:
        where = catalogue.dataset or f"those that {run.folder} predicted; name its dataset by --dataset"
        close = difflib.get_close_matches(unknown[0], catalogue.row_of, n=1)
        raise DataError(
            f"{playlist.name}: {len(unknown)} of {len(playlist.ids)} tracks, the first of them {unknown[0]!r}, are "
            f"not among the {len(catalogue.ids)} tracks of {where}."
            + (f" Did you mean {close[0]!r}?" if close else "")
        )
    factors = predict_rows(catalogue, [catalogue.row_of[track_id] for track_id in playlist.ids], progress)
    return {str(catalogue.ids[row]): predicted for row, predicted in factors.items()}
