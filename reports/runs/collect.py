"""Finished and failed runs below a folder, in groups that can share a table."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from cs_keras.errors import CsKerasError, DataError, StorageError
from cs_keras.models.registry import split_key
from cs_keras.run_files.evaluation import Evaluation
from cs_keras.run_files.labels import LabelEvaluation, read_evaluation
from cs_keras.run_files.names import CONFIG_FILE, FAILURE_FILE, MODEL_FILE
from cs_keras.run_files.queries import Queries, read_queries
from cs_keras.run_files.settings import EvaluationConfig, Failure, RunSettings, read_settings
from cs_keras.run_files.study import is_study
from cs_keras.runs import PARTIAL, is_done, verify_run
from reports.runs.labels import label_variants

Result = TypeVar("Result", Evaluation, LabelEvaluation)


@dataclass(frozen=True)
class Seeds(Generic[Result]):
    """Finished runs of one model that differ only in their seed: at least one, in order of seeds."""

    label: str  # model key, with the settings that distinguish the runs from others of the model in the group
    evaluations: tuple[Result, ...]  # of each seed
    folders: tuple[Path, ...]  # of each seed

    @property
    def model(self) -> str:
        """Model key."""
        return self.evaluations[0].model

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of `evaluations`."""
        return tuple(evaluation.seed for evaluation in self.evaluations)


LabelRun = Seeds[LabelEvaluation]


@dataclass(frozen=True)
class Run(Seeds[Evaluation]):
    """Finished runs of a model of factors; see `Seeds`."""

    queries: tuple[Queries | None, ...]  # results of each query; None for runs of early releases
    settings: Mapping[str, str]  # that the seeds share, as text by dotted path


@dataclass(frozen=True)
class FailedRun:
    """A run that failed or was left out; labelled as `Run` is."""

    label: str
    seeds: tuple[int, ...]
    failure: Failure

    @property
    def model(self) -> str:
        """Key of the model."""
        return self.failure.model


@dataclass(frozen=True)
class Group:
    """Comparable runs, at least one of them finished: same tracks, factors and evaluation settings."""

    data_digest: str
    evaluation_config: EvaluationConfig
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
        """The most complete run: with results of each query and the newest schema; the first of equal ones."""
        return self._first[0]

    @property
    def queries(self) -> Queries | None:
        """Results of each query of `first`."""
        return self._first[1]

    @property
    def _first(self) -> tuple[Evaluation, Queries | None]:
        pairs = [one for run in self.runs for one in zip(run.evaluations, run.queries, strict=True)]
        return max(pairs, key=lambda one: (one[1] is not None, one[0].schema_version))


@dataclass(frozen=True)
class LabelGroup:
    """Comparable runs of labels, at least one: same test tracks and labels, of which `digest` is the digest."""

    digest: str
    runs: tuple[LabelRun, ...]


@dataclass(frozen=True)
class Collected:
    """Groups of runs, folders of unfinished runs, and the reasons for which other runs are left out."""

    groups: tuple[Group, ...]
    unfinished: tuple[Path, ...]
    left_out: tuple[str, ...] = ()
    label_groups: tuple[LabelGroup, ...] = ()


@dataclass(frozen=True)
class _RunFolder:
    """A run folder and its content."""

    folder: Path
    settings: RunSettings
    result: Evaluation | LabelEvaluation | Failure
    queries: Queries | None

    @property
    def key(self) -> tuple[str, EvaluationConfig, str]:
        """Equal for runs that can be compared; of labels, the last is."""
        return self.settings.data_digest, self.settings.evaluation, self.settings.labels or ""

    @property
    def seeds(self) -> tuple[int, ...]:
        seed = self.settings.seed if isinstance(self.result, Failure) else self.result.seed
        return () if seed is None else (seed,)

    @property
    def failure(self) -> str:
        """Name of the folder and reason of a failed run."""
        return f"{self.folder.name}, {self.result.outcome if isinstance(self.result, Failure) else ''}"


def collect_runs(runs: Path, models: Sequence[str] = ()) -> Collected:
    """Read all finished and failed runs in a folder of run folders, or one run folder.

    Runs are in the order of `models`, then by name, whatever order the file system lists them in. StorageError or
    DataError if there is no such folder, no run is finished, or no finished run can be read.
    """
    done, unfinished = find_runs(runs)
    if done:
        return collect_folders(done, unfinished, models)
    failed, _ = _read(folder for folder in unfinished if (folder / FAILURE_FILE).exists())
    failures = f", of which failed: {'; '.join(one.failure for one in failed)}" if failed else ""
    raise DataError(
        f"{runs} contains no finished run: expected run folders with a file DONE. "
        f"Received: {len(unfinished)} unfinished{failures}."
    )


def collect_folders(
    done: Sequence[Path], unfinished: Sequence[Path] = (), models: Sequence[str] = ()
) -> Collected:
    """Read finished run folders, at least one, and the failures of unfinished ones; see `collect_runs`."""
    failed, failed_errors = _read(folder for folder in unfinished if (folder / FAILURE_FILE).exists())
    finished, errors = _read(done)
    if not finished:
        raise errors[0]
    rank = {model: i for i, model in enumerate(models)}
    keys = sorted({one.key for one in finished if not one.settings.labels})
    labels = sorted({one.settings.labels for one in finished if one.settings.labels})
    members = {key: [one for one in (*finished, *failed) if one.key == key] for key in keys}
    return Collected(
        tuple(Group(*key[:2], tuple(_entries(members[key], rank))) for key in keys),
        tuple(unfinished),
        (*map(str, (*errors, *failed_errors)), *(one.failure for one in failed if one.key not in members)),
        tuple(
            LabelGroup(own, tuple(_label_runs([one for one in finished if one.settings.labels == own], rank)))
            for own in labels
        ),
    )


