"""Finished and failed runs below a folder, in groups that may share a table: same data, judged alike."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cs_keras.errors import CsKerasError, DataError, StorageError
from cs_keras.run_files.evaluation import Evaluation, read_evaluation
from cs_keras.run_files.names import CONFIG_FILE, FAILURE_FILE
from cs_keras.run_files.queries import Queries, read_queries
from cs_keras.run_files.settings import EvaluationConfig, Failure, RunSettings, read_failure, read_settings
from cs_keras.run_files.study import is_study
from cs_keras.runs import PARTIAL, is_done
from reports.runs.labels import label_variants

Key = tuple[str, EvaluationConfig]  # runs that have it in common can be compared


@dataclass(frozen=True)
class Run:
    """Finished runs of one model that differ in nothing but their seed: at least one, in order of seeds.

    `label` is the model, with the settings that tell it from others where there are several. `queries` are what was
    found query by query, for each of `evaluations`; None for runs of earlier releases. `settings` are what
    seeds have in common, as text by dotted path.
    """

    label: str
    evaluations: tuple[Evaluation, ...]
    queries: tuple[Queries | None, ...]
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Model key."""
        return self.evaluations[0].model

    @property
    def seeds(self) -> tuple[int, ...]:
        """A seed for each of `evaluations`."""
        return tuple(evaluation.seed for evaluation in self.evaluations)


