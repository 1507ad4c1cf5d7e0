"""Tables of text columns from CSV, TSV or Parquet files, with pyarrow."""

import codecs
import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.storage.location import require_regular

PARQUET_MAGIC = b"PAR1"
HEADER_BYTES = 1 << 16
MAX_HEADER_BYTES = 1 << 24
DELIMITERS = (",", "\t", ";", "|")


def open_table(
    path: str | os.PathLike[str], *, encoding: str | None = None, delimiter: str | None = None
) -> "TableFile":
    """Detect the format of a table from the beginning of its file.

    Parameters
    ----------
    path : path-like
        Parquet, or text with a header line, which may be compressed (``.gz``, ``.bz2``).
    encoding : str, optional
        Encoding of a text file; default UTF-8, or UTF-16 where the file begins with its byte order mark.
    delimiter : str, optional
        Delimiter of a text file, one character; default the most frequent of ``, tab ; |`` in the header.

    Returns
    -------
    TableFile

    Raises
    ------
    StorageError
        The file is missing, a folder, or cannot be read.
    DataError
        The file is empty, not Parquet despite its name, or not text in the given encoding.
    ConfigError
        The encoding is unknown or the delimiter is not one character.
    """
    if os.path.isdir(path):
        raise StorageError(f"{path}: this is a folder; expected a CSV, TSV or Parquet file.")
    require_regular(Path(path))
    with _reading(path, encoding):
        with pa.input_stream(path) as stream:
            head = stream.read(HEADER_BYTES)
            while not head.startswith(PARQUET_MAGIC) and b"\n" not in head.lstrip():  # thousands of columns
                more = stream.read(HEADER_BYTES)
                if not more or len(head) > MAX_HEADER_BYTES:
                    break
                head += more
        if not head.strip():
            raise DataError(f"{path}: the file is empty; expected a header line and rows.")
        if head.startswith(PARQUET_MAGIC):
            schema = pyarrow.parquet.read_schema(path)
            texts = {
                name.decode(errors="replace"): text.decode(errors="replace")
                for name, text in (schema.metadata or {}).items()
            }
            return ParquetTable(path, tuple(schema.names), texts)
        if Path(path).suffix.lower() in (".parquet", ".pq"):
            raise DataError(f"{path}: not a Parquet file, though its name says so.")
        return _detect_text(path, head, encoding, delimiter)


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file, with the metadata of its schema."""

    path: str | os.PathLike[str]
    column_names: tuple[str, ...]
    metadata: Mapping[str, str]

    def read(self, names: Sequence[str]) -> pa.Table:
        """Read the named columns in their own types; `DataError` if the file is not whole."""
        with _reading(self.path, None), pyarrow.parquet.ParquetFile(self.path) as file:
            return file.read(columns=list(names), use_threads=False)

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows that `read` returns, in blocks."""
        with _reading(self.path, None), pyarrow.parquet.ParquetFile(self.path) as file:
            yield from file.iter_batches(columns=list(names), use_threads=False)


@dataclass(frozen=True)
class TextTable:
    """A delimited text file with a header line."""

    path: str | os.PathLike[str]
    column_names: tuple[str, ...]
    encoding: str
    delimiter: str

    def read(self, names: Sequence[str]) -> pa.Table:
        """Read the named columns as text, never guessed to be numbers: "007" stays "007".

        Rows count from 1 after the header, blank lines not counted; quoted values may hold line breaks.

        Raises
        ------
        DataError
            A row has too few or too many fields, or the text is not in the table's encoding.
        StorageError
            The file cannot be read.
        """
        return pa.Table.from_batches(self.batches(names), pa.schema([(name, pa.string()) for name in names]))

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows that `read` returns, in blocks; raise the same errors."""
        refused: list[pyarrow.csv.InvalidRow] = []

        def refuse(row: pyarrow.csv.InvalidRow) -> str:
            refused.append(row)  # Arrow swallows an exception raised here
            return "error"

        read = pyarrow.csv.ReadOptions(encoding=self.encoding, use_threads=False)  # one thread knows the row
        parse = pyarrow.csv.ParseOptions(
            delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=refuse
        )
        convert = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), include_columns=list(names)
        )
        with _reading(self.path, self.encoding), pa.input_stream(self.path) as stream:
            try:
                yield from pyarrow.csv.open_csv(stream, read, parse, convert)
            except pa.ArrowInvalid:
                if not refused:
                    raise
                row = refused[0]
                raise DataError(
                    f"{self.path}: row {row.number - 1} has {row.actual_columns} fields; expected "
                    f"{row.expected_columns} as in the header. Received: {row.text[:80]!r}."
                ) from None


TableFile = ParquetTable | TextTable


def _detect_text(
    path: str | os.PathLike[str], head: bytes, encoding: str | None, delimiter: str | None
) -> TextTable:
    if encoding is None:
        is_utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding = "utf-16" if is_utf16 else "utf-8"
    text = codecs.getincrementaldecoder(encoding)().decode(head).removeprefix("\ufeff")
    header = next((line for line in text.splitlines() if line.strip()), "")
    if "\0" in header:
        raise DataError(
            f"{path}: not text in {encoding}: the header holds NUL characters; "
            "expected CSV, TSV or Parquet, or name the encoding, for example --encoding utf-16-le."
        )
    if delimiter is None:
        delimiter = max(DELIMITERS, key=header.count)
    elif len(delimiter) != 1:
        raise ConfigError(f"delimiter must be one character. Received: {delimiter!r}.")
    names = next(csv.reader([header], delimiter=delimiter), [])
    return TextTable(path, tuple(names), encoding, delimiter)


@contextmanager
def _reading(path: str | os.PathLike[str], encoding: str | None) -> Iterator[None]:
    """Turn errors of pyarrow and the codecs into one sentence that names the file."""
    try:
        yield
    except (DataError, ConfigError):
        raise
    except LookupError as error:
        raise ConfigError(f"encoding must be one that Python knows. Received: {encoding!r}.") from error
    except FileNotFoundError as error:
        raise StorageError(f"{path}: there is no such file; expected CSV, TSV or Parquet.") from error
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as a table: {error}.") from error
    except (UnicodeError, pa.ArrowException) as error:
        first_line = str(error).partition("\n")[0].rstrip(".")
        if isinstance(error, UnicodeError) or "UTF8" in first_line:
            raise DataError(
                f"{path}: not text in {encoding or 'utf-8'}; save it as UTF-8 or, where the command takes it, name "
                "its encoding, for example --encoding latin-1."
            ) from error
        if "Empty CSV" in first_line:
            raise DataError(f"{path}: the file holds no rows, only a header.") from error
        raise DataError(f"{path}: cannot be read as a table: {first_line}.") from error
    except OSError as error:
        reason = (error.strerror or str(error)).partition("\n")[0].rstrip(".")
        raise StorageError(f"{path}: cannot be read: {reason}.") from error
