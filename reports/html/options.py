"""What a page shows besides runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cs_keras.storage.location import Location
from reports.html.recordings import Copy

Inspect = Callable[[Path, Location], str | None]


@dataclass(frozen=True)
class PageOptions:
    """Data and recordings of a page; all optional.

    Attributes
    ----------
    dataset
        That the runs were trained on: names and true factors of tracks.
    inspect
        Writes ``inspection.npz`` into the folder of a run that was trained on a dataset, and returns None, or why
        there is nothing to inspect. It is called for the best run of each group that can be inspected.
    recordings
        Files that were ingested, by track id: players.
    copy
        Makes short copies, MP3, which the page plays in place of these files.
    """

    dataset: Location | None = None
    inspect: Inspect | None = None
    recordings: Mapping[str, Path] | None = None
    copy: Copy | None = None
