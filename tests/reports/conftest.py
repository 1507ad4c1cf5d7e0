"""Run folders as training and evaluation leave them, from small factors and predictions of known quality."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cs_keras.evaluation.losses import regression_losses
from cs_keras.evaluation.overlap import OverlapAtK, evaluate_overlap
from cs_keras.evaluation.references import mean_predictor, one_ranking_scores, random_predictor
from cs_keras.runs import DONE, write_json
from reports.collect import collect_runs
from reports.layout import Section
from reports.tables import make_sections

N_FACTORS = 6
SETTINGS = {"metric": "cosine", "n_permutations": 199, "n_bootstrap": 50, "max_queries": 20_000}
NO_NUMBERS = {
    field.name: None
    for field in dataclasses.fields(OverlapAtK)
    if field.name not in ("k", "available", "n_queries", "n_candidates")
}

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


def overlap(reference: Any, predicted: Any, playlists: Any, ks: tuple[int, ...]) -> list[dict[str, Any]]:
    if playlists is None and len(reference) == 1:  # nothing to be similar to
        return [{"k": k, "available": False, "n_queries": 1, "n_candidates": 0, **NO_NUMBERS} for k in ks]
    measured = evaluate_overlap(
        reference, predicted, ks=ks, n_permutations=199, n_bootstrap=50, playlist_factors=playlists
    )
    return [dataclasses.asdict(row) for row in measured]


def overlaps(reference: Any, predicted: Any, playlists: Any, ks: tuple[int, ...]) -> dict[str, Any]:
    found = {}
    if np.ndim(predicted) == 2:
        found["similarity"] = overlap(reference, predicted, None, ks)
    if len(playlists):
        found["dot"] = overlap(reference, predicted, playlists, ks)
    return found


def make_evaluation(
    model: str = "cnn",
    *,
    seed: int = 0,
    noise: float = 1.0,
    n_tracks: int = 60,
    n_playlists: int = 20,
    ks: tuple[int, ...] = (5, 10, 100),
) -> dict[str, Any]:
    """Judge the reference with so much noise added: 0 is a perfect model."""
    random = np.random.default_rng(7)
    reference = random.standard_normal((n_tracks, N_FACTORS)).astype(np.float32)
    playlists = random.standard_normal((n_playlists, N_FACTORS)).astype(np.float32)
    predicted = reference + noise * np.random.default_rng(seed).standard_normal(reference.shape)
    references = {"random": overlaps(reference, random_predictor(reference, seed), playlists, ks)}
    if n_playlists:
        scores = one_ranking_scores(reference, playlists)
        references["one-ranking"] = overlaps(reference, scores, playlists, ks)
    losses = dataclasses.asdict(regression_losses(reference, predicted))
    mean = dataclasses.asdict(regression_losses(reference, mean_predictor(reference.mean(axis=0), n_tracks)))
    return {
        "schema_version": 1,
        "model": model,
        "seed": seed,
        "training": {
            "parameters": 8_566_216,
            "n_train_tracks": 300,
            "epochs": 5,
            "best_epoch": 4,
            "seconds": 125.5,
        },
        "n_tracks": {"train": 300, "validation": n_tracks, "test": n_tracks},
        "n_playlists": n_playlists,
        "left_out": {"recordings": [], "n_tracks_without_listening": 0, "n_unknown_tracks": 0},
        "factors": {
            "name": "wmf",
            "n_factors": N_FACTORS,
            "protocol": "strict",
            "scaling": "standardize",
            "config": {
                "factors": N_FACTORS,
                "alpha": 40.0,
                "regularization": 0.01,
                "iterations": 15,
                "seed": 0,
            },
            "quality": {},
        },
        "losses": {"validation": losses, "test": losses},
        "mean_predictor": {"validation": mean, "test": mean},
        "metric": "cosine",
        "overlap": overlaps(reference, predicted, playlists, ks),
        "references": references,
    }


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def make_run(runs: Path) -> MakeRun:
    """Make a finished run folder, with `others` of its settings; further arguments go to `make_evaluation`."""

    def make(
        name: str = "2024-05-01-cnn-0123456789",
        data: str = "d" * 64,
        settings: dict[str, Any] | None = None,
        others: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> Path:
        evaluation = make_evaluation(**arguments)
        evaluation["training"].update(training or {})
        ks = [row["k"] for row in evaluation["overlap"]["similarity"]]
        run = runs / name
        run.mkdir()
        write_json(run / "evaluation.json", evaluation)
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

    return make


@pytest.fixture
def make_failed(make_run: MakeRun) -> MakeRun:
    """Make the folder of a run that failed, judged as those of `make_run` would be."""

    def make(model: str, reason: str, **arguments: Any) -> Path:
        run = make_run(f"2024-05-01-{model}-{'f' * 10}.partial", model=model, **arguments)
        (run / DONE).unlink()
        (run / "evaluation.json").unlink()
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
