"""Makers of small files for Beam workers: one that succeeds, and some that fail. No TensorFlow."""

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cs_keras.errors import StorageError
from pipelines.dataset.ingest import ShardMaker
from pipelines.dataset.shard_plan import ShardPlan


@dataclasses.dataclass(frozen=True)
class Note:
    """A part that becomes a small file."""

    name: str


@dataclasses.dataclass(frozen=True)
class NoteMaker:
    """Writes its process id; `trouble` is the failure of the part ``troubled``, the first time or always."""

    folder: Path
    trouble: str = ""
    always: bool = False

    def names(self) -> list[str]:
        return os.listdir(self.folder / "notes")

    def is_made(self, part: Note) -> bool:
        return (self.folder / "notes" / part.name).stat().st_size > 0

    def open(self) -> Callable[[Note], None]:
        (self.folder / f"opened-by-{os.getpid()}").touch(exist_ok=False)
        return self._make

    def _make(self, part: Note) -> None:
        if part.name == "troubled" and self.trouble and (self.always or _first(self.folder)):
            fail(self.trouble)
        with open(self.folder / "notes" / part.name, "a") as file:
            file.write(f"{os.getpid()}\n")


@dataclasses.dataclass(frozen=True)
class KilledShardMaker(ShardMaker):
    """Its worker is killed at the third shard that any of them makes, once."""

    def open(self) -> Callable[[ShardPlan], None]:
        make = super().open()

        def make_or_die(part: ShardPlan) -> None:
            if len(self.names()) >= 2 and _first(Path(str(self.out)).parent):
                fail("killed")
            make(part)

        return make_or_die


@dataclasses.dataclass(frozen=True)
class UnmountedShardMaker(ShardMaker):
    """Its workers find nothing at the paths of recordings, as where a file system is not mounted."""

    def open(self) -> Callable[[ShardPlan], None]:
        make = super().open()

        def make_elsewhere(part: ShardPlan) -> None:
            recordings = (dataclasses.replace(one, path=Path("/not-mounted")) for one in part.recordings)
            make(dataclasses.replace(part, recordings=tuple(recordings)))

        return make_elsewhere


def fail(trouble: str) -> Any:
    if trouble == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "refused":
        raise StorageError("Cannot write 'x': the disk is full.")
    raise RuntimeError("out of cheese")


def _first(folder: Path) -> bool:
    try:
        (folder / "trouble-came").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
