"""Points of a grid search: every combination of parameter values, or the trials of a grid file."""

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
GRIDS = Path(__file__).parent / "grids"

Points = dict[str, dict[str, Any]]


def every_point(space: HyperParameters, settings_at: Any) -> Points:
    """Return all combinations of a space's parameters, without inactive parameters.

    Parameters
    ----------
    space
        Space of parameters with listed values: choices, booleans, and ranges with a step.
    settings_at
        Function that returns the nested settings of a ``HyperParameters`` with values.

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
                f"A grid needs listed values, and {parameter.name} is a range: list some by --set "
                f"{parameter.name}=[...], give a step, or leave it out with --only."
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
        title = ", ".join(f"{name}={value}" for name, value in point.values.items() if name in names)
        found.setdefault(title, point.values)
    return {title: settings_at(to_space(shape, values)) for title, values in found.items()}


def read_grid(path: Path) -> Points:
    """Read a grid file: a TOML array ``trial`` of tables of settings, each with a ``name``.

    Raises
    ------
    StorageError
        When it cannot be read.
    ConfigError
        When it is not TOML, or has anything but trials with distinct names.
    """
    content = config.load_toml(path)
    rows = content.get("trial")
    if len(content) > 1 or not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise ConfigError(
            f"{path} is not a grid file: expected tables [[trial]], each with a name, and nothing else."
        )
    points: Points = {}
    for row in rows:
        name = row.get("name")
        if not isinstance(name, str) or name in points:
            raise ConfigError(f"{path}: each trial needs a distinct name. Received: {name!r}.")
        points[name] = {key: value for key, value in row.items() if key != "name"}
    if not points:
        raise ConfigError(f"{path} has no trial.")
    return points


def space_of(points: Points) -> list[dict[str, Any]]:
    """Return the parameters in which points differ as choices, in the form of ``study.json``."""
    flat = [dict(flatten(settings)) for settings in points.values()]
    names = sorted({name for point in flat for name in point})
    space = []
    for name in names:
        values = sorted({repr(point[name]): encoded(point[name]) for point in flat if name in point}.items())
        if len(values) > 1 or any(name not in point for point in flat):
            options = [value for _, value in values]
            shape = {
                "name": name,
                "default": options[0],
                "conditions": [],
                "values": options,
                "ordered": False,
            }
            space.append({"class_name": "Choice", "config": shape})
    return space


def find_grid(name: str) -> Path:
    """Return the path of a grid file, or of one that comes with the package.

    Raises
    ------
    ConfigError
        When there is no such file; the message lists those of the package.
    """
    for path in (Path(name), GRIDS / f"{name}.toml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in GRIDS.glob("*.toml")))
    raise ConfigError(f"There is no grid file {name}; those that come with cs-keras: {known}.")