@dataclass(frozen=True)
class FailedRun:
    """A run that failed; labelled as `Run` is."""

    label: str
    model: str
    seeds: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Group:
    """Runs that can be compared: at least one finished, on the same tracks and factors, judged alike."""

    data_digest: str
    judging: EvaluationConfig
    entries: tuple[Run | FailedRun, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """The finished runs, in order."""
        return tuple(entry for entry in self.entries if isinstance(entry, Run))

    @property
    def failed(self) -> tuple[FailedRun, ...]:
        """The failed runs, in order."""
        return tuple(entry for entry in self.entries if isinstance(entry, FailedRun))

    @property
    def first(self) -> Evaluation:
        """A run that stands for all in what they have in common: where there is any, one kept query by query."""
        return self._standing[0]

    @property
    def kept(self) -> Queries | None:
        """What `first` found query by query."""
        return self._standing[1]

    @property
    def _standing(self) -> tuple[Evaluation, Queries | None]:
        found = [one for run in self.runs for one in zip(run.evaluations, run.queries, strict=True)]
        return next((one for one in found if one[1]), found[0])


@dataclass(frozen=True)
class Collected:
    """All that was found: groups of runs, folders of unfinished ones, and why each of the others is left out."""

    groups: tuple[Group, ...]
    unfinished: tuple[Path, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    """A run folder and what it holds."""

    folder: Path
    settings: RunSettings
    result: Evaluation | Failure
    queries: Queries | None

    @property
    def key(self) -> Key:
        return self.settings.data_digest, self.settings.evaluation

    @property
    def seeds(self) -> tuple[int, ...]:
        seed = self.result.seed if isinstance(self.result, Evaluation) else self.settings.seed
        return () if seed is None else (seed,)

    @property
    def reason(self) -> str:
        return self.result.reason if isinstance(self.result, Failure) else ""


@dataclass
class _Read:
    """The run folders that could be read, and the errors of those that could not."""

    runs: list[_Found] = field(default_factory=list)
    errors: list[CsKerasError] = field(default_factory=list)


def collect_runs(runs: Path, models: Sequence[str] = ()) -> Collected:
    """Read all finished and failed runs in a folder.

    Parameters
    ----------
    runs
        Folder of run folders, or one run folder.
    models
        Model keys in the order in which to list them; others follow by name.

    Returns
    -------
    Collected
        The same for the same files, whatever order the file system lists them in.

    Raises
    ------
    StorageError, DataError
        When there is no such folder, no run is finished, or none of those that are can be read.
    """
    done, unfinished = find_runs(runs)
    failures = _read(folder for folder in unfinished if (folder / FAILURE_FILE).exists())
    if not done:
        raise DataError(
            f"{runs} holds no finished run: expected run folders with a file DONE. "
            f"Received: {len(unfinished)} unfinished{_why(failures.runs)}."
        )
    finished = _read(done)
    if not finished.runs:
        raise finished.errors[0]
    rank = {model: i for i, model in enumerate(models)}
    members: dict[Key, list[_Found]] = {found.key: [] for found in finished.runs}
    apart = [found for found in failures.runs if found.key not in members]
    for found in (*finished.runs, *failures.runs):
        if found.key in members:
            members[found.key].append(found)
    return Collected(
        tuple(Group(*key, tuple(_entries(members[key], rank))) for key in sorted(members)),
        unfinished,
        (*map(str, (*finished.errors, *failures.errors)), *map(_describe, apart)),
    )


def find_runs(runs: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the finished and the unfinished run folders directly below `runs`, or `runs` itself, by name.

    Raises
    ------
    StorageError
        When `runs` is no folder or cannot be listed.
    """
    try:
        if not runs.is_dir():
            raise StorageError(f"There is no folder {runs}.")
        inside = [runs] if _is_run(runs) else sorted(runs.iterdir())
        study = next(filter(is_study, inside), None)
        if study:
            raise StorageError(
                f"{runs} holds studies, each with a report of its own; name one, such as {study}."
            )
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"Cannot list {runs}: {error.strerror}.") from error
    folders = tuple(filter(_is_run, inside))
    return tuple(filter(is_done, folders)), tuple(folder for folder in folders if not is_done(folder))


def _is_run(folder: Path) -> bool:
    return folder.is_dir() and (
        is_done(folder) or folder.suffix == PARTIAL or (folder / CONFIG_FILE).exists()
    )


def _read(folders: Iterable[Path]) -> _Read:
    read = _Read()
    for folder in folders:
        try:
            result = read_evaluation(folder) if is_done(folder) else read_failure(folder)
            queries = read_queries(folder, result) if isinstance(result, Evaluation) else None
            read.runs.append(_Found(folder, read_settings(folder), result, queries))
        except CsKerasError as error:
            read.errors.append(error)
    return read


def _why(failures: Sequence[_Found]) -> str:
    return f", of which failed: {'; '.join(map(_describe, failures))}" if failures else ""


def _describe(found: _Found) -> str:
    return f"{found.folder.name}, failed: {found.reason.rstrip('.')}"


def _entries(found: Iterable[_Found], rank: Mapping[str, int]) -> Iterable[Run | FailedRun]:
    """Yield the runs of a group in order, those that differ in their seed alone as one."""
    models: dict[str, dict[tuple[tuple[str, str], ...], list[_Found]]] = {}
    for one in sorted(found, key=lambda one: _order(one, rank)):
        models.setdefault(one.result.model, {}).setdefault(one.settings.others, []).append(one)
    marks = _marks([one for variants in models.values() for members in variants.values() for one in members])
    for model, variants in models.items():
        first = [marks[members[0].folder] for members in variants.values()]
        labels = label_variants(model, [dict(settings) for settings in variants], first)
        for label, members in zip(labels, variants.values(), strict=True):
            yield from _variant_entries(label, members, marks)


def _order(found: _Found, rank: Mapping[str, int]) -> tuple[int, str, tuple[int, ...], str]:
    model = found.result.model
    return rank.get(model, len(rank)), model, found.seeds, found.folder.name


def _marks(found: Sequence[_Found]) -> dict[Path, str]:
    """Return for each run folder the hash that ends its name or, if others share it, the whole name."""
    hashes = {one.folder: one.folder.name.removesuffix(PARTIAL).rpartition("-")[2] for one in found}
    n_alike = Counter(hashes.values())
    return {folder: mark if n_alike[mark] == 1 else folder.name for folder, mark in hashes.items()}


def _variant_entries(
    label: str, members: Sequence[_Found], marks: Mapping[Path, str]
) -> Iterable[Run | FailedRun]:
    """Yield one entry for all seeds of a model's settings, and one for each failed run of them.

    Copies of one run are no further seeds: where there are any, each run stands alone.
    """
    finished = [(one, one.result) for one in members if isinstance(one.result, Evaluation)]
    if len({evaluation.seed for _, evaluation in finished}) == len(finished):
        if finished:
            yield Run(
                label,
                tuple(evaluation for _, evaluation in finished),
                tuple(one.queries for one, _ in finished),
                dict(members[0].settings.others),
            )
    else:
        for one, evaluation in finished:
            settings = dict(one.settings.others)
            yield Run(f"{label} ({marks[one.folder]})", (evaluation,), (one.queries,), settings)
    for one in members:
        if isinstance(one.result, Failure):
            yield FailedRun(label, one.result.model, one.seeds, one.reason)
