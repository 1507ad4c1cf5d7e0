"""Tables of tracks' features by a pretrained encoder.

They are computed in blocks, so that an interruption costs at most one. A table holds the checksum of each track's
audio, so that another can take over what was computed already.
"""

import dataclasses
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import soxr

from cs_keras.audio.decode import load_mono
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.encoders import Encoder, open_encoder, sha256
from cs_keras.encoders.pooling import check_pooling, pool_rows
from cs_keras.errors import ConfigError, CsKerasError, DataError
from cs_keras.factors.arrays import SETTINGS, Arrays, read_arrays, write_arrays
from cs_keras.parsing import parse_json
from cs_keras.progress import Advance, Progress
from cs_keras.run_files.encoder import EncoderRecord, parse_encoder
from cs_keras.runs import digest
from cs_keras.storage.location import Location
from pipelines.inference.predict import PARTS_SUFFIX, Predicted, choose_rows, list_recordings
from pipelines.inference.prediction_blocks import Block, OpenSource, apply_to_tracks, remove_parts
from pipelines.inference.track_vectors import check_output, write_vectors
from pipelines.inference.trained_run import Matrix
from pipelines.training.attribute_files import ENCODER, FEATURES, FRAMES, OFFSETS

CHECKSUMS = "checksums"
BLOCK_TRACKS = 8  # an interruption costs half a minute or less


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


def embed_dataset(
    choice: EncoderChoice,
    folder: Location,
    split: str,
    out: Location,
    reading: ReadConfig,
    progress: Progress,
) -> Predicted:
    """Write the features of a dataset's tracks, which must be waveforms.

    `out` is an npz or Parquet file of ``track_ids``, ``features``, shape (n, n_features), float32, and two texts,
    ``encoder``, a JSON `EncoderRecord`, and ``checksums`` of the audio, a JSON list. Without pooling it is an npz
    with ``frames`` and ``offsets`` in place of features; see `cs_keras.data.attributes.columns.SequenceColumn`. See
    `embed_recordings` for errors; ConfigError also when the dataset holds magnitudes.
    """
    choice.check_output(out)
    dataset = Dataset(folder, reading)
    audio = dataset.info.audio
    if not audio.holds_waveforms:
        raise ConfigError(
            f"Encoders take waveforms, and {folder} holds magnitudes: name its recordings instead, or a dataset "
            "made by cs-keras ingest --waveforms."
        )
    encoder = open_encoder(choice.name, choice.weights)
    rows = choose_rows(dataset, split)

    def read(row: int) -> Any:
        samples = dataset.read_track(row).ravel().astype(np.float32)
        if audio.sample_rate == encoder.sample_rate:
            return samples
        return soxr.resample(samples, audio.sample_rate, encoder.sample_rate, quality="HQ")

    items = dict(zip(dataset.tracks.ids[rows].tolist(), rows.tolist(), strict=True))
    source = OpenSource(lambda some: [dataset.digest, *some], read)
    return _embed(choice, encoder, source, items, out, progress)


def embed_recordings(
    choice: EncoderChoice, files: Sequence[Path], decoder: str, out: Location, progress: Progress
) -> Predicted:
    """Write the features of recordings; unusable ones are left out. See `embed_dataset` for `out`.

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
    audio = AudioConfig(sample_rate=encoder.sample_rate)
    source = OpenSource(
        lambda paths: [decoder, *map(_checksum, paths)], lambda path: load_mono(path, audio, decoder)
    )
    return _embed(choice, encoder, source, list_recordings(files), out, progress)


def _embed(
    choice: EncoderChoice,
    encoder: Encoder,
    source: OpenSource,
    items: Mapping[str, Any],
    out: Location,
    progress: Progress,
) -> Predicted:
    weights = os.path.abspath(choice.weights) if choice.weights else None
    pooling = encoder.pooling if choice.pooling is None else choice.pooling
    record = EncoderRecord(choice.name, encoder.digest, pooling, weights)
    known = _read_known(choice.reuse, record) if choice.reuse else {}
    folder, ids = out.with_name(f"{out.name}{PARTS_SUFFIX}"), list(items)
    parts: list[Arrays] = []
    with progress.task(f"embed by {choice.name}", len(ids)) as advance:
        for number, first in enumerate(range(0, len(ids), BLOCK_TRACKS)):
            inside = {track_id: items[track_id] for track_id in ids[first : first + BLOCK_TRACKS]}
            checksums = {track_id: digest(source.identify([item])) for track_id, item in inside.items()}
            plan = digest([choice.name, encoder.digest, pooling, list(checksums.items())])
            block = folder / Block(number, plan, tuple(inside), tuple(inside.values())).name
            try:
                part = read_arrays(block)
                advance(len(inside))
            except CsKerasError:
                rows = {one: known[checksum] for one, checksum in checksums.items() if checksum in known}
                part = _embed_block(encoder, pooling, source, inside, rows, advance)
                part["checksums"] = np.array([checksums[one] for one in part["track_ids"].tolist()], np.str_)
                write_arrays(block, part, {})
            parts.append(part)
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != SETTINGS}
    left = dict(zip(whole["left_out"].tolist(), whole["reasons"].tolist(), strict=True))
    for track_id, reason in left.items():
        progress.log(f"left out {track_id}: {reason}")
    if choice.reuse:
        n_known = np.isin(whole["checksums"], list(known)).sum()
        progress.log(f"features of {n_known} of {len(ids)} tracks were taken from {choice.reuse}")
    if len(whole["track_ids"]):
        vectors = {FEATURES: whole["rows"]}
        if not pooling:
            vectors = {FRAMES: whole["rows"], OFFSETS: np.concatenate([[0], np.cumsum(whole["n_rows"])])}
        about = {
            ENCODER: json.dumps(msgspec.to_builtins(record)),
            CHECKSUMS: json.dumps(whole["checksums"].tolist()),
        }
        write_vectors(out, whole["track_ids"], vectors, about)
    remove_parts(folder)
    if not len(whole["track_ids"]):
        raise DataError(f"None of the {len(left)} recordings can be used: nothing was written.")
    return Predicted(len(whole["track_ids"]), whole["rows"].shape[1], left)


def _embed_block(
    encoder: Encoder,
    pooling: Sequence[str],
    source: OpenSource,
    items: Mapping[str, Any],
    known: Mapping[str, Matrix],
    advance: Advance,
) -> Arrays:
    """Return the rows of tracks, by the encoder unless `known`, and reasons for those that cannot be used."""
    advance(len(known))
    new, left_out = apply_to_tracks(
        lambda waveform: pool_rows(encoder.encode(waveform), pooling),
        source,
        {track_id: item for track_id, item in items.items() if track_id not in known},
        len(os.sched_getaffinity(0)),
        advance,
    )
    found = {**known, **new}
    rows = {track_id: found[track_id] for track_id in items if track_id in found}
    width = encoder.n_features * (len(pooling) or 1)
    return {
        "track_ids": np.array(list(rows), np.str_),
        "n_rows": np.array([len(one) for one in rows.values()], np.int64),
        "rows": np.concatenate([np.zeros((0, width), np.float32), *rows.values()]),
        "left_out": np.array(list(left_out), np.str_),
        "reasons": np.array(list(left_out.values()), np.str_),
    }


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
