"""Tables of tracks' features by a pretrained encoder.

They are computed in blocks, so that an interruption costs at most one. A table holds the checksum of each track's
audio, so that another can take over what was computed already.
"""

import dataclasses
import itertools
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import soxr

from cs_keras.audio.decode import load_mono
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.encoders import Encoder, open_encoder, sha256
from cs_keras.encoders.pooling import check_pooling, pool_rows
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.factors.arrays import read_arrays
from cs_keras.parsing import parse_json
from cs_keras.progress import Progress
from cs_keras.run_files.encoder import EncoderRecord, parse_encoder
from cs_keras.storage.location import Location
from pipelines.inference.predict import (
    Predicted,
    Table,
    choose_rows,
    list_recordings,
    make_blocks,
    write_outputs,
)
from pipelines.inference.prediction_blocks import OpenSource, Source, identify_tracks
from pipelines.inference.track_vectors import Matrix, check_output
from pipelines.training.attribute_files import ENCODER, FEATURES, FRAMES, OFFSETS

CHECKSUMS = "checksums"


@dataclasses.dataclass(frozen=True)
class EncoderChoice:
    """An encoder, and what to make of its frames.

    Attributes
    ----------
    name, weights
        See `cs_keras.encoders.open_encoder`.
    pooling
        Statistics over frames; none to keep the frames; None for the statistics that suit the encoder.
    reuse
        An npz that the same encoder wrote: features of the same audio are taken from it.
    """

    name: str
    weights: str | None = None
    pooling: tuple[str, ...] | None = None
    reuse: Location | None = None

    def __post_init__(self) -> None:
        if self.pooling:
            check_pooling(self.pooling)

    def check_output(self, out: Location) -> None:
        """Raise ConfigError or StorageError unless `out` can be the file to write."""
        check_output(out)
        if self.pooling == () and out.suffix.lower() != ".npz":
            raise ConfigError(f"Sequences of frames are written into .npz files. Received: {out}.")


@dataclasses.dataclass(frozen=True, eq=False)
class EncoderModel:
    """An encoder with pooling as a `pipelines.inference.prediction_blocks.TrackModel` of waveforms.

    `encoder` is None in a worker, which opens its own by `record`.
    """

    record: EncoderRecord
    n_outputs: int
    encoder: Encoder | None = None

    block_tracks: ClassVar[int] = 8  # an interruption costs half a minute or less

    def __reduce__(self) -> Any:
        """Pickle without the encoder."""
        return EncoderModel, (self.record, self.n_outputs)

    @property
    def task(self) -> str:
        """Name of the work."""
        return f"embed by {self.record.encoder}"

    @property
    def identity(self) -> Any:
        """Everything that decides the features."""
        return [self.record.encoder, self.record.digest, self.record.pooling]

    def load(self) -> Callable[[Any], Matrix]:
        """Open the encoder; return a function from the samples of a track to its features."""
        encoder = self.encoder or open_encoder(self.record.encoder, self.record.weights)
        if encoder.digest != self.record.digest:
            raise StorageError(
                f"The worker {socket.gethostname()} has other weights of the encoder {self.record.encoder} than "
                f"this command: expected SHA-256 {self.record.digest}. Received: {encoder.digest}."
            )
        return lambda waveform: pool_rows(encoder.encode(waveform), self.record.pooling)


@dataclasses.dataclass(frozen=True)
class DatasetWaveforms:
    """Waveforms of a dataset's tracks at a sample rate in Hz; an item is a row of its track table."""

    folder: Location
    reading: ReadConfig
    sample_rate: int

    def open(self) -> OpenSource:
        """Open the dataset."""
        dataset = Dataset(self.folder, self.reading)
        own_rate = dataset.info.audio.sample_rate

        def read(row: int) -> Any:
            samples = dataset.read_track(row).ravel().astype(np.float32)
            if own_rate == self.sample_rate:
                return samples
            return soxr.resample(samples, own_rate, self.sample_rate, quality="HQ")

        return OpenSource(lambda rows: [dataset.digest, *rows], read)


@dataclasses.dataclass(frozen=True)
class RecordingWaveforms:
    """Waveforms of audio files at a sample rate in Hz; an item is a path."""

    sample_rate: int
    decoder: str

    def open(self) -> OpenSource:
        """Return a reader of audio files."""
        audio = AudioConfig(sample_rate=self.sample_rate)
        return OpenSource(
            lambda paths: [self.decoder, *map(_checksum, paths)],
            lambda path: load_mono(path, audio, self.decoder),
        )


