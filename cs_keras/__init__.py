"""Predict collaborative-filtering factors of tracks from audio, and evaluate the predictions.

The public API, each name of which is imported when it is first used:

- `open_dataset`: a dataset's tracks and magnitude frames.
- `make_training_batches`: tf.data batches of a dataset's tracks with their factors.
- `build_front_end`: the front end, from frames to decibel mel bands, as a layer for a Keras model of your own.
- `run_baselines`: train and evaluate models, as the command does.
- `load_run`: a finished run, which predicts, recommends, and has a Keras model and an evaluation.
- `load_model`: the Keras model of a run, by its file, as ``keras.models.load_model`` after ``import cs_keras``.
- `register_baseline`: make a network or Keras model of your own a model that `run_baselines` trains.
- `evaluate`: two factor matrices compared: overlap, chance, ceiling, interval and tests.
"""

import importlib
import logging
import os
from typing import Any

from cs_keras.layers.registration import register_with_keras

__version__ = "0.1.0"
__all__ = [  # noqa: F822  (imported lazily)
    "build_front_end",
    "evaluate",
    "load_model",
    "load_run",
    "make_training_batches",
    "open_dataset",
    "register_baseline",
    "run_baselines",
]

_HOMES = {
    "build_front_end": "cs_keras.layers.front_end",
    "evaluate": "cs_keras.evaluation.summary",
    "load_model": "cs_keras.models",
    "load_run": "pipelines.library",
    "make_training_batches": "pipelines.library",
    "open_dataset": "pipelines.library",
    "register_baseline": "cs_keras.models.own",
    "run_baselines": "pipelines.library",
}

# TensorFlow's notes to its programmers, silenced before it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").setLevel(logging.ERROR)
register_with_keras()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)  # the next access finds it
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
