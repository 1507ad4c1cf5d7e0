"""The tables of runs whose targets are labels: metrics over labels and over tracks, each label, and training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from cs_keras.messages import count
from cs_keras.run_files.evaluation import MODEL, MeanRecord
from cs_keras.run_files.labels import CHANCE, FREQUENCY, LabelEvaluation, RankingMetrics
from reports.runs.collect import Collected, LabelGroup, LabelRun
from reports.runs.labels import family_of
from reports.tables.cells.numbers import count_cell, mean_cell, seconds_cell
from reports.tables.cells.rows import arrange
from reports.tables.cells.table import Cell, Column, Row, Section, Table

NAMES = {CHANCE: "chance", FREQUENCY: "label frequency"}
METRICS: dict[str, tuple[str, Callable[[RankingMetrics], MeanRecord | None]]] = {
    "auc": ("AUC", lambda metrics: metrics.auc),
    "map": ("mAP", lambda metrics: metrics.average_precision),
}
METRICS_NOTE = (
    "AUC: area under the ROC curve; mAP: mean average precision; 95 % intervals by jackknife over artists. Over "
    "labels: each label ranks the test tracks, mean over labels. Over tracks: each track ranks the labels. Label "
    "frequency: the share of train tracks with a label, the same for every track."
)


def make_label_sections(collected: Collected) -> tuple[Section, ...]:
    """Return the tables of runs of labels, a section for each group, with its conclusion."""
    return tuple(map(_section, collected.label_groups))


def conclude_labels(section: Section) -> Section:
    """Return the conclusion of a section of labels: its first table, and what it shows."""
    return replace(section, notes=(), tables=section.tables[:1])


def best_label_run(group: LabelGroup) -> LabelRun:
    """Return the runs of the highest macro AUC."""
    return max(group.runs, key=_auc)


def _section(group: LabelGroup) -> Section:
    first, names = (
        group.runs[0].evaluations[0],
        ", ".join(sorted({run.evaluations[0].target for run in group.runs})),
    )
    counts = first.n_tracks
    note = (
        f"{count(len(first.labels), 'label')}. Labelled tracks: {counts.train:,} train, "
        f"{counts.validation:,} validation, {counts.test:,} test, by {count(first.n_test_artists, 'artist')}."
    )
    table = _metrics_table(group)
    tables = (table, _labels_table(group), _training_table(group))
    heading = f"Labels {group.digest[:10]}, predicted as {names}"
    return Section(heading, (note,), tables, tuple(_conclude(group)))


def _metrics_table(group: LabelGroup) -> Table:
    columns = tuple(
        Column(f"{header} over\n{kind}", f"{key}_over_{kind}", best=max)
        for kind in ("labels", "tracks")
        for key, (header, _) in METRICS.items()
    )
    first = group.runs[0].evaluations[:1]
    others = [Row(NAMES[name], (), _metric_cells(first, name)) for name in (CHANCE, FREQUENCY)]
    models = [
        Row(run.label, run.seeds, _metric_cells(run.evaluations, MODEL), family_of(run.model))
        for run in group.runs
    ]
    rows = (*others, *arrange(columns, models))
    return Table("Labels", columns, rows, (METRICS_NOTE,))


def _metric_cells(evaluations: Sequence[LabelEvaluation], name: str) -> tuple[Cell | None, ...]:
    results = [own.predictors[name] for own in evaluations]
    return tuple(
        _cell([value(metrics) for metrics in kind])
        for kind in ([one.over_labels for one in results], [one.over_tracks for one in results])
        for _, value in METRICS.values()
    )


def _labels_table(group: LabelGroup) -> Table:
    """Return AUC and average precision of each label, the most frequent first, for each model."""
    columns = (
        Column("train\ntracks", "n_train"),
        Column("test\ntracks", "n_test"),
        *(
            Column(header.removeprefix("m"), f"{key}/{run.label}", best=max, group=run.label)
            for run in group.runs
            for key, (header, _) in METRICS.items()
        ),
    )
    rows = []
    for number, one in enumerate(group.runs[0].evaluations[0].labels):
        metrics = [[own.labels[number].metrics for own in run.evaluations] for run in group.runs]
        cells = (_cell([value(own) for own in seeds]) for seeds in metrics for _, value in METRICS.values())
        rows.append(Row(one.label, (), (count_cell([one.n_train]), count_cell([one.n_test]), *cells)))
    note = (
        "AP: average precision; chance is the share of test tracks with the label. n/a: all tracks, or none."
    )
    return Table("Each label", columns, tuple(rows), (note,), stub="label")


def _training_table(group: LabelGroup) -> Table:
    columns = (
        Column("trainable\nparameters", "parameters"),
        Column("train\ntracks", "n_train_tracks"),
        Column("epochs", "epochs"),
        Column("best\nepoch", "best_epoch"),
        Column("time\n(min:s)", "seconds"),
    )
    rows = []
    for run in group.runs:
        trained = [one.training for one in run.evaluations]
        names = ("parameters", "n_train_tracks", "epochs", "best_epoch")
        counts = (count_cell([getattr(one, name) for one in trained]) for name in names)
        cells = (*counts, seconds_cell([one.seconds for one in trained]))
        rows.append(Row(run.label, run.seeds, cells, family_of(run.model)))
    notes = dict.fromkeys(
        f"{run.label}: {note}." for run in group.runs for note in run.evaluations[0].training.notes
    )
    return Table("Training", columns, tuple(rows), tuple(notes))


def _cell(seeds: Sequence[MeanRecord | None]) -> Cell | None:
    """Return a metric with its interval or, of several seeds, their spread."""
    cell = mean_cell([None if one is None else one.mean for one in seeds], "{:.3f}".format)
    if cell is None or len(seeds) > 1 or seeds[0] is None or seeds[0].low is None or seeds[0].high is None:
        return cell
    low, high = seeds[0].low, seeds[0].high
    return Cell(cell.text, cell.value, detail=f"[{low:.3f}, {high:.3f}]", low=low, high=high)


def _auc(run: LabelRun) -> float:
    found = [one.predictors[MODEL].over_labels.auc for one in run.evaluations]
    return sum(one.mean for one in found if one) / len(found)


def _conclude(group: LabelGroup) -> Iterator[str]:
    best = best_label_run(group)
    metrics, chance = (best.evaluations[0].predictors[name].over_labels for name in (MODEL, CHANCE))
    interval = ""
    if len(best.seeds) == 1 and metrics.auc and metrics.auc.low is not None:
        is_above = metrics.auc.low > 0.5
        interval = f", {'significantly' if is_above else 'not significantly'} above chance"
    name = f"{best.label}, the best of {len(group.runs):,} models," if len(group.runs) > 1 else best.label
    yield f"{name} ranks test tracks by label with a macro AUC of {_auc(best):.3f}{interval}."
    known = [one for one in best.evaluations[0].labels if one.metrics.auc]
    if len(known) > 1 and chance.auc:
        order = sorted(known, key=lambda one: one.metrics.auc.mean if one.metrics.auc else 0)
        worst, finest = order[0], order[-1]
        assert worst.metrics.auc and finest.metrics.auc
        yield (
            f"Of the labels, {finest.label} is ranked best ({finest.metrics.auc.mean:.3f}) and {worst.label} worst "
            f"({worst.metrics.auc.mean:.3f})."
        )
