"""The best trial of a study, and its settings as a file that trains it."""

import json
from collections.abc import Mapping
from typing import Any

from cs_keras.run_files.names import BEST_FILE
from cs_keras.run_files.study import TrialRecord
from cs_keras.runs import atomic_write
from tuning.study import Study


def find_best(study: Study, trials: list[str]) -> TrialRecord | None:
    """Return the record of the best of the trials that have completed, None where none has.

    Of hyperband only trials with the most epochs compete: others were stopped on the way.
    """
    records = [record for record in map(study.read_trial, trials) if record and record.status == "completed"]
    longest = max((_epochs(record) for record in records), default=0)
    final = [record for record in records if _epochs(record) == longest]
    sign = -1 if study.search.goal.direction == "max" else 1
    return min(final, key=lambda record: (sign * (record.score or 0), record.trial), default=None)


def write_best(study: Study, record: TrialRecord) -> None:
    """Write the settings of a trial for ``cs-keras run-baselines --config``."""
    search = study.search
    heading = (
        f"# Trial {record.trial} of a search of {search.model}: {search.objective} {record.score:.4f}, seed "
        f"{search.seed}.\n"
    )
    with atomic_write(study.folder / BEST_FILE, "w") as file:
        file.write(heading + to_toml({"models": {search.model: record.settings}}))


def to_toml(settings: Mapping[str, Any], path: str = "") -> str:
    """Return nested settings as TOML; None, which TOML does not have, as the text that settings take for it."""
    values = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    groups = {name: value for name, value in settings.items() if isinstance(value, Mapping)}
    text = ""
    if values:
        heading = f"\n[{path}]\n" if path else ""
        lines = (
            f"{name} = {json.dumps('none' if value is None else value)}\n" for name, value in values.items()
        )
        text = heading + "".join(lines)
    return text + "".join(
        to_toml(group, f"{path}.{name}" if path else name) for name, group in groups.items()
    )


def _epochs(record: TrialRecord) -> int:
    return record.hyperband.epochs if record.hyperband else 0
