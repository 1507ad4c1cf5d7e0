"""Kinds of folders that reports are made of."""

from cs_keras.storage.location import Location, is_file

STUDY_FILE = "study.json"


def is_study(folder: Location) -> bool:
    """Return whether `folder`, local or behind a URL, is that of a study."""
    return is_file(folder / STUDY_FILE)
