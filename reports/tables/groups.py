"""The tables of for whom a model works: rare and popular test tracks, and artists new or known from training."""

from collections.abc import Sequence

from cs_keras.run_files.evaluation import MODEL, GroupMeans, GroupsRecord, MeanRecord
from reports.runs.collect import Group
from reports.runs.labels import family_of, name_predictor
from reports.tables.notes import n_queries_note
from reports.tables.numbers import count_cell, share_cell
from reports.tables.table import Cell, Column, Row, Table, arrange

TITLES = {"overlap": "Overlap by similarity of groups", "ndcg": "nDCG of groups"}
QUARTERS = ("rarest\nquarter", "second", "third", "most\npopular")
ARTISTS = {"new": "artist\nnew", "known": "artist\nknown"}

Key = tuple[str, object]  # what tracks are grouped by, and the group


def group_tables(group: Group) -> tuple[Table, ...]:
    """Return overlap and nDCG of groups of test tracks, as far as measured; none for runs of earlier releases."""
    first = group.first.groups
    if first is None:
        return ()
    measures = [name for name in TITLES if name in first.predictors[MODEL]]
    keys = _keys(first)
    return tuple(_table(group, first, measure, keys) for measure in measures if keys)


def _keys(record: GroupsRecord) -> list[Key]:
    """Return the groups to show: by artist only where there are new and known ones."""
    return [
        (name, one.group)
        for name, sizes in record.sizes.items()
        for one in sorted(
            sizes, key=lambda one: list(ARTISTS).index(one.group) if name == "artist" else one.group
        )
        if len(sizes) > 1
    ]


def _table(group: Group, first: GroupsRecord, measure: str, keys: Sequence[Key]) -> Table:
    columns = tuple(Column(_header(key), f"{measure}@{first.k}_{key[0]}_{key[1]}") for key in keys)
    sizes = {(name, one.group): one.n for name, own in first.sizes.items() for one in own}
    others = [
        Row(name_predictor(name), (group.first.seed,), _cells([own[measure]], keys))
        for name, own in first.predictors.items()
        if name != MODEL and measure in own
    ]
    models = []
    for run in group.runs:
        records = [own.groups.predictors[MODEL][measure] for own in run.evaluations if own.groups]
        if len(records) == len(run.evaluations):
            models.append(Row(run.label, run.seeds, _cells(records, keys), family_of(run.model)))
    counts = Row("test tracks", (), tuple(count_cell([sizes[key]]) for key in keys))
    rows = (counts, *others, *arrange(columns, models))
    return Table(
        f"{TITLES[measure]}, k = {first.k}",
        columns,
        rows,
        (
            *group_notes(measure, first.k),
            *n_queries_note(group, "similarity" if measure == "overlap" else "dot"),
        ),
    )


def _header(key: Key) -> str:
    name, label = key
    if name == "artist":
        return ARTISTS[str(label)]
    return QUARTERS[label] if isinstance(label, int) and label < len(QUARTERS) else str(label)


def _cells(seeds: Sequence[GroupMeans], keys: Sequence[Key]) -> tuple[Cell | None, ...]:
    return tuple(share_cell([_mean(means, key) for means in seeds]) for key in keys)


def _mean(means: GroupMeans, key: Key) -> MeanRecord | None:
    found = next((one for one in means.get(key[0], ()) if one.group == key[1]), None)
    if found is None:
        return None
    low, high = (found.mean if bound is None else bound for bound in (found.low, found.high))
    return MeanRecord(found.mean, low, high)


def group_notes(measure: str, k: int) -> tuple[str, ...]:
    """Return how tracks are grouped, and what is averaged."""
    overlap = f"Overlap in %: as above, at k = {k}, averaged over the test tracks of a group."
    ndcg = (
        f"nDCG@{k} in %: a group's tracks alone are to be found, among all; mean over the playlists that hold any "
        "of them. Chance differs from group to group: compare down a column, not along a row."
    )
    return (
        overlap if measure == "overlap" else ndcg,
        "Quarters of the test tracks by how many playlists hold them, equals never parted; artists known are those "
        "with a train track. Intervals: in tables.csv.",
    )
