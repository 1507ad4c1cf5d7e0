"""The points of a grid: every combination of what is searched, or the rows of a file."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_tuner import HyperParameters

from cs_keras import config
from cs_keras.errors import ConfigError
from tuning.parameter import encoded
from tuning.space import flatten, searched, to_space

MAX_POINTS = 10_000

Points = dict[str, dict[str, Any]]


def every_point(space: HyperParameters, settings_at: Any) -> Points:
    """Return all combinations of a space's parameters, those that are not active left out.

    Parameters
    ----------
    space
        Of parameters that list their values: choices, booleans, and ranges with a step.
    settings_at
        Function of ``HyperParameters`` with values, to nested settings.

    Raises
    ------
    ConfigError
        When a parameter has no list of values, or there are more than 10,000 combinations.
    """
    names = searched(space)
    options = []
    for parameter in space.space:
        if parameter.name in names and getattr(parameter, "step", 0) is None:
            raise ConfigError(
                f"A grid needs values to list, and {parameter.name} is a range: give it some, as in --set "
                f"{parameter.name}=[...], or a step, or leave it out with --only."
            )
        options.append(list(parameter.values) if parameter.name in names else [parameter.default])
    shape = space.get_config()["space"]
    point, found = to_space(shape, {}), dict[str, dict[str, Any]]()
    for n, values in enumerate(itertools.product(*options), 1):
        if n > 100 * MAX_POINTS or len(found) > MAX_POINTS:
            raise ConfigError(f"A grid has at most {MAX_POINTS:,} points; search fewer parameters (--only).")
        point.values = {}
        for parameter, value in zip(space.space, values, strict=True):
            if point.is_active(parameter):
                point.values[parameter.name] = value
        told = [f"{name}={value}" for name, value in point.values.items() if name in names]
        found.setdefault(", ".join(told), point.values)
    return {told: settings_at(to_space(shape, values)) for told, values in found.items()}


def read_grid(path: Path) -> Points:
    """Read a grid file: TOML, an array ``trial`` of tables of settings, each with a ``name``.

    Raises
    ------
    StorageError
        When it cannot be read.
    ConfigError
        When it is not TOML or not such a file.
    """
    content = config.load_toml(path)
    rows = content.get("trial")
    if (
        set(content) != {"trial"}
        or not isinstance(rows, list)
        or not all(isinstance(row, Mapping) for row in rows)
    ):
        raise ConfigError(
            f"{path} is not a grid file: expected tables [[trial]], each with a name, and no more."
        )
    points: Points = {}
    for row in rows:
        name = row.get("name")
        if not isinstance(name, str) or name in points:
            raise ConfigError(f"{path}: each trial needs a name of its own. Received: {name!r}.")
        points[name] = {key: value for key, value in row.items() if key != "name"}
    if not points:
        raise ConfigError(f"{path} has no trial.")
    return points


def space_of(points: Points) -> list[dict[str, Any]]:
    """Return the parameters in which points differ, as choices, in the form of ``study.json``."""
    flat = [dict(flatten(settings)) for settings in points.values()]
    names = sorted({name for point in flat for name in point})
    space = []
    for name in names:
        values = sorted({repr(point[name]): encoded(point[name]) for point in flat if name in point}.items())
        if len(values) > 1 or any(name not in point for point in flat):
            options = [value for _, value in values]
            space.append(
                {
                    "class_name": "Choice",
                    "config": {
                        "name": name,
                        "default": options[0],
                        "conditions": [],
                        "values": options,
                        "ordered": False,
                    },
                }
            )
    return space
