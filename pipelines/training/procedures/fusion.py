"""Late fusion: concatenated vectors of several branches to factors; tracks may lack inputs of some branches."""

import dataclasses
import itertools
from collections.abc import Sequence

import keras
import numpy as np

from cs_keras.models import fusion, get_baseline
from cs_keras.run_files.names import BRANCH_FILE, BRANCHES_FOLDER
from cs_keras.runs import read_json
from cs_keras.training.execution import dtype_policy
from pipelines.training.procedures.branches import Trainers, train_branch
from pipelines.training.procedures.job import TrainedModel, TrainingJob
from pipelines.training.procedures.track_vectors import TrackVectors, regress
from pipelines.training.requirements import has_input
from pipelines.training.targets import Matrix, Rows


def train_fusion(job: TrainingJob, trainers: Trainers) -> TrainedModel:
    """Train the branches with `trainers`, by procedure, then the head from their vectors to factors."""
    run, data = job.run, job.data
    branches, notes = _train_branches(job, trainers)
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)  # the same seed, whether or not branches were cached
    train, unseen = (join_vectors(list(branches.values()), rows) for rows in (data.train, data.unseen))
    with dtype_policy(run.execution.dtype_policy):
        widths = [vectors.values.shape[1] for vectors in branches.values()]
        head = fusion.build_head(run, data.targets.shape[1], widths)
    fusion.adapt(head, train.values)
    if n := len(data.unseen) - len(unseen.rows):
        notes.append(
            f"{n} validation and test tracks have no input of any branch: the mean is predicted for them"
        )
    trained = regress(job, head, train, unseen, notes=notes)
    summaries = {key: read_json(job.folder / BRANCHES_FOLDER / key / BRANCH_FILE) for key in branches}
    return dataclasses.replace(trained, branches=summaries)


def join_vectors(branches: Sequence[TrackVectors], rows: Rows) -> TrackVectors:
    """Concatenate the vectors of all branches, with flags, for those of `rows` that any branch has.

    See `cs_keras.layers.branches.JoinedBranches` for the layout; missing vectors are 0.
    """
    known = rows[np.any([np.isin(rows, branch.rows) for branch in branches], axis=0)]
    ends = np.cumsum([0, *(branch.values.shape[1] for branch in branches)])
    joined: Matrix = np.zeros((len(known), ends[-1] + len(branches)), np.float32)
    for number, (branch, (start, end)) in enumerate(zip(branches, itertools.pairwise(ends), strict=True)):
        index = np.full(max(rows.max(initial=0), branch.rows.max(initial=0)) + 1, -1)
        index[branch.rows] = np.arange(len(branch.rows))
        has = index[known] >= 0
        joined[has, start:end] = branch.values[index[known[has]]]
        joined[has, ends[-1] + number] = 1
    return TrackVectors(joined, known)


def _train_branches(job: TrainingJob, trainers: Trainers) -> tuple[dict[str, TrackVectors], list[str]]:
    """Train the branches that can be trained; return their vectors by key, and notes on all of them."""
    data, notes = job.data, []
    found: dict[str, TrackVectors] = {}
    for key in job.run.model.branches:
        has = has_input(get_baseline(key), data.dataset.tracks, data.tables)
        n_train = int(np.count_nonzero(has[data.train]))
        if n_train and has[data.validation].any():
            found[key] = train_branch(job, key, has, trainers)
            n_numbers, n_unseen = found[key].values.shape[1], np.count_nonzero(has[data.unseen])
            notes.append(
                f"its branch {key} gives {n_numbers} numbers of {n_train} of {len(data.train)} train tracks and of "
                f"{n_unseen} of {len(data.unseen)} others"
            )
        else:
            splits = "train" if not n_train else "validation"
            notes.append(f"its branch {key} was left out, as no {splits} track has its input")
        job.log(notes[-1])
    return found, notes
