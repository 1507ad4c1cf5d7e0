"""Search spaces: the space of a model file, with the changes of a user."""

import copy
import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from keras_tuner import HyperParameters
from keras_tuner.engine import hyperparameters as kinds

from cs_keras import config
from cs_keras.data.windows import SELECTIONS_BY_SPECTRUM
from cs_keras.errors import ConfigError
from cs_keras.models import get_baseline, model_module
from cs_keras.models.spec import IDENTITY, Baseline
from tuning.parameter import decoded, encoded, make_parameter, trial_values


def settings_at(key: str, hyperparameters: HyperParameters) -> Baseline:
    """Return the settings of model `key` at a point of its search space.

    Parameters
    ----------
    key
        Model key.
    hyperparameters
        Values of parameters. Missing ones are registered with the model's own settings as defaults; an empty one
        gives the point that the search starts from.

    Returns
    -------
    Baseline
        Validated settings of front end, input length, training and architecture.

    Raises
    ------
    ConfigError
        When there is no such model, or the settings are invalid.
    """
    baseline = get_baseline(key)
    return config.replace(baseline, changes_at(baseline, hyperparameters))


def changes_at(baseline: Baseline, hyperparameters: HyperParameters) -> dict[str, Any]:
    """Return the nested changes of `baseline` at a point, with those of parameters that a user added."""
    known = HyperParameters()
    model_module(baseline.key).search_space(known, baseline)
    changes = model_module(baseline.key).search_space(hyperparameters, baseline)
    for name, value in hyperparameters.values.items():
        if name not in known.values and name in _names(hyperparameters):
            changes = config.merge(changes, nest({name: decoded(value)}))
    return dict(changes)


def make_space(
    baseline: Baseline,
    overrides: Mapping[str, Any],
    fixed: Mapping[str, Any],
    only: Sequence[str] = (),
    *,
    of_waveforms: bool = False,
) -> HyperParameters:
    """Return the search space of a model.

    Parameters
    ----------
    baseline
        Settings that the search starts from, with the fixed ones.
    overrides
        Path of a setting to a list of values, or to a mapping of ``min`` and ``max`` with ``log`` or ``step``. A
        setting that the model's file does not search is added to the space.
    fixed
        Path of a setting to its only value, which removes it from the space.
    only
        Patterns, such as ``front_end.*``: other parameters are fixed.
    of_waveforms
        Whether the dataset holds waveforms, of which no sequence can be selected by its spectrum.

    Raises
    ------
    ConfigError
        When a parameter or a setting does not exist or cannot be searched, or nothing is left to search.
    """
    space = HyperParameters()
    changes = model_module(baseline.key).search_space(space, baseline)
    declared = [parameter.name for parameter in space.space]
    for path in (*overrides, *fixed):
        if path not in declared:
            _check_apart(path, changes, declared)
    chosen = HyperParameters()
    for parameter in space.space:
        name, spec = parameter.name, overrides.get(parameter.name)
        if spec is not None:
            parameter = make_parameter(name, spec, parameter.default, parameter.conditions)
        elif name in fixed or (only and not any(fnmatch.fnmatchcase(name, pattern) for pattern in only)):
            parameter = kinds.Fixed(name, parameter.default, conditions=parameter.conditions)
        elif of_waveforms and name == "sequence.select":
            by_samples = [value for value in parameter.values if value not in SELECTIONS_BY_SPECTRUM]
            parameter = make_parameter(name, by_samples, parameter.default, parameter.conditions)
        chosen.merge([parameter])
    for path, spec in overrides.items():
        if path not in declared:
            chosen.merge([make_parameter(path, spec, encoded(_value_at(baseline, path)), [])])
    _check_values(baseline, chosen, overrides)
    if not searched(chosen):
        raise ConfigError(
            f"Nothing is left to search of {baseline.key}; its parameters are: {', '.join(sorted(set(declared)))}."
        )
    return chosen


