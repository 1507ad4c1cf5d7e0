"""Write a dataset folder of items without recordings (tracks or artists), which are described by attributes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cs_keras.data.catalogue import DESCRIPTIONS, Recording, split_genres
from cs_keras.data.schema import DatasetInfo, check_ids, is_valid_id, make_tracks, write_dataset
from cs_keras.errors import DataError
from cs_keras.factors.tables import open_table
from cs_keras.storage.location import Location
from pipelines.dataset.build import IngestResult, check_append, lock, make_row, open_existing
from pipelines.dataset.shard_plan import assign

COLUMNS = ("track_id", *DESCRIPTIONS, "genres")


def read_items(path: Path, encoding: str | None = None) -> list[Recording]:
    """Read a table of items, one per row, as recordings with `path` as their path.

    Parameters
    ----------
    path
        CSV, TSV or Parquet with a column ``track_id``, and optionally ``artist``, ``title``, ``album``, ``isrc``,
        ``release_date``, ``genres`` (separated by ``|`` or ``;``, or lists). Other columns are ignored.
    encoding
        Encoding of a text file; default: UTF-8, or UTF-16 where a byte-order mark says so.

    Raises
    ------
    StorageError
        When the file cannot be read.
    DataError
        When it is not a table, has no ``track_id``, or an id is empty or occurs twice.
    """
    table = open_table(path, encoding=encoding)
    names = {name.strip().casefold(): name for name in table.column_names}
    if "track_id" not in names:
        raise DataError(
            f"{path} has no column 'track_id'. Known columns: {', '.join(COLUMNS)}. "
            f"Received: {', '.join(table.column_names)}."
        )
    known = [name for name in COLUMNS if name in names]
    rows = table.read([names[name] for name in known]).rename_columns(known).to_pylist()
    if not rows:
        raise DataError(f"{path} lists no items: it has a header but no rows.")
    items = [_from_row(path, **row) for row in rows]
    for item in items:
        if not is_valid_id(item.track_id):
            raise DataError(f"{path}: track_id {item.track_id!r} is empty or has control characters.")
    check_ids([item.track_id for item in items], path)
    return items


def ingest_items(
    items: Sequence[Recording], out: Location, fold_by: str, append: bool = False
) -> IngestResult:
    """Add `items` with distinct ids to the dataset `out`, without shards; existing items are not changed.

    Raises ConfigError when `out` holds a dataset of recordings or of other folds, or is complete and `append` is
    not set; DataError when there are fewer than three items; StorageError when files cannot be read or written.
    """
    wanted = DatasetInfo(fold_by=fold_by)
    with lock(out):
        info, tracks = open_existing(out, wanted, with_audio=False)
        known = set(tracks.strings("track_id"))
        new = [item for item in items if item.track_id not in known]
        if not new:
            return IngestResult(len(tracks), 0, info.left_out, info.fold_assignment)
        check_append(out, tracks, [item.track_id for item in new], append)
        folds, assignment = assign(new, tracks, fold_by)
        rows = [make_row(item, fold) for item, fold in zip(new, folds, strict=True)]
        merged = make_tracks([*tracks.table.to_pylist(), *rows])
        if not len(tracks):
            info = DatasetInfo(fold_by=fold_by, fold_assignment=assignment)
        write_dataset(out, info, merged)
    return IngestResult(len(merged), len(new), info.left_out, info.fold_assignment)


def _from_row(path: Path, track_id: Any, genres: Any = None, **texts: Any) -> Recording:
    """Return an item; values of a typed table may be numbers, lists or missing."""
    own = "" if track_id is None else str(track_id).strip()
    names = genres if isinstance(genres, list) else split_genres(str(genres or ""))
    described = {name: str(value or "").strip() for name, value in texts.items()}
    return Recording(path, own, **described, genres=tuple(g.strip() for g in names if g and g.strip()))  # type: ignore[arg-type]
