"""What a person sees of a search: a table that changes on a terminal, a line for each ended trial in a log."""

import dataclasses

from tuning.oracles import DurableOracle
from tuning.study import Study
from tuning.winner import find_best


@dataclasses.dataclass(frozen=True)
class Standing:
    """How far a search has come.

    Attributes
    ----------
    running, done, failed
        Trials.
    best
        Score of the best so far, and its trial; None where none has completed.
    seconds, seconds_left
        Of searching so far, and about how many are left; None where that cannot be told.
    """

    running: tuple[str, ...]
    done: int
    failed: int
    best: tuple[float, str] | None
    seconds: float
    seconds_left: float | None

    def describe(self, objective: str) -> str:
        """Return it as one line."""
        best = (
            f"best {objective} {self.best[0]:.4f} (trial {self.best[1]})"
            if self.best
            else "none completed yet"
        )
        running = f", running {', '.join(self.running)}" if self.running else ""
        return f"{self.done} done, {self.failed} failed{running}; {best}; {self.time}"

    @property
    def time(self) -> str:
        """Time so far and left, in words."""
        left = "" if self.seconds_left is None else f", about {_minutes(self.seconds_left)} left"
        return f"{_minutes(self.seconds)} so far{left}"


def standing(study: Study, oracle: DurableOracle) -> Standing:
    """Return how far a search has come."""
    ended = list(oracle.end_order)
    failed = sum(oracle.trials[trial].status == "FAILED" for trial in ended)
    best = find_best(study, ended)
    running = list(oracle.ongoing_trials.values())  # at once: the chief's thread changes it
    return Standing(
        tuple(sorted(trial.trial_id for trial in running)),
        len(ended) - failed,
        failed,
        (best.score, best.trial) if best and best.score is not None else None,
        oracle.seconds,
        _seconds_left(study, len(ended), oracle.seconds),
    )


def _seconds_left(study: Study, n_ended: int, seconds: float) -> float | None:
    """Return the least that a budget leaves, taking coming trials for as long as those before."""
    search, estimates = study.search, []
    n_trials = min((n for n in (search.max_trials, len(study.points)) if n), default=0)
    if n_trials and n_ended and search.tuner != "hyperband":
        estimates.append(seconds / n_ended * max(0, n_trials - n_ended))
    if search.max_time_s:
        estimates.append(max(0.0, search.max_time_s - seconds))
    return min(estimates, default=None)


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
