"""The sentences around the tables of a study."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from reports.study.differences import N_RESAMPLES, Differences
from reports.study.importance import FENCE, MIN_TRIALS, Importance, count_settings
from reports.study.importance import N_RESAMPLES as N_FORESTS
from reports.study.reading import HYPERBAND_EPOCHS
from reports.study.records import Study, Trial

ALIKE = "†"
N_NAMED = 5  # trials that failed for one reason


def heading(study: Study) -> str:
    """Return the line above a study's tables: what was searched, on which data."""
    settings = study.settings
    return (
        f"Study of {settings.model} on {settings.dataset}, data {settings.data_digest[:10]}, "
        f"factors {settings.factors}"
    )


def section_notes(study: Study, importance: Importance | None) -> tuple[str, ...]:
    """Return what holds for a study as a whole, and why it has no table of importance if it has none."""
    settings = study.settings
    ended, failed = len(study.trials), len(study.failed)
    unread = f", {len(study.left_out)} unreadable" if study.left_out else ""
    going = f", {study.n_open} not ended" if study.n_open else ""
    return (
        f"Search: {settings.tuner}, seed {settings.seed}. Trials: {ended - failed} completed, {failed} failed"
        f"{unread}{going}; {_executions(settings.executions)} of each.",
        *([] if importance else [_unweighed(study)]),
    )


def trials_notes(study: Study, differences: Differences, n_shown: int) -> tuple[str, ...]:
    """Return the notes of the table of trials."""
    completed = study.ranked
    told = [_score_note(study)]
    if n_shown < len(completed):
        told.insert(0, f"The best {n_shown} of {len(completed)} completed trials; tables.csv has all.")
    if len(differences.by_trial) > 1:
        told += _difference_notes(differences, len(completed))
    told.append("Epochs and time: of one training; it stops early, and time varies from run to run.")
    return tuple(told)


def parameter_notes(study: Study) -> tuple[str, ...]:
    """Return the note of the tables of parameters."""
    told = ["Parameters that differ between trials. Inactive: others leave it without effect."]
    if HYPERBAND_EPOCHS in study.varied:
        told.append(
            f"{HYPERBAND_EPOCHS.name}: epochs that Hyperband allotted; a low score may mean little training."
        )
    return tuple(told)


def importance_notes(importance: Importance) -> tuple[str, ...]:
    """Return the notes of the table of importance, first whether it means anything."""
    told = [
        "Explained: share of the variance of the score that a random forest predicts of trials that it did not "
        f"see (R²), learnt from {importance.n_settings} settings.",
        "Importance: how much of that is lost when the parameter's values are shuffled between those trials; it "
        "can exceed what is explained.",
        f"Mean over {N_FORESTS} bootstrap resamples of the trials; in brackets: the interval that holds 95% of "
        f"them. Scores more than {FENCE:g} interquartile ranges worse than the worst quarter begins count as that "
        "far.",
    ]
    if importance.explained.mean <= 0:
        told.insert(0, "The forest predicts no better than the mean score: these importances mean nothing.")
    elif importance.explained.low <= 0:
        told.insert(0, "What is explained may be chance: its interval holds 0.")
    return tuple(told)


def failure_notes(failed: Sequence[Trial]) -> tuple[str, ...]:
    """Return each reason once, with the trials that failed for it."""
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for trial in failed:
        alike[trial.cause or "", (trial.reason or "").rstrip(".")].append(trial.trial)
    return tuple(f"{cause}: {reason} ({_named(trials)})." for (cause, reason), trials in alike.items())


def _executions(n: int) -> str:
    return f"{n} execution{'s' if n > 1 else ''}"


def _unweighed(study: Study) -> str:
    n_settings = count_settings(study)
    if n_settings < MIN_TRIALS:
        return (
            f"Importance of parameters: too few trials to tell; {n_settings} settings completed, expected at least "
            f"{MIN_TRIALS}."
        )
    return "Importance of parameters: nothing to tell, as all scores or all parameters are the same."


def _score_note(study: Study) -> str:
    better = "higher" if study.sign > 0 else "lower"
    several = study.settings.executions > 1
    mean = "; mean over executions, ± their sample standard deviation" if several else ""
    return f"Score: {study.settings.objective}, {better} is better{mean}. Bold: the best."


def _difference_notes(differences: Differences, n_completed: int) -> Iterator[str]:
    _, *others = differences.by_trial.values()
    counts = {one.n_queries for one in others}
    n_queries = f"{min(counts):,}" if len(counts) == 1 else f"{min(counts):,} to {max(counts):,}"
    yield (
        f"Difference to the best: mean over {n_queries} validation tracks or playlists. In brackets: 95% paired "
        f"bootstrap interval over them ({N_RESAMPLES:,} resamples)."
    )
    if not all(one.matters for one in others):
        yield f"{ALIKE} The interval holds 0: this validation does not tell the trial from the best."
    yield (
        "Each interval stands alone: none is corrected for the number of trials, nor for the best being picked of "
        f"{n_completed}, which flatters it. Chance in training is not in them: more executions show it."
    )


def _named(trials: Sequence[str]) -> str:
    more = f" and {len(trials) - N_NAMED} more" if len(trials) > N_NAMED else ""
    return f"{', '.join(trials[:N_NAMED])}{more}"
