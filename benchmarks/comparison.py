"""One measured line: our rate, the rate of a peer that does the same work in turns with us, and their ratio."""

import dataclasses
import gc
import statistics
import time
from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two rates of the same work, measured in turns.

    Attributes
    ----------
    topic, what
        Where the line belongs, and what was done.
    ours, peer
        Work done in a unit of time by each; more is better.
    unit
        Of both.
    peer_name
        Who the peer is.
    target
        Least ratio of ours to the peer's; None where there is none.
    """

    topic: str
    what: str
    ours: float
    peer: float
    unit: str
    peer_name: str
    target: float | None = None

    @property
    def ratio(self) -> float:
        return self.ours / self.peer

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.ratio >= self.target


@dataclasses.dataclass(frozen=True)
class NotMeasured:
    """A line that this machine cannot give, and why."""

    topic: str
    what: str
    reason: str


Line = Comparison | NotMeasured
Turn = Callable[[], object]


def best_seconds(turns: Sequence[Turn], repeats: int, warm_up: bool = True) -> list[float]:
    """Return each turn's shortest time: for work in memory, where all that disturbs only ever adds.

    Turns alternate, so that a slower minute of the machine meets all of them; a first round warms up.
    """
    return [min(times) for times in _seconds(turns, repeats, warm_up)]


def median_seconds(turns: Sequence[Turn], repeats: int) -> list[float]:
    """Return each turn's median time: for a disk, whose luck goes both ways. Turns alternate."""
    return [statistics.median(times) for times in _seconds(turns, repeats, warm_up=False)]


def _seconds(turns: Sequence[Turn], repeats: int, warm_up: bool) -> list[list[float]]:
    """Time turns; one that returns a float has timed itself, to leave its preparations out."""
    times: list[list[float]] = [[] for _ in turns]
    for number in range(repeats + warm_up):
        for turn, taken in zip(turns, times, strict=True):
            gc.collect()
            start = time.perf_counter()
            own = turn()
            seconds = own if isinstance(own, float) else time.perf_counter() - start
            if number >= warm_up:
                taken.append(seconds)
    return times
