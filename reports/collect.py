"""Finished runs below a folder, in groups that may share a table: same data, judged alike."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cs_keras.errors import CsKerasError, DataError, StorageError
from cs_keras.runs import PARTIAL, is_done
from reports.records import CONFIG_FILE, Evaluation, Judging, Settings, read_evaluation, read_settings


@dataclass(frozen=True)
class Run:
    """One finished run; `label` is its model, with a hash of the settings where other runs share model and seed."""

    label: str
    evaluation: Evaluation


@dataclass(frozen=True)
class Group:
    """Runs that can be compared: at least one, on the same tracks and factors, judged alike."""

    data_digest: str
    judging: Judging
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Collected:
    """All that was found: groups of finished runs, and what is left out.

    That is the folders of unfinished runs, and for each finished one that cannot be read the reason.
    """

    groups: tuple[Group, ...]
    unfinished: tuple[Path, ...]
    unreadable: tuple[str, ...] = ()


def collect_runs(runs: Path, models: Sequence[str] = ()) -> Collected:
    """Read all finished runs in a folder.

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
    finished, unfinished = find_runs(runs)
    if not finished:
        raise DataError(
            f"{runs} holds no finished run: expected run folders with a file DONE. "
            f"Received: {len(unfinished)} unfinished."
        )
    members: dict[tuple[str, Judging], list[tuple[Path, Evaluation]]] = {}
    unreadable: list[CsKerasError] = []
    for folder in finished:
        try:
            settings: Settings = read_settings(folder)
            evaluation = read_evaluation(folder)
        except CsKerasError as error:
            unreadable.append(error)
            continue
        members.setdefault((settings.data_digest, settings.evaluation), []).append((folder, evaluation))
    if not members:
        raise unreadable[0]
    rank = {model: i for i, model in enumerate(models)}
    groups = (Group(*key, _label(found, rank)) for key, found in sorted(members.items(), key=lambda m: m[0]))
    return Collected(tuple(groups), unfinished, tuple(map(str, unreadable)))


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
        folders = [runs] if _is_run(runs) else sorted(filter(_is_run, runs.iterdir()))
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"Cannot list {runs}: {error.strerror}.") from error
    return tuple(filter(is_done, folders)), tuple(folder for folder in folders if not is_done(folder))


def _is_run(folder: Path) -> bool:
    return folder.is_dir() and (
        is_done(folder) or folder.suffix == PARTIAL or (folder / CONFIG_FILE).exists()
    )


def _label(found: Sequence[tuple[Path, Evaluation]], rank: dict[str, int]) -> tuple[Run, ...]:
    """Return the runs of a group in order, each with a label that tells it from the others of its seed."""
    ordered = sorted(
        found,
        key=lambda run: (rank.get(run[1].model, len(rank)), run[1].model, run[1].seed, run[0].name),
    )
    hashes = {folder: folder.name.rpartition("-")[2] for folder, _ in ordered}
    same_name = Counter((evaluation.model, evaluation.seed) for _, evaluation in ordered)
    same_hash = Counter(hashes.values())
    runs = []
    for folder, evaluation in ordered:
        mark = hashes[folder] if same_hash[hashes[folder]] == 1 else folder.name
        alone = same_name[evaluation.model, evaluation.seed] == 1
        runs.append(Run(evaluation.model if alone else f"{evaluation.model} ({mark})", evaluation))
    return tuple(runs)
