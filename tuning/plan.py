"""The plan of a search from a user's options: settings that all trials share, and settings that vary."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cs_keras import config
from cs_keras.errors import ConfigError
from cs_keras.evaluation.objective import parse_objective
from cs_keras.run_files.study import Search
from tuning.grid import every_point, read_grid, space_of
from tuning.records import start_from
from tuning.space import changes_at, flatten, make_space, nest, split_overrides


@dataclasses.dataclass(frozen=True)
class SearchPlan:
    """The settings that trials share, and their search space; see `tuning.study.Study`."""

    base: dict[str, Any]
    space: list[dict[str, Any]]
    points: dict[str, dict[str, Any]]

    @property
    def searched(self) -> set[str]:
        """Names of all settings in which trials may differ."""
        of_points = (name for settings in self.points.values() for name, _ in flatten(settings))
        return {entry["config"]["name"] for entry in self.space} | set(of_points)


def plan_search(
    search: Search,
    sets: Mapping[str, Any],
    fixes: Mapping[str, Any],
    only: Sequence[str] = (),
    grid: Path | None = None,
    *,
    of_waveforms: bool = False,
) -> SearchPlan:
    """Return the shared settings and the search space.

    Parameters
    ----------
    search
        Model and tuner.
    sets
        Nested: lists and ranges change or add parameters, see `tuning.space.make_space`; single values are settings
        that all trials share.
    fixes
        Nested settings that all trials share; lists are values here.
    only
        Patterns of the parameters to search. Without any, the tuner ``grid`` takes those of `sets`.
    grid
        Grid file of the points to try.
    of_waveforms
        Whether the dataset holds waveforms.

    Raises
    ------
    StorageError
        When the grid file cannot be read.
    ConfigError
        When a setting does not exist or cannot be searched, or nothing is left to search.
    """
    parse_objective(search.objective)  # raises for unknown objectives
    searched, shared = split_overrides(sets)
    base = config.merge(nest(shared), fixes)
    baseline = start_from(search.model, base)
    if grid is not None:
        points = read_grid(grid)
        for settings in points.values():
            start_from(search.model, config.merge(base, settings))  # raises for unknown settings
        return SearchPlan(base, space_of(points), points)
    is_grid = search.tuner == "grid"
    if is_grid and not (only or searched):
        raise ConfigError(
            "A grid search needs values to combine: give --set NAME=[...], --only or --grid FILE."
        )
    patterns = only or tuple(searched) if is_grid else only
    space = make_space(baseline, searched, dict(flatten(base)), patterns, of_waveforms=of_waveforms)
    points = every_point(space, lambda point: changes_at(baseline, point)) if is_grid else {}
    return SearchPlan(base, space.get_config()["space"], points)
