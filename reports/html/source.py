"""What pages are made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reports.html.spaces import Spaces
from reports.runs.collect import Collected


@dataclass(frozen=True)
class Source:
    """What a page is made from.

    Attributes
    ----------
    collected : Collected
        As `reports.runs.collect.collect_runs` returns it.
    runs : Path
        Folder that it was collected from.
    spaces : mapping of str to Space
        What a dataset knows of the tracks, by the digest of the data that runs name; may be empty.
    uninspected : mapping of Path to str
        Why it cannot be shown what the network of a run listens for, by the run's folder.
    """

    collected: Collected
    runs: Path
    spaces: Spaces
    uninspected: Mapping[Path, str] = field(default_factory=dict)
