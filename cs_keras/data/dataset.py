"""A dataset folder opened for reading: its settings, its track table, and windows of frames."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.data.schema import DatasetInfo, Tracks, read_info, read_tracks
from cs_keras.data.shards import Frames, Shard, open_block, read_shard
from cs_keras.data.windows import Windows
from cs_keras.errors import CsKerasError, DataError, StorageError


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

    def read_windows(self, windows: Windows, frames: int) -> npt.NDArray[Any]:
        """Return windows of magnitudes, shape (n_windows, frames, n_bins), in the dtype on disk.

        A track that ends inside its window is followed by zeros.
        """
        out = np.zeros((len(windows), frames, self.info.audio.n_bins), self.info.dtype)
        for i, (row, start) in enumerate(zip(windows.row, windows.start, strict=True)):
            n = min(frames, int(self.n_frames[row] - start))
            first = self._first[row] + start
            out[i, :n] = self._block(str(self._names[row]))[first : first + n]
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
        inside = {(track.track_id, track.first_frame, track.n_frames) for track in shard.tracks}
        for row in np.flatnonzero(self._names == name):
            track = (str(self._ids[row]), int(self._first[row]), int(self.n_frames[row]))
            if track not in inside:
                raise DataError(
                    f"Shard {name} of {self.folder} does not fit the track table, by which it holds track "
                    f"{track[0]!r}, {track[2]} frames from frame {track[1]} on."
                )
