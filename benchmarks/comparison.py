"""Measured rates: ours, that of a peer doing the same work in alternation, and their ratio."""

import dataclasses
import gc
import statistics
import time
from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two rates of the same work, measured in alternation.

    Attributes
    ----------
    topic, what
        The benchmark module, and a description of the work.
    ours, peer
        Work per unit of time; higher is better.
    unit
        Unit of both rates.
    peer_name
        Name of the peer.
    target
        Minimum ratio of our rate to the peer's; None if there is none.
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
    """A comparison that cannot be measured on this machine, and the reason."""

    topic: str
    what: str
    reason: str


Line = Comparison | NotMeasured
Turn = Callable[[], object]


def best_seconds(turns: Sequence[Turn], repeats: int, warm_up: bool = True) -> list[float]:
    """Return the minimum time of each turn, in seconds: for work in memory, where disturbances only add time.

    Turns alternate, so that a busy minute of the machine affects all of them; the first round is a warm-up.
    """
    return [min(times) for times in _seconds(turns, repeats, warm_up)]


def median_seconds(turns: Sequence[Turn], repeats: int) -> list[float]:
    """Return the median time of each turn, in seconds: for disks, whose times vary both ways. Turns alternate."""
    return [statistics.median(times) for times in _seconds(turns, repeats, warm_up=False)]


def _seconds(turns: Sequence[Turn], repeats: int, warm_up: bool) -> list[list[float]]:
    """Measure turns; a turn that returns a float has measured itself, to exclude its preparation."""
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
