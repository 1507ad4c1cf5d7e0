"""A dataset folder opened for reading: its settings, its track table, and windows of frames."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras import config
from cs_keras.data.schema import DatasetInfo, Tracks, read_info, read_tracks
from cs_keras.data.shards import (
    Frames,
    Shard,
    aligned_empty,
    open_block,
    read_ahead,
    read_shard,
    verify_track,
)
from cs_keras.data.windows import Windows
from cs_keras.errors import CsKerasError, DataError, StorageError
from cs_keras.runs import digest


class Dataset:
    """A dataset folder.

    Shards are opened when first read, and then stay as memory maps: nothing is loaded whole.

    Parameters
    ----------
    folder
        As written by `cs_keras.data.schema.write_dataset`.

    Raises
    ------
    StorageError
        When the folder is not a dataset or a shard of it is missing.
    DataError
        When its tables are not valid.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info: DatasetInfo = read_info(folder)
        self.tracks: Tracks = read_tracks(folder)
        self._names = np.array(self.tracks.strings("shard"))
        self._ids = self.tracks.ids
        self._first = self.tracks.numbers("first_frame")
        self.n_frames: npt.NDArray[np.int64] = self.tracks.numbers("n_frames")
        for name in np.unique(self._names):
            if not (folder / name).is_file():
                raise StorageError(
                    f"Dataset {folder} lacks its shard {name}; `cs-keras ingest` makes it again."
                )
        self._block = functools.cache(self._open)
        self.error: CsKerasError | None = None  # what went wrong where TensorFlow would hide it

    def __len__(self) -> int:
        return len(self.tracks)

    def read_track(self, row: int) -> Frames:
        """Return all magnitudes of one track, shape (n_frames, n_bins), as stored."""
        first, block = self._first[row], self._block(str(self._names[row]))
        return block[first : first + self.n_frames[row]]

    @property
    def digest(self) -> str:
        """SHA-256 over tables and sound: changes whenever training on the dataset could."""
        return digest([self.tracks.digest, config.to_dict(self.info.audio), dict(self.info.shards)])

    def verify(self, on_track: Callable[[int], None] = lambda n_tracks: None) -> None:
        """Read every track once and compare it with the checksum it was written with.

        Parameters
        ----------
        on_track
            Called with the number of tracks just read.

        Raises
        ------
        StorageError
            When a track has changed since; the message names it and its shard.
        """
        names = np.unique(self._names)
        with ThreadPoolExecutor() as pool:
            for n_tracks in pool.map(self._verify_shard, map(str, names)):
                on_track(n_tracks)

    def _verify_shard(self, name: str) -> int:
        block, shard = self._block(name), read_shard(self.folder / name)
        for track in shard.tracks:
            if not verify_track(track, block[track.first_frame : track.first_frame + track.n_frames]):
                raise StorageError(
                    f"Track {track.track_id!r} in {self.folder / name} has changed since it was written; delete "
                    "the shard and repeat `cs-keras ingest`."
                )
        return len(shard.tracks)

    def read_windows(self, windows: Windows, frames: int) -> npt.NDArray[Any]:
        """Return windows of magnitudes, shape (n_windows, frames, n_bins), in the dtype on disk.

        A track that ends inside its window is followed by zeros.
        """
        places = []
        for row, start in zip(windows.row, windows.start, strict=True):
            n = min(frames, int(self.n_frames[row] - start))
            places.append((self._block(str(self._names[row])), int(self._first[row] + start), n))
            read_ahead(*places[-1])
        out = aligned_empty((len(windows), frames, self.info.audio.n_bins), self.info.dtype)
        for window, (block, first, n) in zip(out, places, strict=True):
            window[:n] = block[first : first + n]
            window[n:] = 0
        return out

    def _open(self, name: str) -> Frames:
        try:
            shard = read_shard(self.folder / name)
            self._check(name, shard)
            return open_block(shard)
        except CsKerasError as error:
            self.error = error
            raise

    def _check(self, name: str, shard: Shard) -> None:
        expected = (self.info.audio.n_bins, np.dtype(self.info.dtype))
        if (shard.shape[1], shard.dtype) != expected:
            raise DataError(
                f"Shard {name} of {self.folder} does not fit the dataset: expected {expected[0]} bins as "
                f"{expected[1]}. Received: {shard.shape[1]} as {shard.dtype}."
            )
        checksum = self.info.shards.get(name)
        if checksum is not None and shard.attributes.get("checksum") != checksum:
            raise StorageError(
                f"Shard {name} of {self.folder} is not the one that was ingested; delete it and repeat "
                "`cs-keras ingest`."
            )
        inside = {(track.track_id, track.first_frame, track.n_frames) for track in shard.tracks}
        for row in np.flatnonzero(self._names == name):
            track = (str(self._ids[row]), int(self._first[row]), int(self.n_frames[row]))
            if track not in inside:
                raise DataError(
                    f"Shard {name} of {self.folder} does not fit the track table, by which it holds track "
                    f"{track[0]!r}, {track[2]} frames from frame {track[1]} on."
                )
