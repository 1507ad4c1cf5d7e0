"""Run folders as training and evaluation leave them, from small factors and predictions of known quality."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import scipy.sparse

from cs_keras.evaluation.losses import measure_regression_losses
from cs_keras.evaluation.reference_predictors import mean_predictor
from cs_keras.run_files.evaluation import (
    MODEL,
    Evaluation,
    FactorsRecord,
    SplitLosses,
    TrackCounts,
    UnusedTracks,
)
from cs_keras.run_files.queries import Queries, write_queries
from cs_keras.run_files.settings import EvaluationConfig
from cs_keras.run_files.training import Training
from cs_keras.runs import DONE, read_json, write_json
from pipelines.evaluation.evaluation_record import (
    make_beyond,
    make_groups,
    make_ladders,
    make_queries,
    make_ranking,
)
from pipelines.evaluation.evaluator import Evaluator
from pipelines.evaluation.reference import Predictor, Reference
from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections
from reports.tables.cells.table import Section

N_FACTORS = 6
SETTINGS = {"metric": "cosine", "n_permutations": 199, "max_queries": 20_000}
HOSTILE = (
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "a_b%$#&{}\\",
    "| x || y |",
    "🎧 *bold* _é_ `code` [link](http://x)",
    "two\nlines\r\tand \x1b[31mred\x1b[0m \u202e",
    "[0pt] -- ''",
    '\\end{table}^~"',
    "[bold]markup[/bold]",
)

MakeRun = Callable[..., Path]


@functools.cache
def make_evaluator(n_tracks: int, n_playlists: int, ks: tuple[int, ...], seed: int) -> Evaluator:
    """Return the evaluator of a small catalogue, of which every third test track is by an artist trained on."""
    random = np.random.default_rng(7)
    reference = random.standard_normal((n_tracks, N_FACTORS)).astype(np.float32)
    playlists = random.standard_normal((n_playlists, N_FACTORS)).astype(np.float32)
    second = [
        (factors + 0.3 * random.standard_normal(factors.shape)).astype(np.float32)
        for factors in (reference, playlists)
    ]
    interactions = scipy.sparse.csr_matrix(random.random((n_playlists, n_tracks)) < 0.1, dtype=np.float32)
    return Evaluator(
        Reference(
            rows={"train": np.arange(300), "validation": np.arange(n_tracks), "test": np.arange(n_tracks)},
            own=Predictor(reference, playlists),
            refit=Predictor(*second),
            interactions=interactions if n_playlists else None,
            artists=np.array([i % 6 if i % 3 == 1 else 6 + i for i in range(n_tracks)]),
            train_artists=np.arange(300) % 6,
            train_factors=random.standard_normal((300, N_FACTORS)).astype(np.float32),
        ),
        EvaluationConfig(ks=ks, **SETTINGS),
        seed,
    )


def make_evaluation(
    model: str = "cnn",
    *,
    seed: int = 0,
    noise: float = 1.0,
    n_tracks: int = 60,
    n_playlists: int = 20,
    ks: tuple[int, ...] = (5, 10, 100),
) -> tuple[dict[str, Any], Queries]:
    """Evaluate the reference with so much noise added, 0 being a perfect model; return both files' content."""
    evaluator = make_evaluator(n_tracks, n_playlists, ks, seed)
    own = evaluator.reference.own
    drawn = np.random.default_rng(seed).standard_normal(own.items.shape)
    predicted = (own.items + noise * drawn).astype(np.float32)
    references = evaluator.reference_predictors
    predictor = Predictor(predicted, own.playlists)
    evaluations = {MODEL: evaluator.evaluate(predictor), **references}
    losses = measure_regression_losses(own.items, predicted)
    mean = measure_regression_losses(own.items, mean_predictor(own.items.mean(axis=0), n_tracks))
    config = {"factors": N_FACTORS, "alpha": 40.0, "regularization": 0.01, "iterations": 15, "seed": 0}
    evaluation = Evaluation(
        model=model,
        seed=seed,
        training=Training(8_566_216, n_train_tracks=300, epochs=5, best_epoch=4, seconds=125.5),
        n_tracks=TrackCounts(train=300, validation=n_tracks, test=n_tracks),
        n_playlists=n_playlists,
        left_out=UnusedTracks((), 0, 0),
        factors=FactorsRecord("wmf", N_FACTORS, "strict", "standardize", config, quality={}),
        losses=SplitLosses(losses, losses),
        mean_predictor=SplitLosses(mean, mean),
        n_known_artists=int(evaluator.reference.artist_trained.sum()),
        n_unknown_artists=0,
        n_test_artists=len(np.unique(evaluator.reference.artists)),
        overlap=evaluations[MODEL].overlap,
        references={name: one.overlap for name, one in references.items() if one.overlap},
        ladder=make_ladders(evaluator, evaluations),
        ranking=make_ranking(evaluator, evaluations),
        beyond_accuracy=make_beyond(evaluator, evaluations),
        groups=make_groups(evaluator, evaluations),
        hubness=evaluator.reduce_hubness(predictor, evaluations[MODEL]),
    )
    return json.loads(msgspec.json.encode(evaluation)), make_queries(evaluator, evaluations)


