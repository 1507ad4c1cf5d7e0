"""Documents that would crash a parser, or whoever walks through its values, are refused."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cs_keras.config import load_toml
from cs_keras.errors import ConfigError
from cs_keras.parsing import MAX_DEPTH, parse_json, parse_toml


def test_json_is_read_down_to_the_limit_and_refused_below() -> None:
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 900, 10**6):
        with pytest.raises(ValueError, match="nested more than"):
            parse_json("[" * depth + "]" * depth)
    with pytest.raises(ValueError, match="digits"):
        parse_json("9" * 5000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a" + ".a" * 50_000 + " = 1", "a key of more than"),
        ("[a" + ". a" * 50_000 + "]", "a key of more than"),
        ("x = " + "[" * 5000 + "]" * 5000, "nested too deep"),
        ("x = " + "9" * 5000, "digits"),
        ("# long\n" * 200_000, "characters"),
    ],
)
def test_toml_that_takes_seconds_or_gigabytes_is_refused(text: str, expected: str, tmp_path) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_toml(text)
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(ConfigError, match="is not TOML"):
        load_toml(tmp_path / "settings.toml")


def test_toml_with_many_fractions_is_no_long_key() -> None:
    assert parse_toml("a = [" + "1.5, " * 1000 + "]\nb.c = 1  # see a.b.c\n")["b"] == {"c": 1}


def test_parquet_is_read_without_threads_of_arrow(tmp_path: Path) -> None:
    pq.write_table(pa.table({"track_id": [f"track-{i}" for i in range(1000)]}), tmp_path / "tracks.parquet")
    code = f"""
import os, pathlib
import pyarrow.parquet
from cs_keras.parsing import parse_parquet
content = pathlib.Path({str(tmp_path / "tracks.parquet")!r}).read_bytes()
threads = len(os.listdir("/proc/self/task"))
assert parse_parquet(content).num_rows == 1000
assert len(os.listdir("/proc/self/task")) == threads
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