def embed_dataset(
    choice: EncoderChoice,
    folder: Location,
    split: str,
    out: Location,
    reading: ReadConfig,
    progress: Progress,
    beam: Sequence[str] = (),
) -> Predicted:
    """Write the features of a dataset's tracks, which must be waveforms.

    `out` is an npz or Parquet file of ``track_ids``, ``features``, shape (n, n_features), float32, and two texts,
    ``encoder``, a JSON `EncoderRecord`, and ``checksums`` of the audio, a JSON list. Without pooling it is an npz
    with ``frames`` and ``offsets`` in place of features; see `cs_keras.data.attributes.columns.SequenceColumn`.
    `beam` are options of Apache Beam, ``--runner=`` first, whose workers embed. See `embed_recordings` for errors;
    ConfigError also when the dataset holds magnitudes.
    """
    choice.check_output(out)
    dataset = Dataset(folder, reading)
    if not dataset.info.audio.holds_waveforms:
        raise ConfigError(
            f"Encoders take waveforms, and {folder} holds magnitudes: name its recordings instead, or a dataset "
            "made by cs-keras ingest --waveforms."
        )
    encoder = open_encoder(choice.name, choice.weights)
    rows = choose_rows(dataset, split)
    items = dict(zip(dataset.tracks.ids[rows].tolist(), rows.tolist(), strict=True))
    source = DatasetWaveforms(folder, reading, encoder.sample_rate)
    return _embed(choice, encoder, source, items, out, progress, beam)


def embed_recordings(
    choice: EncoderChoice,
    files: Sequence[Path],
    decoder: str,
    out: Location,
    progress: Progress,
    beam: Sequence[str] = (),
) -> Predicted:
    """Write the features of recordings; unusable ones are left out. See `embed_dataset` for `out` and `beam`.

    Raises
    ------
    ConfigError
        When there is no such encoder, or `out` ends neither in ``.npz`` nor in ``.parquet``.
    DataError
        When two recordings have the same id, or none can be used.
    StorageError
        When weights or recordings are missing, or files cannot be written.
    """
    choice.check_output(out)
    encoder = open_encoder(choice.name, choice.weights)
    source = RecordingWaveforms(encoder.sample_rate, decoder)
    return _embed(choice, encoder, source, list_recordings(files), out, progress, beam)


def _embed(
    choice: EncoderChoice,
    encoder: Encoder,
    source: Source,
    items: Mapping[str, Any],
    out: Location,
    progress: Progress,
    beam: Sequence[str],
) -> Predicted:
    weights = os.path.abspath(choice.weights) if choice.weights else None
    pooling = encoder.pooling if choice.pooling is None else choice.pooling
    record = EncoderRecord(choice.name, encoder.digest, pooling, weights)
    model = EncoderModel(record, encoder.n_features * (len(pooling) or 1), encoder)
    known = _read_known(choice.reuse, record) if choice.reuse else {}
    checksums = identify_tracks(source.open(), items)
    reused = {one: known[checksum] for one, checksum in checksums.items() if checksum in known}

    def make(parts: Location) -> Table:
        rest = {one: item for one, item in items.items() if one not in reused}
        rows, left_out = dict(reused), dict[str, str]()
        if rest:
            ids, n_rows, values, left_out = make_blocks(model, source, rest, checksums, parts, progress, beam)
            rows |= zip(ids.tolist(), np.split(values, np.cumsum(n_rows)[:-1]), strict=False)
        if choice.reuse:
            progress.log(f"features of {len(reused)} of {len(items)} tracks were taken from {choice.reuse}")
        found = {one: rows[one] for one in items if one in rows}
        about = {
            ENCODER: json.dumps(msgspec.to_builtins(record)),
            CHECKSUMS: json.dumps([checksums[one] for one in found]),
        }
        joined = np.concatenate([np.zeros((0, model.n_outputs), np.float32), *found.values()])
        offsets = np.cumsum([0, *map(len, found.values())])
        vectors = {FEATURES: joined} if pooling else {FRAMES: joined, OFFSETS: offsets}
        return np.array(list(found), np.str_), vectors, about, left_out

    return write_outputs(out, make)


def _read_known(path: Location, record: EncoderRecord) -> dict[str, Matrix]:
    """Return the rows of each track of a table by the checksum of its audio; shape (1 or n_frames, n_features)."""
    arrays = read_arrays(path)
    values = arrays.get(FRAMES, arrays.get(FEATURES))
    if values is None or ENCODER not in arrays or CHECKSUMS not in arrays:
        raise DataError(
            f"{path} has no checksums of recordings: expected an npz that this release of `cs-keras embed` wrote."
        )
    made_by = parse_encoder(str(arrays[ENCODER])) or {}
    expected = (record.encoder, record.digest, list(record.pooling))
    received = (made_by.get("encoder"), made_by.get("digest"), made_by.get("pooling"))
    if received != expected:
        raise DataError(f"{path} was made by another encoder: expected {expected}. Received: {received}.")
    checksums = parse_json(str(arrays[CHECKSUMS]))
    offsets = arrays.get(OFFSETS, np.arange(len(values) + 1))
    if not isinstance(checksums, list) or len(checksums) != len(offsets) - 1 or offsets[-1] != len(values):
        raise DataError(f"{path} is damaged: expected a checksum for each track.")
    ends = itertools.pairwise(offsets.tolist())
    return {key: values[first:last] for key, (first, last) in zip(checksums, ends, strict=True)}


def _checksum(path: Path) -> str:
    """Return the SHA-256 of a recording; empty where it cannot be read, so that it is left out."""
    try:
        return sha256(path)
    except OSError:
        return ""
