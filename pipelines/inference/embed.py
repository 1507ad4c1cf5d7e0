"""Tables of tracks' features by a pretrained encoder.

They are computed in blocks, so that an interruption costs at most one.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import soxr

from cs_keras.audio.decode import load_mono
from cs_keras.audio.file_checksum import file_checksum
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.encoders import Encoder, open_encoder
from cs_keras.encoders.pooling import check_pooling, pool
from cs_keras.errors import AudioError, ConfigError, CsKerasError, DataError
from cs_keras.factors.arrays import read_arrays, write_arrays
from cs_keras.progress import Progress
from cs_keras.run_files.encoder import EncoderRecord
from cs_keras.runs import digest
from cs_keras.storage.location import Location
from pipelines.inference.predict import PARTS_SUFFIX, Predicted, choose_rows, list_recordings
from pipelines.inference.prediction_blocks import OpenSource, read_ahead, remove_parts
from pipelines.inference.track_vectors import check_output, write_vectors

BLOCK_TRACKS = 8  # an interruption costs half a minute or less


@dataclasses.dataclass(frozen=True)
class EncoderChoice:
    """An encoder by name, its weights, and the statistics over its frames, None for those that suit it.

    See `cs_keras.encoders.open_encoder`.
    """

    name: str
    weights: str | None = None
    pooling: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.pooling is not None:
            check_pooling(self.pooling)


def embed_dataset(
    choice: EncoderChoice,
    folder: Location,
    split: str,
    out: Location,
    reading: ReadConfig,
    progress: Progress,
) -> Predicted:
    """Write the features of a dataset's tracks, which must be waveforms.

    `out` is an npz or Parquet file of ``track_ids``, ``features``, shape (n, n_features), float32, and ``encoder``,
    a JSON `EncoderRecord`. See `embed_recordings` for errors; ConfigError also when the dataset holds magnitudes.
    """
    check_output(out)
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
    check_output(out)
    encoder = open_encoder(choice.name, choice.weights)
    audio = AudioConfig(sample_rate=encoder.sample_rate)
    source = OpenSource(
        lambda paths: [decoder, *map(file_checksum, paths)], lambda path: load_mono(path, audio, decoder)
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
    pooling = choice.pooling or encoder.pooling
    record = EncoderRecord(choice.name, encoder.digest, pooling, weights)
    folder, ids = out.with_name(f"{out.name}{PARTS_SUFFIX}"), list(items)
    parts: list[Any] = []
    with progress.task(f"embed by {choice.name}", len(ids)) as advance:
        for first in range(0, len(ids), BLOCK_TRACKS):
            inside = ids[first : first + BLOCK_TRACKS]
            where = [items[track_id] for track_id in inside]
            plan = digest([choice.name, encoder.digest, pooling, inside, source.identify(where)])
            path = folder / f"part-{first // BLOCK_TRACKS:06d}-{plan[:16]}.npz"
            with contextlib.suppress(CsKerasError):
                parts.append(read_arrays(path))
                advance(len(inside))
                continue
            vectors, left_out = {}, {}
            with read_ahead(source, where, len(os.sched_getaffinity(0))) as outcomes:
                for track_id, outcome in zip(inside, outcomes, strict=True):
                    if isinstance(outcome, AudioError):
                        left_out[track_id] = str(outcome)
                    else:
                        vectors[track_id] = pool(encoder.encode(outcome), pooling)
                    advance(1)
            width = encoder.n_features * len(pooling)
            arrays = {
                "track_ids": np.array(list(vectors), np.str_),
                "features": np.array(list(vectors.values()), np.float32).reshape(-1, width),
                "left_out": np.array(list(left_out), np.str_),
                "reasons": np.array(list(left_out.values()), np.str_),
            }
            write_arrays(path, arrays, {})
            parts.append(arrays)
    names = ("track_ids", "features", "left_out", "reasons")
    track_ids, features, refused, reasons = (np.concatenate([part[name] for part in parts]) for name in names)
    left = dict(zip(refused.tolist(), reasons.tolist(), strict=True))
    for track_id, reason in left.items():
        progress.log(f"left out {track_id}: {reason}")
    if len(track_ids):
        about = {"encoder": json.dumps(msgspec.to_builtins(record))}
        write_vectors(out, track_ids, {"features": features}, about)
    remove_parts(folder)
    if not len(track_ids):
        raise DataError(f"None of the {len(left)} recordings can be used: nothing was written.")
    return Predicted(len(track_ids), features.shape[1], left)