def find_runs(runs: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the finished and the unfinished run folders directly below `runs`, or `runs` itself, by name.

    StorageError if `runs` is not a folder or cannot be listed.
    """
    try:
        if not runs.is_dir():
            raise StorageError(f"There is no folder {runs}.")
        inside = [runs] if is_run(runs) else sorted(runs.iterdir())
        study = next(filter(is_study, inside), None)
        if study:
            raise StorageError(
                f"{runs} contains studies, each of which has its own report; name one, such as {study}."
            )
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"Cannot list {runs}: {error.strerror}.") from error
    folders = tuple(filter(is_run, inside))
    return tuple(filter(is_done, folders)), tuple(folder for folder in folders if not is_done(folder))


def is_run(folder: Path) -> bool:
    """Return whether a folder is one of a run, finished or not."""
    return folder.is_dir() and (
        is_done(folder) or folder.suffix == PARTIAL or (folder / CONFIG_FILE).exists()
    )


def _read(folders: Iterable[Path]) -> tuple[list[_RunFolder], list[CsKerasError]]:
    """Return the run folders that can be read, and the errors of the others."""
    runs: list[_RunFolder] = []
    errors: list[CsKerasError] = []
    for folder in folders:
        try:
            if is_done(folder):
                verify_run(folder, skip=[MODEL_FILE])
            result = read_evaluation(folder) if is_done(folder) else Failure.read(folder)
            queries = read_queries(folder, result) if isinstance(result, Evaluation) else None
            runs.append(_RunFolder(folder, read_settings(folder), result, queries))
        except CsKerasError as error:
            errors.append(error)
    return runs, errors


def _entries(members: Iterable[_RunFolder], rank: Mapping[str, int]) -> Iterator[Run | FailedRun]:
    """Yield the runs of a group in order, those that differ only in their seed as one."""
    for label, seeds, marks in _variants(members, rank):
        yield from _variant_entries(label, seeds, marks)


def _label_runs(members: Iterable[_RunFolder], rank: Mapping[str, int]) -> Iterator[LabelRun]:
    """Yield the runs of a group of labels as `_entries` does; copies of a run count as seeds."""
    for label, seeds, _ in _variants(members, rank):
        results = tuple(one.result for one in seeds if isinstance(one.result, LabelEvaluation))
        yield LabelRun(label, results, tuple(one.folder for one in seeds))


def _variants(
    members: Iterable[_RunFolder], rank: Mapping[str, int]
) -> Iterator[tuple[str, list[_RunFolder], dict[Path, str]]]:
    """Yield the run folders of each model and its settings but the seed, with label and marks, in order."""

    def position(one: _RunFolder) -> tuple[int, str, tuple[int, ...], str]:
        model = one.result.model
        return rank.get(split_key(model)[0], len(rank)), model, one.seeds, one.folder.name

    models: dict[str, dict[tuple[tuple[str, str], ...], list[_RunFolder]]] = {}
    for one in sorted(members, key=position):
        models.setdefault(one.result.model, {}).setdefault(one.settings.others, []).append(one)
    marks = _marks([one for variants in models.values() for seeds in variants.values() for one in seeds])
    for model, variants in models.items():
        first = [marks[seeds[0].folder] for seeds in variants.values()]
        labels = label_variants(model, [dict(settings) for settings in variants], first)
        for label, seeds in zip(labels, variants.values(), strict=True):
            yield label, seeds, marks


def _marks(members: Sequence[_RunFolder]) -> dict[Path, str]:
    """Return for each run folder the hash at the end of its name or, if others share it, the whole name."""
    hashes = {one.folder: one.folder.name.removesuffix(PARTIAL).rpartition("-")[2] for one in members}
    n_alike = Counter(hashes.values())
    return {folder: mark if n_alike[mark] == 1 else folder.name for folder, mark in hashes.items()}


def _variant_entries(
    label: str, seeds: Sequence[_RunFolder], marks: Mapping[Path, str]
) -> Iterator[Run | FailedRun]:
    """Yield one entry for all seeds of a model's settings, and one for each failed run.

    If a seed occurs twice, which happens with copies of a run, each run is an entry of its own.
    """
    finished = [(one, one.result) for one in seeds if isinstance(one.result, Evaluation)]
    settings = dict(seeds[0].settings.others)
    if len({evaluation.seed for _, evaluation in finished}) < len(finished):
        for one, evaluation in finished:
            yield Run(
                f"{label} ({marks[one.folder]})", (evaluation,), (one.folder,), (one.queries,), settings
            )
    elif finished:
        evaluations = tuple(evaluation for _, evaluation in finished)
        queries, folders = zip(*((one.queries, one.folder) for one, _ in finished), strict=True)
        yield Run(label, evaluations, folders, queries, settings)
    for one in seeds:
        if isinstance(one.result, Failure):
            yield FailedRun(label, one.seeds, one.result)
