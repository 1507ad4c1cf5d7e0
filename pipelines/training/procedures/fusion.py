"""What several other models make of a track, side by side, to factors; it may lack what some of them take in."""

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from cs_keras.models import fusion, get_baseline
from cs_keras.run_files.names import ATTRIBUTES_FILE, BRANCH_FILE, BRANCHES_FOLDER, MODEL_FILE
from cs_keras.training.execution import dtype_policy
from pipelines.training.procedures.branches import Branch, Procedures, train_branch
from pipelines.training.procedures.job import Job, Trained
from pipelines.training.procedures.track_vectors import TrackVectors, regress
from pipelines.training.requirements import has_input
from pipelines.training.targets import Matrix, Rows


def train_fusion(job: Job, procedures: Procedures) -> Trained:
    """Train the branches, then the head that leads from their vectors to factors.

    Parameters
    ----------
    job
        What is learnt; its run's model is a `fusion.Config`.
    procedures
        How branches are trained, by name.
    """
    run, task = job.run, job.task
    branches, notes = _train_branches(job, procedures)
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)  # as if the branches had been there before
    train, unseen = (
        join_vectors([branch.vectors for branch in branches], rows) for rows in (task.train, task.unseen)
    )
    with dtype_policy(run.execution.dtype_policy):
        widths = [branch.vectors.values.shape[1] for branch in branches]
        head = fusion.build_head(run, task.targets.shape[1], widths)
    fusion.adapt(head, train.values)
    regressed = regress(job, head, train, unseen)
    for branch in branches:
        _copy_branch(branch, job.folder)
    return Trained(
        regressed.head,
        regressed.fitted,
        regressed.predicted,
        (*notes, *_missing(job, unseen), *regressed.notes),
        n_train_tracks=len(train.rows),
        branches={branch.key: dict(branch.summary) for branch in branches},
    )


def join_vectors(branches: Sequence[TrackVectors], rows: Rows) -> TrackVectors:
    """Return the vectors of all branches side by side, with flags, of those of `rows` that any branch knows.

    See `cs_keras.layers.branches.JoinedBranches` for their form; what is not there is 0.
    """
    known = rows[np.any([np.isin(rows, branch.rows) for branch in branches], axis=0)]
    ends = np.cumsum([0, *(branch.values.shape[1] for branch in branches)])
    joined: Matrix = np.zeros((len(known), ends[-1] + len(branches)), np.float32)
    for number, (branch, (start, end)) in enumerate(zip(branches, itertools.pairwise(ends), strict=True)):
        place = np.full(max(rows.max(initial=0), branch.rows.max(initial=0)) + 1, -1)
        place[branch.rows] = np.arange(len(branch.rows))
        has = place[known] >= 0
        joined[has, start:end] = branch.values[place[known[has]]]
        joined[has, ends[-1] + number] = 1
    return TrackVectors(joined, known)


def _train_branches(job: Job, procedures: Procedures) -> tuple[list[Branch], list[str]]:
    """Return the branches that can be trained, and what a reader of results must know of all."""
    task, found, notes = job.task, [], []
    for key in job.run.branches:
        has = has_input(get_baseline(key), task.dataset.tracks, task.attributes)
        n_train = int(np.count_nonzero(has[task.train]))
        if n_train and has[task.validation].any():
            found.append(train_branch(job, key, has, procedures))
            n_numbers, n_unseen = found[-1].vectors.values.shape[1], np.count_nonzero(has[task.unseen])
            notes.append(
                f"its branch {key} gives {n_numbers} numbers of {n_train} of {len(task.train)} train tracks and of "
                f"{n_unseen} of {len(task.unseen)} others"
            )
        else:
            splits = "train" if not n_train else "validation"
            notes.append(f"its branch {key} was left out, since no {splits} track has what it takes in")
        job.progress.log(f"{job.run.key}: {notes[-1]}")
    return found, notes


def _missing(job: Job, unseen: TrackVectors) -> list[str]:
    n = len(job.task.unseen) - len(unseen.rows)
    return [
        f"{n} validation and test tracks have nothing that a branch takes in: the mean is predicted for them"
    ][: bool(n)]


def _copy_branch(branch: Branch, folder: Path) -> None:
    """Copy what predicts new tracks into the run folder, whole file by whole file."""
    own = folder / BRANCHES_FOLDER / branch.key
    own.mkdir(parents=True, exist_ok=True)
    for name in (MODEL_FILE, ATTRIBUTES_FILE, BRANCH_FILE):
        if (branch.folder / name).exists():
            shutil.copyfile(branch.folder / name, own / f"partial-{name}")
            (own / f"partial-{name}").replace(own / name)
