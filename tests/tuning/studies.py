"""Studies of `bot` that nothing is trained for, and what is in their folders in the end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cs_keras.config import parse_overrides
from cs_keras.run_files.study import Search
from cs_keras.runs import read_json
from cs_keras.storage.location import Location
from tuning.plan import plan_search
from tuning.study import Study, new_study

UPSTREAM = r"ignore:(currentThread|getName)\(\) is deprecated:DeprecationWarning"  # in Keras Tuner
MODEL = "bot"
SMALL = ("training.learning_rate", "training.batch_size")
RANGES = {"training": {"learning_rate": {"min": 1e-5, "max": 1e-2, "log": True}}}
CLOCKS = ("started_s", "ended_s", "worker", "interruptions")


def make_study(
    folder: Location,
    tuner: str = "random",
    sets: Mapping[str, Any] = RANGES,
    only: tuple[str, ...] = SMALL,
    **wishes: Any,
) -> Study:
    """Return a study of two settings, or of others."""
    search = Search(MODEL, **{"tuner": tuner, "max_trials": 6 if tuner != "hyperband" else 0, **wishes})
    plan = plan_search(search, sets, {}, only)
    return new_study(folder, search, dataset="dataset", factors="wmf", data_digest="d" * 64, **vars(plan))


def grid_study(folder: Location, *sets: str, **wishes: Any) -> Study:
    """Return a grid study of ``NAME=[...]`` settings."""
    return make_study(folder, "grid", parse_overrides(sets), (), max_trials=0, **wishes)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what is on file of each ended trial."""
    return {path.parent.name: read_json(path) for path in sorted(folder.glob("trials/*/trial.json"))}


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what must be the same in any study of this kind."""
    return without_clocks(records(folder))


def without_clocks(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return records without what depends on clocks, kills and who did it."""
    return {
        trial: {name: value for name, value in record.items() if name not in CLOCKS}
        for trial, record in found.items()
    }
