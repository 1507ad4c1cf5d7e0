"""Study folders as a search leaves them, with scores that depend on the parameters in a known way."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cs_keras.runs import write_json, write_npz

N_QUERIES = 80
SPACE: list[dict[str, Any]] = [
    {
        "class_name": "Choice",
        "config": {"name": "front_end.n_mels", "values": [40, 64, 96, 128], "ordered": True},
    },
    {
        "class_name": "Choice",
        "config": {"name": "model.time_pooling", "values": ["flatten", "mean", "mean-max"], "ordered": False},
    },
    {"class_name": "Boolean", "config": {"name": "model.batch_norm", "default": False}},
    {
        "class_name": "Float",
        "config": {"name": "training.learning_rate", "min_value": 1e-5, "max_value": 1e-2, "sampling": "log"},
    },
    {
        "class_name": "Float",
        "config": {"name": "model.dropout", "min_value": 0.0, "max_value": 0.5, "step": 0.1},
    },
    {"class_name": "Int", "config": {"name": "model.layers", "min_value": 1, "max_value": 3}},
]

Parameters = Mapping[str, Any]


def by_learning_rate(parameters: Parameters) -> float:
    """Score by the learning rate alone: best at 1e-3."""
    return 0.3 - 0.05 * abs(math.log10(parameters["training.learning_rate"]) + 3)


def draw(random: np.random.Generator, space: list[dict[str, Any]]) -> dict[str, Any]:
    """Draw a value for each parameter."""
    return {entry["config"]["name"]: _draw_one(random, entry) for entry in space}


def _draw_one(random: np.random.Generator, entry: dict[str, Any]) -> Any:
    config = entry["config"]
    match entry["class_name"]:
        case "Choice":
            return config["values"][random.integers(len(config["values"]))]
        case "Boolean":
            return bool(random.integers(2))
        case "Int":
            return int(random.integers(config["min_value"], config["max_value"] + 1))
    low, high = config["min_value"], config["max_value"]
    if config.get("sampling") == "log":
        return float(10 ** random.uniform(math.log10(low), math.log10(high)))
    return float(random.uniform(low, high))


def write_settings(folder: Path, space: list[dict[str, Any]] = SPACE, **changes: Any) -> None:
    """Write ``study.json``."""
    settings = {
        "schema_version": 1,
        "model": "cnn-bn",
        "dataset": "demo",
        "data_digest": "d" * 64,
        "factors": "wmf",
        "tuner": "random",
        "objective": "val_overlap@10",
        "direction": "max",
        "executions": 1,
        "seed": 0,
        "base": {},
        "space": space,
    }
    write_json(folder / "study.json", {**settings, **changes})


def write_trial(folder: Path, number: int, per_query: list[Any], **changes: Any) -> dict[str, Any]:
    """Write a completed trial whose executions have these objectives of each query; return what it holds."""
    trial = folder / "trials" / f"{number:04}"
    scores = [float(np.nanmean(values)) for values in per_query]
    executions = [
        {
            "seed": seed,
            "metrics": {"val_loss": 1 - score, "val_overlap@10": score},
            "epochs": 5,
            "best_epoch": 4,
            "seconds": 41.25 + number,
        }
        for seed, score in enumerate(scores)
    ]
    content = {
        "schema_version": 1,
        "trial": f"{number:04}",
        "status": "completed",
        "reason": None,
        "cause": None,
        "parameters": {},
        "settings": {},
        "score": float(np.mean(scores)) if scores else None,
        "spread": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        "executions": executions,
        "n_weights": 8_566_600,
        "interruptions": [],
        "worker": "worker-0",
        "started_s": 12.1,
        "ended_s": 55.7,
        "hyperband": None,
        **changes,
    }
    for place, values in enumerate(per_query):
        write_npz(trial / f"execution-{place}" / "validation.npz", per_query=np.asarray(values, dtype=float))
    write_json(trial / "trial.json", content)
    return content


def write_failed(folder: Path, number: int, cause: str, reason: str, parameters: Parameters) -> None:
    """Write a trial that failed."""
    write_trial(
        folder, number, [], status="failed", cause=cause, reason=reason, score=None, parameters=parameters
    )  # fmt: skip


def write_study(
    folder: Path,
    n_trials: int,
    score: Callable[[Parameters], float] = by_learning_rate,
    noise: float = 0.003,
    space: list[dict[str, Any]] = SPACE,
    **settings: Any,
) -> Path:
    """Write a study whose trials score as `score` says, give or take `noise`; every seventh fails."""
    write_settings(folder, space, **settings)
    random = np.random.default_rng(5)
    tracks = random.normal(0, 0.05, N_QUERIES)  # some tracks are easier than others, whatever the trial
    for number in range(n_trials):
        parameters = draw(random, space)
        if number % 7 == 6:
            write_failed(folder, number, "diverged", "the loss is no number after epoch 2", parameters)
            continue
        level = score(parameters) + noise * random.standard_normal()
        per_query = [
            level + tracks + random.normal(0, 0.02, N_QUERIES) for _ in range(settings.get("executions", 1))
        ]
        write_trial(folder, number, per_query, parameters=parameters)
    return folder
