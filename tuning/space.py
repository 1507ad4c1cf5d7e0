"""From a point in a model's search space to settings that can be trained."""

from typing import Any

from cs_keras import config
from cs_keras.models import get_baseline, model_module
from cs_keras.models.spec import Baseline


def settings_at(key: str, hyperparameters: Any) -> Baseline:
    """Return the settings of model `key` at a point of its file's search space.

    Parameters
    ----------
    key
        Model key.
    hyperparameters
        ``keras_tuner.HyperParameters``. Parameters it does not hold yet are registered with their defaults, so a
        new one gives the point that the search starts from.

    Returns
    -------
    Baseline
        Checked; sound parameters, input length and architecture together.

    Raises
    ------
    ConfigError
        When there is no such model, or the point lies where its settings forbid it.
    """
    baseline = get_baseline(key)
    return config.replace(baseline, model_module(key).search_space(hyperparameters))
