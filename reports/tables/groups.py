"""The tables of results by track group: popularity quarters, and artists with and without train tracks."""

from collections.abc import Mapping, Sequence

from cs_keras.run_files.evaluation import MODEL, GroupMeans, GroupsRecord, Kind, MeanRecord
from reports.runs.collect import Group
from reports.tables.cells.notes import sample_note
from reports.tables.cells.numbers import count_cell, share_cell
from reports.tables.cells.rows import predictor_rows
from reports.tables.cells.table import Cell, Column, Row, Table

TITLES = {"overlap": "Overlap by similarity per track group", "ndcg": "nDCG per track group"}
QUARTERS = ("rarest\nquarter", "second", "third", "most\npopular")
ARTISTS = {"new": "artist\nnew", "known": "artist\nknown", "unknown": "artist\nnot named"}
NOTE = (
    "Quarters of the test tracks by the number of playlists they are in (ties stay in one group); known "
    "artists have train tracks. Intervals: in tables.csv."
)

Key = tuple[str, object]  # attribute of tracks, and its value


def group_tables(group: Group) -> tuple[Table, ...]:
    """Return overlap and nDCG per group of test tracks; none for runs of earlier releases."""
    first = group.first.groups
    if first is None:
        return ()
    sizes = {
        (name, one.group): one.n
        for name, own in first.sizes.items()
        for one in sorted(
            own, key=lambda one: list(ARTISTS).index(one.group) if name == "artist" else one.group
        )
        if len(own) > 1
    }
    own = first.predictors.get(MODEL, {})  # without groups where there are too few test tracks
    measures = [name for name in TITLES if name in own]
    return tuple(_table(group, first, measure, sizes) for measure in measures if sizes)


def _table(group: Group, first: GroupsRecord, measure: str, sizes: Mapping[Key, int]) -> Table:
    columns = tuple(Column(_header(key), f"{measure}@{first.k}_{key[0]}_{key[1]}") for key in sizes)
    rows = predictor_rows(
        group,
        columns,
        {name: own[measure] for name, own in first.predictors.items() if measure in own},
        lambda evaluation: evaluation.groups.predictors[MODEL][measure] if evaluation.groups else None,
        lambda seeds: _cells(seeds, list(sizes)),
    )
    counts = Row("test tracks", (), tuple(count_cell([n]) for n in sizes.values()))
    is_overlap = measure == "overlap"
    kind: Kind = first.kind if is_overlap else "dot"
    filtered = ", artist-filtered" if first.kind == "filtered" else ""
    definition = (
        f"Overlap in %{filtered}: as above, at k = {first.k}, averaged over the test tracks of a group."
        if is_overlap
        else f"nDCG@{first.k} in %: only a group's tracks are relevant, among all candidates; mean over playlists "
        "with any of them. Chance differs between groups: compare within a column, not within a row."
    )
    notes = (definition, NOTE, *sample_note(group, kind))
    title = f"{TITLES[measure]}{filtered if is_overlap else ''}, k = {first.k}"
    return Table(title, columns, (counts, *rows), notes)


def name_group(by: str, label: object) -> str:
    """Return the display name of a group of tracks, by popularity or artist."""
    name = _header((by, label)).replace("\n", " ")
    return name if by == "artist" else f"{by}, {name}"


def _header(key: Key) -> str:
    name, label = key
    if name == "artist":
        return ARTISTS[str(label)]
    return QUARTERS[label] if isinstance(label, int) and label < len(QUARTERS) else str(label)


def _cells(seeds: Sequence[GroupMeans], keys: Sequence[Key]) -> tuple[Cell | None, ...]:
    return tuple(share_cell([_mean(means, key) for means in seeds]) for key in keys)


def _mean(means: GroupMeans, key: Key) -> MeanRecord | None:
    found = next((one for one in means.get(key[0], ()) if one.group == key[1]), None)
    return None if found is None else MeanRecord(found.mean, found.low, found.high)
