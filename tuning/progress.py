"""The progress of a search, as a line for a terminal or a log."""

import dataclasses

from tuning.oracles import DurableOracle
from tuning.results import find_best
from tuning.study import Study


@dataclasses.dataclass(frozen=True)
class SearchProgress:
    """The progress of a search.

    Attributes
    ----------
    running
        Trials that are being trained.
    done, failed
        Numbers of trials that completed and failed.
    best
        Objective, score and trial, as text; empty while none has completed.
    seconds, seconds_left
        Time of searching so far, and an estimate of the time left; None where that is unknown.
    """

    running: tuple[str, ...]
    done: int
    failed: int
    best: str
    seconds: float
    seconds_left: float | None

    def describe(self) -> str:
        """Return one line."""
        best = f"best {self.best}" if self.best else "none completed yet"
        running = f", running {', '.join(self.running)}" if self.running else ""
        left = "" if self.seconds_left is None else f", about {_minutes(self.seconds_left)} left"
        time = f"{_minutes(self.seconds)} so far{left}"
        return f"{self.done} done, {self.failed} failed{running}; {best}; {time}"


def measure_progress(study: Study, oracle: DurableOracle) -> SearchProgress:
    """Return the progress of a search."""
    ended = list(oracle.end_order)
    failed = sum(oracle.trials[trial].status == "FAILED" for trial in ended)
    best = find_best(study, ended)
    running = list(oracle.ongoing_trials.values())  # a copy: the chief's thread changes it
    return SearchProgress(
        running=tuple(sorted(trial.trial_id for trial in running)),
        done=len(ended) - failed,
        failed=failed,
        best=f"{study.search.objective} {best.score:.4f} (trial {best.trial})" if best else "",
        seconds=oracle.seconds,
        seconds_left=_seconds_left(study, len(ended), oracle.seconds),
    )


def _seconds_left(study: Study, n_ended: int, seconds: float) -> float | None:
    """Return the least time that a budget leaves, if trials to come take as long as those before."""
    search, estimates = study.search, []
    n_trials = min((n for n in (search.max_trials, len(study.record.points)) if n), default=0)
    if n_trials and n_ended and search.tuner != "hyperband":
        estimates.append(seconds / n_ended * max(0, n_trials - n_ended))
    if search.max_time_s:
        estimates.append(max(0.0, search.max_time_s - seconds))
    return min(estimates, default=None)


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
