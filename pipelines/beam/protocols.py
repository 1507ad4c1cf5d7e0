"""Interface of a Beam job: named parts, and a maker that builds them in any process."""

from collections.abc import Callable, Collection
from typing import Protocol, TypeVar


class BeamPart(Protocol):
    """A part of a job, named after the file that it becomes."""

    @property
    def name(self) -> str:
        """Name of the file."""


PartT = TypeVar("PartT", bound=BeamPart)
PartT_contra = TypeVar("PartT_contra", bound=BeamPart, contravariant=True)


class PartMaker(Protocol[PartT_contra]):
    """Makes parts in any process that it is pickled to; a part made twice has the same bytes."""

    def names(self) -> Collection[str]:
        """Return the names of existing files."""

    def is_made(self, part: PartT_contra) -> bool:
        """Return whether a part's file is complete and up to date."""

    def open(self) -> Callable[[PartT_contra], None]:
        """Return a function that makes a part; called once in each worker, to load models and the like."""
