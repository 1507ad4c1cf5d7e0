"""The pages of a folder of runs, with what their dataset adds: names and true factors of tracks, inspections."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cs_keras.data.schema import (
    Tracks,
    assign_split,
    dataset_digest,
    factors_names,
    factors_path,
    read_info,
    read_tracks,
)
from cs_keras.data.splits import Split, split_names
from cs_keras.errors import CsKerasError, DataError
from cs_keras.factors.store import adapt_to_split, load_factors
from cs_keras.run_files.settings import digest_pooled, read_settings
from cs_keras.runs import digest
from cs_keras.storage.location import Location, is_remote
from reports.commands.best_model import rank_runs
from reports.html.options import Inspect, PageOptions
from reports.html.page import Source, read_models, write_page
from reports.html.recordings import find_recordings
from reports.html.spaces import Space, Spaces
from reports.runs.collect import Collected
from reports.tables.cells.table import Section


def build_pages(
    collected: Collected, sections: tuple[Section, ...], out: Path, options: PageOptions
) -> list[Path]:
    """Write the pages of collected runs to `out`, and return the files; see `reports.report.build_report`."""
    dataset = options.dataset
    spaces = {} if dataset is None else open_spaces(dataset, collected)
    reasons = {} if dataset is None else inspect_best(dataset, collected, spaces, options.inspect)
    recordings = None
    if options.recordings:
        shown = frozenset(_track_ids(collected, spaces))
        recordings = find_recordings(options.recordings, shown, out, options.copy)
    name = "" if dataset is None else (dataset if is_remote(dataset) else dataset.absolute()).name
    return write_page(sections, Source(collected, spaces, reasons, name, recordings), out)


def _track_ids(collected: Collected, spaces: Spaces) -> Iterator[str]:
    """Yield the tracks that a page may show, some of them several times."""
    for space in spaces.values():
        yield from space.tracks.ids.tolist()
    for group in collected.groups:
        for predictions in read_models(group).values():
            yield from predictions.track_ids.tolist()


def open_spaces(dataset: Location, collected: Collected) -> Spaces:
    """Load a dataset's sets of factors, by the digest of the data that runs name.

    Pooled rotations that have spaces of their own have none here. DataError if none of the other runs was trained
    on the dataset in its present state.
    """
    spaces, table, info = {}, read_tracks(dataset), read_info(dataset)
    stored = [load_factors(factors_path(dataset, name)) for name in factors_names(dataset)]
    settings = [read_settings(run.folders[0]) for group in collected.groups for run in group.runs]
    pooled = {one.cross_validation for one in settings if one.cross_validation}
    all_tested = Tracks(table.table, Split("", np.full(len(table), "test")))
    for split_name in {one.split_name for one in settings} & {None, *split_names(dataset)}:
        tracks = assign_split(dataset, table, split_name)
        tables = dataset_digest(info, tracks)
        for factors in stored:
            if factors.split_name == split_name or factors.protocol != "strict":
                factors = adapt_to_split(factors, split_name, tracks.in_split("train"))
                spaces[digest([tables, factors.digest])] = Space(tracks, factors)
                for n_rotations in pooled:
                    spaces[digest_pooled(tables, factors.digest, n_rotations)] = Space(all_tested, factors)
    has_one_space = [group for group in collected.groups if not group.first.n_rotations]
    if has_one_space and not any(group.data_digest in spaces for group in has_one_space):
        raise DataError(
            f"No run was trained on {dataset} as it is now: its tracks or their factors have changed, and "
            "true and predicted factors would be of different spaces."
        )
    return spaces


def inspect_best(
    dataset: Location, collected: Collected, spaces: Spaces, inspect: Inspect | None
) -> dict[Path, str]:
    """Inspect each group's best run that has a network; return reasons by folder of runs without one.

    An error costs the page that part alone.
    """
    reasons: dict[Path, str] = {}
    if inspect is None:
        return reasons
    for group in (one for one in collected.groups if one.data_digest in spaces):
        for run in rank_runs(group):
            folder = run.folders[0]
            try:
                reason = inspect(folder, dataset)
            except CsKerasError as error:
                reasons[folder] = str(error)
                break
            if reason is None:
                break
            reasons[folder] = reason
    return reasons
