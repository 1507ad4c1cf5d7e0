"""Hidden layers of a finished run as features for other tasks."""

import dataclasses

import numpy as np

from cs_keras.factors.scaling import Scaler
from cs_keras.storage.location import Location
from cs_keras.training.hidden_layers import (
    HiddenLayer,
    choose_default_layer,
    list_hidden_layers,
    resolve_layer_name,
)
from pipelines.inference.trained_run import TrainedRun, read_run, require_audio


def list_layers(folder: Location) -> tuple[list[HiddenLayer], str]:
    """Return the hidden layers of a finished run's model, and the name of the default one for features.

    Raises
    ------
    ConfigError
        When the model takes no audio.
    StorageError
        When it cannot be loaded.
    """
    return _layers(read_run(folder))


def _layers(run: TrainedRun) -> tuple[list[HiddenLayer], str]:
    require_audio(run, "A table of features")
    layers = list_hidden_layers(run.load_model())
    return layers, choose_default_layer(layers)


def at_layer(run: TrainedRun, name: str | None = None) -> TrainedRun:
    """Return a run whose output is that of a hidden layer, averaged over the sequences of a track.

    Parameters
    ----------
    run
        A finished run.
    name
        Name of the layer; None for the last hidden one. See `cs_keras.training.hidden_layers.resolve_layer_name`.

    Raises
    ------
    ConfigError
        When there is no such layer, or the model takes no audio.
    StorageError
        When it cannot be loaded.
    """
    layers, default = _layers(run)
    layer = resolve_layer_name(layers, name) if name else default
    n_features = next(one.n_features for one in layers if one.name == layer)
    unscaled = Scaler("none", np.zeros(n_features, np.float32), np.ones(n_features, np.float32))
    return dataclasses.replace(
        run,
        signature=dataclasses.replace(run.signature, scaler=unscaled),
        layer=layer,
        predicts_std=False,
    )
