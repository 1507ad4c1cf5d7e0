"""JSON, TOML and Parquet from files, so that neither parsing nor the values can end in a crash."""

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

MAX_DEPTH = 64  # of nested values; files of this project have less than 10
MAX_TOML_BYTES = 1 << 20
_MAX_KEYS = 64  # of a dotted key in TOML, for which tomllib takes quadratic time


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON document.

    Raises
    ------
    ValueError
        When it is not JSON, or nested more than `MAX_DEPTH` deep.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from error
    level = [value]
    for _ in range(MAX_DEPTH):
        groups = [
            one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)
        ]
        level = [one for group in groups for one in group]
        if not level:
            return value
    raise ValueError(f"it is nested more than {MAX_DEPTH} deep")


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML document.

    Raises
    ------
    ValueError
        When it is not TOML, longer than `MAX_TOML_BYTES`, nested too deep, or has a number that is too long.
    """
    if len(text) > MAX_TOML_BYTES:
        raise ValueError(f"it has more than {MAX_TOML_BYTES:,} characters")
    pieces = re.split(r"[,=\[\]{}#\n]", re.sub(r"[ \t\r]", "", text))
    if max(piece.count(".") for piece in pieces) > _MAX_KEYS:
        raise ValueError(f"it has a key of more than {_MAX_KEYS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def parse_parquet(content: bytes) -> "pa.Table":
    """Return the table of a Parquet file; raise pyarrow.ArrowException or OSError where it is none.

    It is read in the calling thread alone, as `pyarrow.parquet.read_table` would not do: a thread of Arrow's pools
    that lets go of `content` while Python ends aborts the process, after all work is done
    (https://github.com/apache/arrow/issues/34314).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.BufferReader(content), pre_buffer=False) as file:
        return file.read(use_threads=False)