def make_old(run: Path) -> None:
    """Make a run folder what an earlier release left, which knew losses and overlaps alone."""
    (run / "queries.npz").unlink()
    evaluation = read_json(run / "evaluation.json")
    for name in ("n_known_artists", "n_unknown_artists", "n_test_artists"):
        del evaluation[name]
    for name in ("ladder", "ranking", "beyond_accuracy", "groups", "hubness"):
        del evaluation[name]
    for name in ("artist-mean", "refit-ceiling"):
        del evaluation["references"][name]
    for overlaps in (evaluation["overlap"], *evaluation["references"].values()):
        for kind in overlaps.keys() - {"similarity", "dot"}:
            del overlaps[kind]
    write_json(run / "evaluation.json", {**evaluation, "schema_version": 1})


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


def write_run(
    runs: Path,
    name: str = "2024-05-01-cnn-0123456789",
    data: str = "d" * 64,
    settings: dict[str, Any] | None = None,
    others: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    **arguments: Any,
) -> Path:
    """Make a finished run folder, with `others` of its settings; further arguments go to `make_evaluation`."""
    evaluation, queries = make_evaluation(**arguments)
    evaluation["training"].update(training or {})
    ks = [row["k"] for row in evaluation["overlap"]["similarity"]]
    run = runs / name
    run.mkdir()
    write_json(run / "evaluation.json", evaluation)
    write_queries(run, queries)
    write_json(
        run / "config.json",
        {
            **(others or {}),
            "seed": evaluation["seed"],
            "data_digest": data,
            "evaluation": {"ks": ks, **SETTINGS, **(settings or {})},
        },
    )
    (run / DONE).touch()
    return run


@pytest.fixture
def make_run(runs: Path) -> MakeRun:
    """Call `write_run` in the folder of the test's runs."""
    return functools.partial(write_run, runs)


@pytest.fixture
def make_failed(make_run: MakeRun) -> MakeRun:
    """Make the folder of a failed run, with the evaluation settings of `make_run`."""

    def make(model: str, reason: str, **arguments: Any) -> Path:
        run = make_run(f"2024-05-01-{model}-{'f' * 10}.partial", model=model, **arguments)
        (run / DONE).unlink()
        (run / "evaluation.json").unlink()
        (run / "queries.npz").unlink()
        write_json(run / "failure.json", {"model": model, "reason": reason})
        return run

    return make


@pytest.fixture
def sections(runs: Path, make_run: MakeRun) -> tuple[Section, ...]:
    """One group of three ordinary models, one of them with two seeds."""
    make_run("2024-05-01-cnn-0123456789", noise=0.5)
    make_run("2024-05-01-lstm-0123456789", noise=0.7, seed=1, model="lstm")
    for seed in range(2):
        make_run(f"2024-05-01-wide-{seed:010}", model="cnn-wide-dense", noise=0.2, seed=seed)
    return make_sections(collect_runs(runs))


@pytest.fixture
def hostile(runs: Path, make_run: MakeRun) -> tuple[Section, ...]:
    for i, name in enumerate(HOSTILE):
        make_run(f"2024-05-01-x-{i:010}", model=name, n_tracks=20, n_playlists=4, ks=(2, 50))
    return make_sections(collect_runs(runs))
