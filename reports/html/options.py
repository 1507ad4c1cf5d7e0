"""What a page shows besides runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cs_keras.errors import ConfigError
from cs_keras.storage.location import Location

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
    audio_root
        Folder of recordings that was ingested: players.
    embed_audio
        Whether the page plays short copies, which are written beside it, in place of these recordings.
    """

    dataset: Location | None = None
    inspect: Inspect | None = None
    audio_root: Path | None = None
    embed_audio: bool = False

    def __post_init__(self) -> None:
        if self.embed_audio and self.audio_root is None:
            raise ConfigError("--embed-audio copies recordings: name their folder by --audio-root.")
