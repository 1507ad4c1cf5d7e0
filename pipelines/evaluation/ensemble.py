"""Ensembles: evaluate several finished runs as one predictor, in a new run folder."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.optimize

from cs_keras import config
from cs_keras.config import check_choice
from cs_keras.data.reader import ReadConfig
from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.confidence import mix_deviations
from cs_keras.evaluation.losses import measure_cosine_distances
from cs_keras.evaluation.rank_fusion import Score, dot_scores, fuse_ranks, similarity_scores
from cs_keras.evaluation.reference_predictors import centre_playlists
from cs_keras.factors.store import Factors
from cs_keras.messages import count
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.evaluation import Evaluation, Kind
from cs_keras.run_files.names import MODEL_FILE
from cs_keras.run_files.predictions import Predictions, read_predictions, write_predictions
from cs_keras.run_files.settings import RunSettings, read_settings, require_finished
from cs_keras.run_files.training import Training
from cs_keras.runs import digest, finish_run, is_done, locked, open_run, verify_run
from cs_keras.storage.location import Location
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.evaluator import Evaluator
from pipelines.evaluation.reference import Scores, make_reference, open_true_style
from pipelines.factors.open import open_dataset, open_interactions
from pipelines.training.requirements import warn_of_few_validation_tracks
from pipelines.training.run_artifacts import write_signature

WAYS = ("mean", "ranks", "stack", "best")

Matrix = npt.NDArray[np.float32]


def combine_runs(
    runs: Sequence[Path],
    dataset_folder: Location,
    out: Path,
    by: str = "mean",
    progress: Progress | None = None,
    reading: ReadConfig | None = None,
) -> Path:
    """Evaluate several runs as one predictor and return its run folder, unless that is done.

    Parameters
    ----------
    runs
        Finished run folders, at least two, with the same data and evaluation settings.
    dataset_folder
        Dataset that they were trained on.
    out
        Folder for the run folder.
    by
        ``mean`` of scaled predicted factors; ``ranks``: reciprocal rank fusion of the members' lists; ``stack``:
        sum of scaled predicted factors with weights of `fit_weights`; or ``best``: the member with the highest
        mean cosine of predicted and reference factors of validation tracks.
    reading
        Settings for a dataset behind a URL.

    Raises
    ------
    ConfigError
        When `by` is unknown, or the runs are fewer than two, the same, or differ in data or evaluation settings.
    DataError, StorageError
        When runs or dataset cannot be read or do not fit, or no member predicts validation tracks better than
        their mean.
    """
    progress = progress or SilentProgress()
    check_choice("by", by, WAYS)
    members = {run.resolve().name: run for run in runs}
    for run in runs:
        require_finished(run, skip=[MODEL_FILE])
    settings = [read_settings(run) for run in members.values()]
    _require_alike(runs, members, settings)
    name, split_name = Evaluation.read(runs[0]).factors.name, settings[0].split_name
    dataset, factors = open_dataset(dataset_folder, name, split_name, reading)
    data_digest = digest([dataset.digest, factors.digest])
    if data_digest != settings[0].data_digest:
        raise DataError(f"{runs[0]} was trained on other data than {dataset_folder} with factors {name!r}.")
    key, evaluation, seed = f"ensemble-{by}", settings[0].evaluation, min(one.seed or 0 for one in settings)
    named = {} if split_name is None else {"split_name": split_name}
    ensemble = {
        **named,
        "key": key,
        "by": by,
        "members": sorted(members),
        "evaluation": config.to_dict(evaluation),
    }
    folder = open_run(out, key, {**ensemble, "seed": seed}, data_digest)
    if is_done(folder):
        verify_run(folder, skip=[MODEL_FILE])
        progress.log(f"{key}: done before, in {folder}")
        return folder
    reference = make_reference(
        dataset.tracks,
        factors,
        open_interactions(dataset_folder, factors),
        open_true_style(dataset_folder, dataset.tracks.ids),
    )
    with locked(folder):
        write_signature(folder, dataset.info, factors.scaler)
        predictions, ids = [read_predictions(run) for run in members.values()], dataset.tracks.ids
        unseen = ids[~dataset.tracks.in_split("train")]
        chosen = [one.select(unseen) for one in predictions]
        each = np.stack([one.scaled_factors for one in chosen])
        is_known = dataset.tracks.in_split("validation") & factors.has_factors
        held_out = np.isin(unseen, ids[is_known]), factors.item_factors[is_known]
        weights, how = _weigh(by, each, held_out, factors, list(members))
        scaled = np.tensordot(weights, each.astype(np.float64), 1).astype(np.float32)
        few = warn_of_few_validation_tracks(int(is_known.sum())) if by in ("stack", "best") else ()
        for note in few:
            progress.log(f"{key}: {note}")
        by_member = None if by == "ranks" else dict(zip(members, weights.tolist(), strict=True))
        _sum_training((how, *few), members, by_member).write(folder)
        deviations = [one.scaled_std for one in chosen if one.scaled_std is not None]
        # A weighted sum is no mixture, and a member without deviations has unknown ones.
        is_mixture = by != "stack" and len(deviations) == len(chosen)
        scaled_std = mix_deviations(weights, each, deviations) if is_mixture else None
        own = Predictions(unseen, factors.scaler.inverse(scaled), scaled, scaled_std=scaled_std)
        write_predictions(folder, own)
        scores = None
        if by == "ranks":
            test = [one.select(ids[reference.rows["test"]]) for one in predictions]
            scores = _fuse(test, factors, evaluation.metric)
        del predictions, chosen, each, scaled, own  # before the evaluation, which needs memory
        progress.log(f"{key}: evaluating {count(len(reference.rows['test']), 'test track')}")
        evaluate(key, Evaluator(reference, evaluation, seed, progress), dataset, factors, folder, scores)
    done = finish_run(folder)
    progress.log(f"{key}: done, in {done}")
    return done


def _require_alike(runs: Sequence[Path], members: dict[str, Path], settings: Sequence[RunSettings]) -> None:
    if len(members) < 2 or len(members) < len(runs):
        raise ConfigError(
            f"An ensemble needs at least two different runs. Received: {', '.join(map(str, runs))}."
        )
    for run, one in zip(members.values(), settings, strict=True):
        if one.data_digest != settings[0].data_digest:
            raise ConfigError(
                f"Runs of an ensemble must be trained on the same data, and {runs[0]} and {run} are not."
            )
        if one.evaluation != settings[0].evaluation:
            raise ConfigError(
                f"Runs of an ensemble must have the same evaluation settings, and {runs[0]} and {run} do not."
            )


def _fuse(members: Sequence[Predictions], factors: Factors, metric: Any) -> Scores:
    """Return the fused scores of the members' predictions of test tracks, by positions where there are any."""
    items = [factors.scaler.inverse(one.scaled_factors) for one in members]
    by_kind: dict[Kind, Callable[[], Score]] = {
        "similarity": lambda: fuse_ranks(
            [
                similarity_scores(own, metric)
                if one.positions is None
                else similarity_scores(one.positions, "euclidean")
                for own, one in zip(items, members, strict=True)
            ]
        ),
        "dot": lambda: fuse_ranks([dot_scores(factors.playlist_factors, own) for own in items]),
        "dot_centred": lambda: fuse_ranks(
            [dot_scores(centre_playlists(factors.playlist_factors), own) for own in items]
        ),
    }
    score_of = functools.cache(lambda kind: by_kind[kind]())
    return lambda kind, rows: np.asarray(score_of(kind)(rows))


