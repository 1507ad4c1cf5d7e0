"""Items without recordings to a dataset folder: tracks, or artists, that are known by their attributes alone."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cs_keras.config import check_choice
from cs_keras.data.catalogue import Recording, check_unique
from cs_keras.data.folds import assign_folds, group_keys
from cs_keras.data.schema import (
    DATASET_FILE,
    DatasetInfo,
    Tracks,
    make_tracks,
    read_info,
    read_tracks,
    write_dataset,
)
from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.tables import open_table
from cs_keras.runs import locked
from cs_keras.storage.location import Location, is_file, is_remote
from pipelines.dataset.build import IngestResult

DESCRIPTIONS = ("artist", "title", "album", "isrc", "genres")
NOWHERE = {"duration_s": None, "shard": "", "first_frame": 0, "n_frames": 0}


def read_items(path: Path, encoding: str | None = None) -> list[Recording]:
    """Read a table of items, one a row.

    Parameters
    ----------
    path
        CSV, TSV or Parquet with a column ``track_id``, and as far as known ``artist``, ``title``, ``album``,
        ``isrc`` and ``genres`` (separated by ``|`` or ``;``, or lists). Others are ignored.
    encoding
        Of a text file; default: UTF-8, or UTF-16 where a byte-order mark says so.

    Returns
    -------
    list of Recording
        Whose path is that of the table: there are no recordings.

    Raises
    ------
    StorageError
        When the file cannot be read.
    DataError
        When it is no table, has no ``track_id``, or an id is empty or stands twice.
    """
    table = open_table(path, encoding=encoding)
    names = {name.strip().casefold(): name for name in table.column_names}
    if "track_id" not in names:
        raise DataError(
            f"{path} has no column 'track_id'. Columns understood: track_id, {', '.join(DESCRIPTIONS)}. "
            f"Received: {', '.join(table.column_names)}."
        )
    known = [name for name in ("track_id", *DESCRIPTIONS) if name in names]
    rows = table.read([names[name] for name in known]).rename_columns(known).to_pylist()
    if not rows:
        raise DataError(f"{path} lists no items: it has a header but no rows.")
    items = [_from_row(path, row) for row in rows]
    seen: set[str] = set()
    for item in items:
        if item.track_id in seen:
            raise DataError(f"{path}: track_id {item.track_id!r} stands twice; every item needs its own.")
        seen.add(item.track_id)
    return items


def ingest_items(
    items: Sequence[Recording], out: Location, fold_by: str, append: bool = False
) -> IngestResult:
    """Bring `items` into the dataset `out`, which has no shards; those that are there already stay as they are.

    Parameters
    ----------
    items
        With ids that differ.
    out
        Dataset folder to make or add to.
    fold_by
        What a fold keeps together: ``artist`` or ``track``.
    append
        Add to a dataset that is already whole.

    Raises
    ------
    ConfigError
        When `out` holds a dataset of recordings or of other folds, or one to which nothing may be added.
    DataError
        When there are fewer than three items.
    StorageError
        When files cannot be read or written.
    """
    check_choice("folds", fold_by, ("artist", "track"))
    with contextlib.nullcontext() if is_remote(out) else locked(out):
        info, tracks = _existing(out, fold_by)
        known = set(tracks.strings("track_id"))
        new = [item for item in items if item.track_id not in known]
        if not new:
            return IngestResult(len(tracks), 0, info.left_out, info.fold_assignment)
        if len(tracks) and not append:
            raise ConfigError(
                f"{out} already holds a dataset of {len(tracks)} items, and {len(new)} of these are not in it "
                f"(first: {new[0].track_id!r}); add them with --append, or choose another --out."
            )
        folds, fold_assignment = _assign(new, tracks, fold_by)
        rows = [_row(item, fold) for item, fold in zip(new, folds, strict=True)]
        merged = make_tracks([*tracks.table.to_pylist(), *rows])
        if not len(tracks):
            info = DatasetInfo(fold_by=fold_by, fold_assignment=fold_assignment)
        write_dataset(out, info, merged)
    return IngestResult(len(merged), len(new), info.left_out, info.fold_assignment)


def _from_row(path: Path, values: Mapping[str, Any]) -> Recording:
    genres = values.get("genres") or ""
    parts = genres if isinstance(genres, list) else str(genres).replace(";", "|").split("|")
    texts = {name: str(values.get(name) or "").strip() for name in ("artist", "title", "album", "isrc")}
    track_id = values["track_id"]
    own = "" if track_id is None else str(track_id).strip()
    item = Recording(path, own, **texts, genres=tuple(g.strip() for g in parts if g and g.strip()))  # type: ignore[arg-type]
    check_unique([item], str(path))  # that its id is one
    return item


def _existing(out: Location, fold_by: str) -> tuple[DatasetInfo, Tracks]:
    if not is_file(out / DATASET_FILE):
        return DatasetInfo(fold_by=fold_by), make_tracks([])
    info, tracks = read_info(out), read_tracks(out)
    if tracks.has_audio.any():
        raise ConfigError(
            f"{out} holds {int(tracks.has_audio.sum())} recordings; items without any go into a dataset of their "
            "own."
        )
    if info.fold_by != fold_by:
        raise ConfigError(f"{out} was made with fold_by = {info.fold_by}; this command asks for {fold_by}.")
    return info, tracks


def _assign(items: Sequence[Recording], tracks: Tracks, fold_by: str) -> tuple[list[int], str]:
    keys = group_keys(tracks.strings("track_id"), tracks.strings("artist"), fold_by)
    known = dict(zip(keys, tracks.numbers("fold").tolist(), strict=True))
    return assign_folds([i.track_id for i in items], [i.artist for i in items], fold_by, known)


def _row(item: Recording, fold: int) -> dict[str, Any]:
    texts = {name: getattr(item, name) for name in ("track_id", "artist", "title", "album", "isrc")}
    return {**texts, "genres": list(item.genres), "fold": fold, **NOWHERE}
