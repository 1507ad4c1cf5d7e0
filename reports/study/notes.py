"""Notes of the tables of a study."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from cs_keras.messages import count
from cs_keras.run_files.study import TrialRecord
from reports.study.differences import N_RESAMPLES, Difference
from reports.study.importance import FENCE, MIN_TRIALS, Importance, count_settings
from reports.study.importance import N_RESAMPLES as N_FORESTS
from reports.study.reading import HYPERBAND_EPOCHS
from reports.study.records import Study, score_of

ALIKE = "†"
N_NAMED = 5  # trials listed for one reason of failure


def heading(study: Study) -> str:
    """Return the line above a study's tables: model, data and factors."""
    settings = study.settings
    return (
        f"Study of {settings.model} on {settings.dataset}, data {settings.data_digest[:10]}, "
        f"factors {settings.factors}"
    )


def section_notes(study: Study, importance: Importance | None) -> Iterator[str]:
    """Yield the counts of a study and, if it has no importance, the reason."""
    settings, n_failed, n_settings = study.settings, len(study.failed), count_settings(study)
    unread = f", {len(study.left_out)} unreadable" if study.left_out else ""
    running = f", {study.n_open} not ended" if study.n_open else ""
    executions = count(settings.executions, "execution")
    yield (
        f"Search: {settings.tuner}, seed {settings.seed}. Trials: {len(study.trials) - n_failed} completed, "
        f"{n_failed} failed{unread}{running}; {executions} of each."
    )
    if importance is None and n_settings < MIN_TRIALS:
        yield (
            f"Hyperparameter importance: too few trials; {n_settings} settings completed, expected at least "
            f"{MIN_TRIALS}."
        )
    elif importance is None:
        yield "Hyperparameter importance: not defined, because all scores or all parameters are equal."


def conclude(
    study: Study, differences: Mapping[str, Difference], importance: Importance | None
) -> Iterator[str]:
    """Yield which trial is the best, which ones are alike, and which parameter matters most."""
    n, settings = len(study.ranked), study.settings
    if not n:
        yield f"None of {len(study.trials)} trials completed."
        yield from failure_notes(study.failed)
        return
    best = study.ranked[0]
    yield f"Trial {best.trial} is the best of {n:,} completed trials: {settings.objective} {score_of(best):.4f}."
    alike = [name for name, one in differences.items() if name != best.trial and not one.is_significant]
    if alike:
        yield f"{ALIKE} Not significantly different from it: {len(alike):,} of the others."
    if importance and importance.explained[1] > 0:
        yield f"Most important parameter: {next(iter(importance.by_parameter))}."


def trials_notes(study: Study, differences: Mapping[str, Difference], n_shown: int) -> Iterator[str]:
    """Yield the notes of the table of trials."""
    settings, n_completed = study.settings, len(study.ranked)
    if n_shown < n_completed:
        yield f"The best {n_shown} of {n_completed} completed trials; tables.csv has all."
    better = "higher" if study.sign > 0 else "lower"
    mean = "; mean over executions, ± their sample standard deviation" if settings.executions > 1 else ""
    yield f"Score: {settings.objective}, {better} is better{mean}. Bold: the best."
    if len(differences) > 1:
        yield from _difference_notes(differences, n_completed)
    yield "Epochs and time: of one training, with early stopping; time varies from run to run."


def _difference_notes(differences: Mapping[str, Difference], n_completed: int) -> Iterator[str]:
    _, *others = differences.values()
    counts = {one.n_queries for one in others}
    n_queries = f"{min(counts):,}" if len(counts) == 1 else f"{min(counts):,} to {max(counts):,}"
    yield (
        f"Difference to the best: mean over {n_queries} validation tracks or playlists. In brackets: 95% paired "
        f"bootstrap interval over them ({N_RESAMPLES:,} resamples)."
    )
    if not all(one.is_significant for one in others):
        yield f"{ALIKE} Not significantly different from the best: the interval includes 0."
    yield (
        "Intervals are not corrected for the number of trials, nor for selecting the best of "
        f"{n_completed}, which is optimistic. They do not include the variance of training, which more executions "
        "would show."
    )


def parameter_notes(study: Study) -> Iterator[str]:
    """Yield the notes of the tables of parameters."""
    yield "Parameters that differ between trials. Inactive: without effect given the other parameters."
    if HYPERBAND_EPOCHS in study.varied:
        yield f"{HYPERBAND_EPOCHS.name}: epochs that Hyperband assigned; a low score may mean short training."


def importance_notes(importance: Importance) -> Iterator[str]:
    """Yield the notes of the table of importance, a warning first where it is not meaningful."""
    r2, low, _ = importance.explained
    if r2 <= 0:
        yield "The forest predicts no better than the mean score: these importances are meaningless."
    elif low <= 0:
        yield "The forest may explain nothing: the interval of R² includes 0."
    yield (
        "Explained: R² on held-out trials of a random forest that predicts scores from parameters, relative to the "
        f"variance of all scores; {importance.n_settings} settings."
    )
    yield (
        "Importance: decrease of that R² when the parameter is permuted between held-out trials (permutation "
        "importance); it can exceed what is explained."
    )
    yield (
        f"Mean over {N_FORESTS} random splits of the settings; in brackets: the interval with 95% of them. Scores "
        f"more than {FENCE:g} interquartile ranges worse than the worst quartile are clipped to that."
    )


def failure_notes(failed: Sequence[TrialRecord]) -> Iterator[str]:
    """Yield each reason once, with the trials that failed for it."""
    trials_by_reason: dict[tuple[str, str], list[str]] = defaultdict(list)
    for trial in failed:
        trials_by_reason[trial.cause or "", (trial.reason or "").rstrip(".")].append(trial.trial)
    for (cause, reason), trials in trials_by_reason.items():
        more = f" and {len(trials) - N_NAMED} more" if len(trials) > N_NAMED else ""
        yield f"{cause}: {reason} ({', '.join(trials[:N_NAMED])}{more})."