def fit_weights(predicted: Matrix, targets: Matrix) -> npt.NDArray[np.float64]:
    """Return weights of members, none negative, with the least squared error of their weighted sum.

    Stacked regressions (Breiman 1996), with one weight for each member, shape (n_members,), in place of one for
    each member and factor: validation tracks are few. Arguments have shapes (n_members, n_tracks, n_factors) and
    (n_tracks, n_factors).
    """
    columns = predicted.reshape(len(predicted), -1).T.astype(np.float64)
    weights, _ = scipy.optimize.nnls(columns, targets.ravel().astype(np.float64))
    return np.asarray(weights)


def _weigh(
    by: str,
    each: Matrix,
    held_out: tuple[npt.NDArray[np.bool_], Matrix],
    factors: Factors,
    names: Sequence[str],
) -> tuple[npt.NDArray[np.float64], str]:
    """Return weights of the members' scaled predictions `each`, and what the ensemble is, for readers.

    `held_out` are flags of the tracks that are validation tracks, and the factors of these. No test track is used.
    """
    is_known, reference = held_out
    if by == "best":
        cosines = [
            1 - measure_cosine_distances(reference, factors.scaler.inverse(one[is_known])).mean()
            for one in each
        ]
        best = int(np.argmax(cosines))
        listed = ", ".join(f"{name} {cosine:.4f}" for name, cosine in zip(names, cosines, strict=True))
        return np.eye(len(each))[best], (
            f"{names[best]} alone, with the highest mean cosine of {len(reference)} validation tracks: {listed}"
        )
    if by == "stack":
        weights = fit_weights(each[:, is_known], factors.scaler.transform(reference))
        if not weights.any():
            raise DataError(
                f"No member predicts the {len(reference)} validation tracks better than their mean: expected one "
                "that does, to stack."
            )
        listed = ", ".join(f"{weight:.2f} {name}" for weight, name in zip(weights, names, strict=True))
        return weights, (
            f"a weighted sum of scaled predicted factors, with the least squared error of {len(reference)} "
            f"validation tracks among weights that are not negative: {listed}"
        )
    lists = "reciprocal rank fusion of lists; its losses are those of "
    return np.full(len(each), 1 / len(each)), lists * (by == "ranks") + "the mean of scaled predicted factors"


def _sum_training(
    how: Sequence[str], members: Mapping[str, Path], weights: dict[str, float] | None
) -> Training:
    """Return the sum of the members' training: the ensemble itself is not trained.

    `how` are notes, the first of them on how members are combined.
    """
    trained = [Training.read(run) for run in members.values()]
    return Training(
        parameters=sum(one.parameters for one in trained),
        n_train_tracks=max(one.n_train_tracks for one in trained),
        epochs=0,
        best_epoch=0,
        seconds=sum(one.seconds for one in trained),
        notes=(f"it combines {', '.join(sorted(members))}: {how[0]}", *how[1:]),
        weights=weights,
    )
