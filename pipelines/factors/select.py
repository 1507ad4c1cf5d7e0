"""Selection of WMF settings by held-out ranking and stability, and the factors fitted with them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cs_keras.config import to_dict
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
    parse_averaging,
    parse_outcome,
    rank_results,
    save_selection,
)
from cs_keras.factors.store import Factors
from cs_keras.factors.wmf import WmfConfig
from cs_keras.progress import Progress, SilentProgress
from cs_keras.runs import digest, read_json, write_json
from cs_keras.storage.location import Location, is_file
from cs_keras.storage.open_files import refuse_links
from pipelines.factors.average_seeds import compare_averages
from pipelines.factors.fit import FactorsConfig, make_factors
from pipelines.factors.measure_setting import Sample, draw_sample, measure_setting
from pipelines.factors.open import DEFAULT_NAME

T = TypeVar("T")

SELECTION_FOLDER = "selection"
MEASURED_FOLDER = "measured"
MEASURED_VERSION = 1  # of the files there and how they are measured; files of other versions are ignored


@dataclasses.dataclass(frozen=True)
class SelectionConfig:
    """Settings of a selection.

    Attributes
    ----------
    grid
        Settings to try.
    max_settings
        Size of a random part of the grid to try; None for all of it.
    n_seeds
        Fits of each setting, whose agreement is measured.
    n_averaged
        Seeds to average if that raises agreement significantly; 1 for no averaging.
    seed
        Seed of all random choices.
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
    """Return the path of the selection for the factors called `name`."""
    return dataset / FACTORS_FOLDER / SELECTION_FOLDER / f"{factors_path(dataset, name).stem}.json"


def select_factors(
    interactions_file: Path,
    dataset: Location,
    config: SelectionConfig,
    name: str = DEFAULT_NAME,
    progress: Progress | None = None,
    split_name: str | None = None,
    **reading: Any,
) -> Selection:
    """Measure settings of the factorisation on train and validation tracks, and recommend one.

    Metrics of each setting are stored in the dataset at once; the same call, and any other with the same
    interactions and some of the same settings, reuses them.

    Parameters
    ----------
    interactions_file, dataset, name, reading
        As for `pipelines.factors.fit.make_factors`.
    config
        Settings to search.
    split_name
        Named split of the dataset; None for that of the folds.

    Raises
    ------
    DataError, ConfigError, StorageError
        The file, the settings or the folder are invalid, or there are too few interactions.
    """
    progress = progress or SilentProgress()
    path, settings = selection_path(dataset, name), config.grid.settings(config.max_settings, config.seed)
    read_info(dataset)
    tracks = read_tracks(dataset, split_name)
    sample = draw_sample(
        align(read_interactions(interactions_file, **reading), tracks.ids), tracks, config.seed
    )
    refuse_links(path.parent)
    cache = _Cache(path.parent / MEASURED_FOLDER, sample)
    outcomes = []
    with progress.task("settings", len(settings)) as advance:
        for setting in settings:
            what = {"setting": to_dict(setting), "n_seeds": config.n_seeds}
            measure = functools.partial(_measure, sample, setting, config.n_seeds)
            outcomes.append(cache.get(what, measure, parse_outcome))
            advance(1)
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
        best = selection.recommended.setting
        averaging = cache.get(
            {"setting": to_dict(best), "n_averaged": config.n_averaged},
            functools.partial(compare_averages, sample, best, config.n_averaged),
            parse_averaging,
        )
        selection = dataclasses.replace(selection, averaging=averaging)
    save_selection(path, selection)
    return selection


def make_selected_factors(
    interactions_file: Path,
    dataset: Location,
    selection: Selection,
    settings: FactorsConfig,
    name: str = DEFAULT_NAME,
    **reading: Any,
) -> tuple[Factors, RowCounts]:
    """Fit factors with the recommended setting; see `pipelines.factors.fit.make_factors`.

    Protocol, items, targets and scaling are those of `settings`; WMF settings are those of the selection.
    """
    settings = dataclasses.replace(
        settings, wmf=selection.recommended.setting, n_averaged=selection.n_averaged
    )
    return make_factors(interactions_file, dataset, settings, name, **reading)


class _Cache:
    """Stored measurements on a sample, each in a file named by the hash of its inputs."""

    def __init__(self, folder: Location, sample: Sample) -> None:
        self._folder, self._sample = folder, sample

    def get(
        self,
        what: dict[str, Any],
        measure: Callable[[], Result | Failure | Averaging],
        parse: Callable[[Mapping[str, Any]], T],
    ) -> T:
        """Return the stored measurement, or measure and store it."""
        key = digest({"version": MEASURED_VERSION, "sample": self._sample.digest, **what})
        path = self._folder / f"{key[:24]}.json"
        if not is_file(path):
            write_json(path, dataclasses.asdict(measure()))
        try:
            return parse(read_json(path))
        except (KeyError, TypeError, AttributeError, ConfigError) as error:
            raise StorageError(f"{path} is damaged; delete it to measure again: {error}.") from error


def _measure(sample: Sample, setting: WmfConfig, n_seeds: int) -> Result | Failure:
    """Return the metrics of a setting, or the reason why it cannot be fitted, which is stored too."""
    try:
        return measure_setting(sample, setting, n_seeds)
    except DataError as error:
        return Failure(setting, str(error))
