"""A search for the settings that give factors worth predicting, and the factors that they give."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cs_keras.data.schema import FACTORS_FOLDER, factors_path, read_info, read_tracks
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.factors.grid import Grid
from cs_keras.factors.interaction_files import read_interactions
from cs_keras.factors.interactions import RowCounts, align
from cs_keras.factors.selection import (
    Averaging,
    Failure,
    Result,
    Selection,
    rank_results,
)
from cs_keras.factors.selection_store import parse_averaging, parse_outcome, save_selection
from cs_keras.factors.store import Factors
from cs_keras.factors.wmf import WmfConfig
from cs_keras.progress import Progress, SilentProgress
from cs_keras.runs import digest, read_json, write_json
from cs_keras.storage.location import Location, is_file
from pipelines.factors.average_seeds import compare_averages, store_averaged
from pipelines.factors.fit import DEFAULT_NAME, FactorsConfig, make_factors
from pipelines.factors.measure_setting import Sample, draw_sample, measure_setting

T = TypeVar("T")

SELECTION_FOLDER = "selection"
MEASURED_FOLDER = "measured"
MEASURED_VERSION = 1  # of what a file there holds and how it is measured: another finds none of the older


@dataclasses.dataclass(frozen=True)
class SelectionConfig:
    """What is searched, and how.

    Attributes
    ----------
    grid
        Settings to try.
    max_settings
        Try a random part of the grid, this many; None: all of it.
    n_seeds
        Fits of each setting, whose agreement is measured.
    n_averaged
        How many seeds to average where that measurably raises agreement; 1: not to try.
    seed
        Everything follows from it.
    """

    grid: Grid = Grid()
    max_settings: int | None = None
    n_seeds: int = 2
    n_averaged: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_seeds < 2:
            raise ConfigError(f"Agreement needs at least 2 seeds. Received: {self.n_seeds}.")
        if self.n_averaged < 1:
            raise ConfigError(f"An average is of at least 1 seed. Received: {self.n_averaged}.")


def selection_path(dataset: Location, name: str) -> Location:
    """Return where the selection lies that led to the factors called `name`."""
    return dataset / FACTORS_FOLDER / SELECTION_FOLDER / f"{factors_path(dataset, name).stem}.json"


def select_factors(
    listening: Path,
    dataset: Location,
    config: SelectionConfig,
    name: str = DEFAULT_NAME,
    progress: Progress | None = None,
    **reading: Any,
) -> Selection:
    """Measure settings of the factorisation on train and validation tracks, and recommend one.

    What is measured of a setting is kept in the dataset at once: the same call, and any other on the same listening
    that shares settings with it, goes on from there.

    Parameters
    ----------
    listening, dataset, name, reading
        As of `pipelines.factors.fit.make_factors`.
    config
        What to search.
    progress
        Where to report.

    Returns
    -------
    Selection
        As stored beside the factors.

    Raises
    ------
    DataError, ConfigError, StorageError
        One sentence for what is wrong with the file, the settings or the folder; above all when there is too little
        listening to measure anything.
    """
    progress = progress or SilentProgress()
    path, settings = selection_path(dataset, name), config.grid.settings(config.max_settings, config.seed)
    read_info(dataset)
    tracks = read_tracks(dataset)
    sample = draw_sample(align(read_interactions(listening, **reading), tracks.ids), tracks, config.seed)
    kept = _Kept(path.parent / MEASURED_FOLDER, sample)
    outcomes = _measure_all(kept, settings, config.n_seeds, progress)
    failures = tuple(outcome for outcome in outcomes if isinstance(outcome, Failure))
    results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    if not results:
        raise DataError(
            f"None of the {len(settings)} settings can be fitted; the first: {failures[0].reason}"
        )
    ranked, n_eligible = rank_results(results)
    n_tracks = {split: int(has_interactions.sum()) for split, has_interactions in sample.splits.items()}
    selection = Selection(
        ranked, n_eligible, failures, config.n_seeds, n_tracks["train"], n_tracks["validation"]
    )
    if config.n_averaged > 1:
        progress.log(f"comparing means of {config.n_averaged} seeds of the recommended setting")
        averaging = _compare(kept, selection.recommended.setting, config.n_averaged)
        selection = dataclasses.replace(selection, averaging=averaging)
    save_selection(path, selection)
    return selection


def make_selected_factors(
    listening: Path,
    dataset: Location,
    selection: Selection,
    settings: FactorsConfig,
    name: str = DEFAULT_NAME,
    **reading: Any,
) -> tuple[Factors, RowCounts]:
    """Make factors as recommended; see `pipelines.factors.fit.make_factors`.

    Of `settings` the protocol and the scaling hold; the fit's are those of the selection.
    """
    settings = dataclasses.replace(settings, wmf=selection.recommended.setting)
    if selection.n_averaged == 1:
        return make_factors(listening, dataset, settings, name, **reading)
    alone = dataclasses.replace(settings, ceiling=False)  # of the mean it is measured instead
    factors, tally = make_factors(listening, dataset, alone, name, **reading)
    return store_averaged(dataset, factors, settings, selection.n_averaged), tally


class _Kept:
    """Keeps what was measured on a sample, each measurement in a file named after all that decides it."""

    def __init__(self, folder: Location, sample: Sample) -> None:
        self._folder, self.sample = folder, sample

    def get(
        self,
        what: dict[str, Any],
        measure: Callable[[], Result | Failure | Averaging],
        parse: Callable[[Mapping[str, Any]], T],
    ) -> T:
        """Return what is on file, else measure it and write the file."""
        key = digest({"version": MEASURED_VERSION, "sample": self.sample.digest, **what})
        path = self._folder / f"{key[:24]}.json"
        if not is_file(path):
            write_json(path, dataclasses.asdict(measure()))
        try:
            return parse(read_json(path))
        except (KeyError, TypeError, AttributeError, ConfigError) as error:
            raise StorageError(
                f"{path} is not as it was written; delete it to measure again: {error}."
            ) from error


def _measure_all(
    kept: _Kept, settings: list[WmfConfig], n_seeds: int, progress: Progress
) -> list[Result | Failure]:
    outcomes = []
    with progress.task("settings", len(settings)) as advance:
        for setting in settings:
            what = {"setting": dataclasses.asdict(setting), "n_seeds": n_seeds}
            measure = functools.partial(_measure, kept.sample, setting, n_seeds)
            outcomes.append(kept.get(what, measure, parse_outcome))
            advance(1)
    return outcomes


def _measure(sample: Sample, setting: WmfConfig, n_seeds: int) -> Result | Failure:
    """Return what a setting is worth, or why it cannot be fitted: that would be no other another time."""
    try:
        return measure_setting(sample, setting, n_seeds)
    except DataError as error:
        return Failure(setting, str(error))


def _compare(kept: _Kept, setting: WmfConfig, n_averaged: int) -> Averaging:
    what = {"setting": dataclasses.asdict(setting), "n_averaged": n_averaged}
    measure = functools.partial(compare_averages, kept.sample, setting, n_averaged)
    return kept.get(what, measure, parse_averaging)
