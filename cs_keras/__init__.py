"""Predict collaborative-filtering factors of tracks from audio, and evaluate the predictions.

The public API, each name of which is imported when it is first used:

- `open_dataset`: a dataset's tracks and magnitude frames.
- `run_baselines`: train and evaluate models, as the command does.
- `load_run`: a finished run, which predicts, recommends, and has a Keras model and an evaluation.
- `load_model`: the Keras model of a run, by its file.
- `register_baseline`: make a network of your own a model that `run_baselines` trains.
- `evaluate`: two factor matrices compared: overlap, chance, ceiling, interval and tests.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = [  # noqa: F822  (imported lazily)
    "evaluate",
    "load_model",
    "load_run",
    "open_dataset",
    "register_baseline",
    "run_baselines",
]

_HOMES = {
    "evaluate": "cs_keras.evaluation.summary",
    "load_model": "cs_keras.models",
    "load_run": "pipelines.library",
    "open_dataset": "pipelines.library",
    "register_baseline": "cs_keras.models.own",
    "run_baselines": "pipelines.library",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cs_keras.cli.console import quiet_tensorflow

    quiet_tensorflow()
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)  # the next access finds it
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
