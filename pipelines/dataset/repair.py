"""Rebuild a dataset's tables from its shards; give the command that replaces damaged shards."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.folds import N_FOLDS
from cs_keras.data.integrity.checks import Row
from cs_keras.data.integrity.rebuild import fold_of, infer_info, rebuild_rows
from cs_keras.data.schema import (
    DATASET_FILE,
    INTERACTIONS_FILE,
    TRACKS_FILE,
    DatasetInfo,
    as_track_table,
    factors_names,
    factors_path,
    make_tracks,
    read_document,
    read_info,
    write_dataset,
)
from cs_keras.errors import CsKerasError, StorageError, UnreachableError
from cs_keras.factors.interactions import load_interactions
from cs_keras.factors.store import load_factors
from cs_keras.messages import count
from cs_keras.parsing import parse_parquet
from cs_keras.runs import atomic_write, remove_temporaries
from cs_keras.storage.location import Location, is_file, is_folder, read_bytes
from pipelines.dataset.check import check_tables, temporaries
from pipelines.dataset.shard_check import shards_on_disk, try_read

OLD_SUFFIX = ".old"


def repair_dataset(dataset: Location) -> list[str]:
    """Rebuild tables from the shards and return what was done, one sentence each.

    Temporary files of killed writers are removed; positions in ``tracks.parquet`` are taken from the shards; a
    lost ``dataset.json`` is rebuilt from the shards. Replaced files are saved as ``.old``. No shard is changed.
    No process may be writing to the dataset.

    Raises StorageError when the folder does not exist or cannot be written to, and DataError when no shard has
    the audio settings, or a shard's name lacks its fold.
    """
    if not is_folder(dataset):
        raise StorageError(f"There is no folder {dataset}.")
    done = []
    left = temporaries(dataset)
    remove_temporaries(dataset)
    if removed := len(left) - len(temporaries(dataset)):
        done.append(f"removed {count(removed, 'temporary file')} of killed writers")
    info, tracks, _ = check_tables(dataset)
    shards = {name: shard for name in shards_on_disk(dataset) if (shard := try_read(dataset / name))}
    rows: list[Row] = tracks.table.to_pylist() if tracks else _salvage(dataset)
    audio = info.audio if info else infer_info(rows, shards).audio
    rebuilt = rebuild_rows(rows, shards, audio, [] if rows else _known_order(dataset))
    fitting = info and tracks and read_document(dataset).get("n_tracks") == len(tracks)
    if fitting and rebuilt == rows:
        return done
    for name in (DATASET_FILE, TRACKS_FILE):
        if is_file(dataset / name):
            with atomic_write(dataset / f"{name}{OLD_SUFFIX}") as file:
                file.write(read_bytes(dataset / name))
    write_dataset(dataset, info or infer_info(rebuilt, shards), make_tracks(rebuilt))
    return done + _describe_repair(info, rows, rebuilt)


def ingest_command(dataset: Location) -> str:
    """Return the command that makes the dataset's shards, with the settings that are not defaults."""
    try:
        info = read_info(dataset)
    except CsKerasError:
        info = DatasetInfo()
    options = {**dataclasses.asdict(info.audio), "dtype": info.dtype, "folds": info.fold_by}
    defaults = {**dataclasses.asdict(AudioConfig()), "dtype": "float16", "folds": "artist"}
    changed = [
        " --waveforms" if name == "content" else f" --{name.replace('_', '-')} {options[name]}"
        for name in options
        if options[name] != defaults[name]
    ]
    return f"cs-keras ingest --tracks tracks.csv --out {dataset}{''.join(changed)}"


def _salvage(dataset: Location) -> list[Row]:
    """Return the rows of a track table that is readable but invalid, the first of each id."""
    try:
        table = as_track_table(parse_parquet(read_bytes(dataset / TRACKS_FILE)))
    except UnreachableError:
        raise
    except (OSError, KeyError, pa.ArrowException):
        return []
    rows: dict[str, Row] = {}
    for row in table.to_pylist():
        has_audio = bool(row["shard"])
        if row["track_id"] and (has_audio or row["n_frames"] == 0):
            is_fold = row["fold"] in range(N_FOLDS) or not has_audio
            fold = row["fold"] if is_fold else fold_of(row["shard"])
            rows.setdefault(row["track_id"], {**row, "fold": fold})
    return list(rows.values())


def _known_order(dataset: Location) -> list[str]:
    """Return track ids in the order of the interactions or factors, so that these fit a rebuilt table."""
    loaders: list[Any] = [(dataset / INTERACTIONS_FILE, load_interactions)]
    loaders += [(factors_path(dataset, name), load_factors) for name in factors_names(dataset)]
    for path, load in loaders:
        try:
            return list(load(path).track_ids.tolist())
        except UnreachableError:
            raise
        except CsKerasError:
            continue
    return []


def _describe_repair(info: DatasetInfo | None, rows: Sequence[Row], rebuilt: Sequence[Row]) -> list[str]:
    before = {row["track_id"]: row for row in rows}
    after = {row["track_id"]: row for row in rebuilt}
    counts = {
        "added": len(after.keys() - before.keys()),
        "removed, because no shard holds them": len(before.keys() - after.keys()),
        "moved to their position in the shard": sum(
            before[i] != after[i] for i in before.keys() & after.keys()
        ),
    }
    done = [f"{TRACKS_FILE}: {count(n, 'track')} {what}" for what, n in counts.items() if n]
    if counts["added"]:
        done.append(
            f"{TRACKS_FILE}: artist, title, album, isrc, genres and release_date of added tracks are lost; delete "
            f"{DATASET_FILE} and repeat the ingest to restore them"
        )
    if info is None:
        done.append(f"{DATASET_FILE}: rebuilt from the shards")
    return done or [f"{DATASET_FILE} and {TRACKS_FILE}: brought into agreement"]
