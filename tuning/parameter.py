"""Hyperparameters of Keras Tuner from the lists and ranges that users give."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from keras_tuner.engine import hyperparameters as kinds

from cs_keras.errors import ConfigError

RANGE = ("min", "max", "log", "step")


def make_parameter(name: str, spec: Any, default: Any, conditions: list[Any]) -> Any:
    """Return a hyperparameter with the values that a user gives.

    Parameters
    ----------
    name
        Path of a setting.
    spec
        List of values to choose from, or a mapping of ``min`` and ``max`` with ``log`` or ``step``.
    default
        Value that the search starts from, if `spec` has it.
    conditions
        Conditions of Keras Tuner for it to be active.

    Raises
    ------
    ConfigError
        When `spec` is no list of at least two values of one type, and no range.
    """
    try:
        if isinstance(spec, Mapping):
            return _range(name, dict(spec), default, conditions)
        values = _alike([encoded(value) for value in spec])
        if len(values) < 2:
            raise ValueError("expected at least two values, or fix it")
        if all(isinstance(value, bool) for value in values):
            return kinds.Boolean(name, bool(default), conditions=conditions)
        start = default if default in values else values[0]
        return kinds.Choice(name, values, default=start, conditions=conditions)
    except (TypeError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise ConfigError(
            f"{name} cannot be searched with these values: {reason}. Received: {spec!r}."
        ) from error


def trial_values(parameter: Any) -> list[Any]:
    """Return all values of a choice, or the ends of a range."""
    if isinstance(parameter, kinds.Int | kinds.Float):
        return [parameter.min_value, parameter.max_value]
    return list(parameter.values)


def encoded(value: Any) -> Any:
    """Return a value in a form that Keras Tuner accepts: lists as JSON text."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def decoded(value: Any) -> Any:
    """Return the value that `encoded` received, with tuples as lists."""
    return json.loads(value) if isinstance(value, str) and value.startswith("[") else value


def _alike(values: Sequence[Any]) -> list[Any]:
    """Return the distinct values, all as floats where there are floats and whole numbers."""
    kinds_given = {type(value) for value in values}
    alike = [float(value) for value in values] if kinds_given == {int, float} else values
    return list(dict.fromkeys(alike))


def _range(name: str, spec: dict[str, Any], default: Any, conditions: list[Any]) -> Any:
    unknown = sorted(set(spec) - set(RANGE))
    if unknown:
        raise ValueError(f"a range may have only {', '.join(RANGE)}")
    low, high, step = spec["min"], spec["max"], spec.get("step")
    if not low < high:
        raise ValueError("expected min below max")
    if step is not None and not step > 0:
        raise ValueError("expected step above 0")
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in (low, high, default))
    start = default if isinstance(default, int | float) and low <= default <= high else low
    kind = kinds.Int if whole else kinds.Float
    sampling = "log" if spec.get("log") else "linear"
    return kind(name, low, high, step, sampling, start, conditions=conditions)