def to_space(parameters: Sequence[Mapping[str, Any]], values: Mapping[str, Any]) -> HyperParameters:
    """Return a space from the form of ``get_config()["space"]``, with values."""
    # A copy, since `from_config` modifies its argument.
    return HyperParameters.from_config(copy.deepcopy({"space": list(parameters), "values": dict(values)}))


def searched(space: HyperParameters) -> list[str]:
    """Return the names of the parameters that have more than one value."""
    return [p.name for p in space.space if not isinstance(p, kinds.Fixed)]


def parameters_of(space: HyperParameters, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a point without those of fixed parameters."""
    names = set(searched(space))
    return {name: value for name, value in values.items() if name in names}


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"a.b": 1}`` as ``{"a": {"b": 1}}``."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *groups, name = path.split(".")
        level = nested
        for group in groups:
            level = level.setdefault(group, {})
        level[name] = value
    return nested


def flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``("a.b", 1)`` for ``{"a": {"b": 1}}``."""
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def split_overrides(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split nested or flat settings into those to search and those with one value, both by path.

    A list, or a mapping with ``min`` and ``max``, is searched; anything else is a value.
    """
    wide: dict[str, Any] = {}
    fixed: dict[str, Any] = {}

    def sort(level: Mapping[str, Any], prefix: str) -> None:
        for name, value in level.items():
            path = f"{prefix}{name}"
            if isinstance(value, Mapping) and not _is_range(value):
                sort(value, f"{path}.")
            elif isinstance(value, list) or _is_range(value):
                wide[path] = value
            else:
                fixed[path] = value

    sort(given, "")
    return wide, fixed


def _is_range(value: Any) -> bool:
    return isinstance(value, Mapping) and {"min", "max"} <= set(value)


def _check_apart(path: str, changes: Mapping[str, Any], declared: Sequence[str]) -> None:
    """Raise ConfigError for a setting that a parameter of another name sets together with others."""
    if path in dict(flatten(changes)):
        group = path.split(".")[0]
        related = sorted({name for name in declared if name.startswith(f"{group}.")})
        raise ConfigError(
            f"{path} cannot be searched on its own; parameters of {group!r}: {', '.join(related)}."
        )


def _check_values(baseline: Baseline, space: HyperParameters, names: Iterable[str]) -> None:
    """Raise ConfigError where a value is no valid setting, or a parameter has no effect."""
    parameters = {parameter.name: parameter for parameter in space.space}
    for name in names:
        for parent in parameters[name].conditions:
            deciding = parameters[parent.name]
            if isinstance(deciding, kinds.Fixed) and deciding.value not in parent.values:
                raise ConfigError(
                    f"{name} has no effect where {parent.name} is {deciding.value!r}: search or fix that, too."
                )
        for value in trial_values(parameters[name]):
            point = to_space(space.get_config()["space"], {**space.values, name: value})
            for parameter in point.space:  # active for this value only
                if point.is_active(parameter):
                    point.values.setdefault(parameter.name, parameter.default)
            try:
                config.replace(baseline, changes_at(baseline, point))
            except (TypeError, ValueError) as error:
                reason = str(error) if isinstance(error, ConfigError) else "the setting is invalid."
                raise ConfigError(f"{name} cannot be {value!r}: {reason}") from error


def _value_at(baseline: Baseline, path: str) -> Any:
    """Return a setting by its path; raise ConfigError where there is none."""
    settings = {name: value for name, value in config.to_dict(baseline).items() if name not in IDENTITY}
    level: Any = settings
    for name in path.split("."):
        if not isinstance(level, Mapping) or name not in level:
            raise ConfigError(
                f"There is no setting {path!r} of {baseline.key}. Settings: "
                f"{', '.join(name for name, _ in flatten(settings))}."
            )
        level = level[name]
    if isinstance(level, Mapping):
        raise ConfigError(f"{path} is a group of settings of {baseline.key}, not one that can be searched.")
    return level


def _names(space: HyperParameters) -> list[str]:
    return [parameter.name for parameter in space.space]
