"""From what a user asks for to what a study holds: settings that all trials share, and what they differ in."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cs_keras import config
from cs_keras.errors import ConfigError
from tuning.points import every_point, read_grid, space_of
from tuning.records import start_from
from tuning.space import changes_at, flatten, make_space, nest, split_overrides
from tuning.study import Search

TABLES = ("search", "set", "fix")  # of a settings file
GRIDS = Path(__file__).parent / "grids"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What trials share and what they differ in; see `tuning.study.Study`."""

    base: dict[str, Any]
    space: list[dict[str, Any]]
    points: dict[str, dict[str, Any]]

    @property
    def searched(self) -> set[str]:
        """Names of all settings in which trials may differ."""
        of_points = (name for settings in self.points.values() for name, _ in flatten(settings))
        return {entry["config"]["name"] for entry in self.space} | set(of_points)


def make_plan(
    search: Search,
    sets: Mapping[str, Any],
    fixes: Mapping[str, Any],
    only: Sequence[str] = (),
    grid: Path | None = None,
) -> Plan:
    """Return what a search of these wishes goes through.

    Parameters
    ----------
    search
        Model and tuner.
    sets
        Nested: lists and ranges widen, narrow or add parameters, see `tuning.space.make_space`; single values are
        settings that all trials share.
    fixes
        Nested settings that all trials share, whatever they look like.
    only
        Patterns of the parameters to search; the tuner ``grid`` without any takes those of `sets`.
    grid
        File of the points to try.

    Raises
    ------
    StorageError
        When the grid file cannot be read.
    ConfigError
        When a setting does not exist, cannot be searched like that, or nothing is left to search.
    """
    wide, single = split_overrides(sets)
    base = config.merge(nest(single), fixes)
    baseline = start_from(search.model, base)
    if grid is not None:
        points = read_grid(grid)
        for settings in points.values():
            start_from(search.model, config.merge(base, settings))  # refuses what is no setting
        return Plan(base, space_of(points), points)
    if search.tuner == "grid" and not (only or wide):
        raise ConfigError(
            "A grid search needs to know what to combine: --set NAME=[...], --only or --grid FILE."
        )
    space = make_space(
        baseline, wide, dict(flatten(base)), only or tuple(wide) if search.tuner == "grid" else only
    )
    points = {}
    if search.tuner == "grid":
        points = every_point(space, lambda point: changes_at(baseline, point))
    return Plan(base, space.get_config()["space"], points)


def find_grid(name: str) -> Path:
    """Return the path of a grid file, or of one that comes with the package; raise ConfigError for others."""
    own = GRIDS / f"{name}.toml"
    for path in (Path(name), own):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in GRIDS.glob("*.toml")))
    raise ConfigError(f"There is no grid file {name}; those that come with cs-keras: {known}.")
