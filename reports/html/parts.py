"""Parts of a page, which fold: charts first, then tables."""

from dataclasses import dataclass

from reports.html.bars import Bars
from reports.html.figures import Picture
from reports.tables.all_tables import OVERLAP, RANKING
from reports.tables.cells.table import Table

MEANINGS = "What factors mean"
RESPONSES = "What the network responds to"
MAP = "Map"
SETTINGS = "Settings"
OPEN = (OVERLAP, RANKING)  # others are folded at first


@dataclass(frozen=True)
class Part:
    """A part of a page.

    Attributes
    ----------
    title
        Its heading; unique among the parts of a group of runs.
    folded
        A table that is shown behind its title.
    notes
        Shown behind a word.
    about
        Shown first, as they are.
    map_script
        File with the positions of tracks, for the map.
    """

    title: str
    bars: tuple[Bars, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: Table | None = None
    notes: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    map_script: str = ""

    @property
    def slug(self) -> str:
        """The title as a part of an id."""
        return self.title.lower().replace(" ", "-")

    @property
    def is_open(self) -> bool:
        """Whether it is unfolded at first."""
        return self.title in OPEN

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.bars or self.pictures or self.tables or self.folded or self.about)
