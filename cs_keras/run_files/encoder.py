"""``encoder.json``: the audio encoder that computed a model's table of attributes, or those of several by name."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cs_keras.run_files.names import ENCODER_FILE
from cs_keras.run_files.records import StoredRecord, to_record
from cs_keras.runs import read_json
from cs_keras.storage.location import Location


@dataclass(frozen=True)
class EncoderRecord(StoredRecord):
    """What runs an encoder again on another recording, as `cs-keras embed` writes it into its table.

    Attributes
    ----------
    encoder
        Name, or file, of the encoder.
    digest
        SHA-256 of its weights.
    pooling
        Statistics over frames, whose values make the vector of a track.
    weights
        File or folder of the weights at the time; None where the name alone finds them.
    """

    FILE = ENCODER_FILE

    encoder: str
    digest: str
    pooling: tuple[str, ...]
    weights: str | None = None


def read_encoders(folder: Location, tables: Sequence[str]) -> dict[str, EncoderRecord]:
    """Read the encoder of each table that a model joins, or of its one table; errors as for `read_record`."""
    path = folder / ENCODER_FILE
    if len(tables) == 1:
        return {tables[0]: EncoderRecord.read(folder)}
    return to_record(dict[str, EncoderRecord], read_json(path), path)


def parse_encoder(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a table holds about its encoder; None where it is not one."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
