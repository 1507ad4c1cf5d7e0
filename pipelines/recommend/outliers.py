"""Which tracks of a playlist sound least like the rest of it."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cs_keras.data.catalogue import describe_recordings, find_audio
from cs_keras.errors import DataError
from cs_keras.playlists.coherence import measure_coherence
from cs_keras.playlists.entries import Entry
from cs_keras.playlists.read import M3U_SUFFIXES, read_ids, read_m3u
from cs_keras.progress import Progress
from pipelines.inference.predict_tracks import predict_in_memory
from pipelines.inference.prediction_blocks import DatasetTracks, Recordings
from pipelines.inference.trained_run import TrainedRun
from pipelines.recommend.catalogue import Catalogue

Matrix = npt.NDArray[np.float32]

TABLE_SUFFIXES = (".csv", ".tsv", ".txt")


@dataclasses.dataclass(frozen=True)
class Playlist:
    """Tracks to compare with each other: ids of a catalogue, or recordings.

    Attributes
    ----------
    name
        Of its file, or ``recordings``.
    ids
        Of the catalogue's tracks; none where it holds recordings.
    recordings
        Audio files by their ids.
    """

    name: str
    ids: tuple[str, ...] = ()
    recordings: Mapping[str, Path] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PlaylistTrack:
    """A track of a playlist, how far it lies from the others, and whether it stands out; see `Coherence`."""

    entry: Entry
    distance: float
    score: float
    is_outlier: bool


def read_playlists(paths: Sequence[Path]) -> list[Playlist]:
    """Return a playlist for each m3u8, m3u or CSV file, and one of all the audio files and folders together.

    Raises
    ------
    StorageError
        When something cannot be read.
    DataError
        When a file holds no playlist.
    """
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


def find_outliers(
    run: TrainedRun, catalogue: Catalogue, playlist: Playlist, decoder: str, progress: Progress
) -> list[PlaylistTrack]:
    """Return the tracks of a playlist by how little they sound like the rest of it, the least alike first.

    All of them are placed by the run's model, train tracks too; what cannot be heard is left out and told.

    Parameters
    ----------
    run, catalogue
        A finished run, and the tracks that it can name.
    playlist
        Of `read_playlists`.
    decoder
        See `cs_keras.audio.decode.decode`.
    progress
        Where to report.

    Raises
    ------
    DataError
        When a track is unknown, or fewer than three can be heard.
    StorageError
        When something cannot be read.
    """
    if playlist.recordings:
        placed = _hear_recordings(run, playlist.recordings, decoder, progress)
    else:
        placed = _place_tracks(run, catalogue, playlist, progress)
    factors = np.array(list(placed.values()), np.float32).reshape(len(placed), -1)
    coherence = measure_coherence(factors)
    entries = _describe(playlist, catalogue, placed)
    values = zip(entries, coherence.distance.tolist(), coherence.score.tolist(), strict=True)
    flags = coherence.is_outlier.tolist()
    ranked = [PlaylistTrack(*row, flag) for row, flag in zip(values, flags, strict=True)]
    return [ranked[row] for row in coherence.order.tolist()]


def _hear_recordings(
    run: TrainedRun, recordings: Mapping[str, Path], decoder: str, progress: Progress
) -> dict[str, Matrix]:
    source = Recordings(run.signature.audio, run.signature.dtype, decoder)
    heard = predict_in_memory(run, source, recordings, progress)
    for name, reason in heard.left_out.items():
        progress.log(f"left out {name}: {reason}")
    return dict(heard.factors)


def _place_tracks(
    run: TrainedRun, catalogue: Catalogue, playlist: Playlist, progress: Progress
) -> dict[str, Matrix]:
    """Return predictions: the run's own, and new ones of train tracks by the same model."""
    unknown = [track_id for track_id in playlist.ids if track_id not in catalogue.row_of]
    if unknown:
        where = catalogue.dataset or f"those that {run.folder} predicted; name its dataset by --dataset"
        raise DataError(
            f"{playlist.name}: {len(unknown)} of {len(playlist.ids)} tracks, the first of them {unknown[0]!r}, are "
            f"not among the {len(catalogue.ids)} tracks of {where}."
        )
    rows = {track_id: catalogue.row_of[track_id] for track_id in playlist.ids}
    known = catalogue.predicted
    missing = {track_id: row for track_id, row in rows.items() if not known.known[row]}
    heard: Mapping[str, Matrix] = {}
    if missing and catalogue.dataset is not None:
        heard = predict_in_memory(run, DatasetTracks(catalogue.dataset), missing, progress).factors
    return {
        track_id: heard[track_id] if track_id in missing else known.factors[row]
        for track_id, row in rows.items()
    }


def _describe(playlist: Playlist, catalogue: Catalogue, ids: Iterable[str]) -> list[Entry]:
    if not playlist.recordings:
        return [catalogue.entry(catalogue.row_of[track_id]) for track_id in ids]
    tagged = describe_recordings([(playlist.recordings[track_id], track_id) for track_id in ids])
    return [
        Entry(one.track_id, one.artist, one.title, one.album, one.isrc, one.duration_s, one.path)
        for one in tagged
    ]
