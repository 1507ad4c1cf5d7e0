"""A model card: Markdown with the metadata that Hugging Face reads, from the files of one run.

Format of the metadata: https://huggingface.co/docs/hub/model-cards.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import DataError
from cs_keras.messages import count
from cs_keras.models.declaration import PROCEDURES
from cs_keras.models.registry import REGISTRY, split_key
from cs_keras.run_files.evaluation import MODEL, RANDOM, Evaluation, GroupMean
from cs_keras.run_files.names import CONFIG_FILE, ENVIRONMENT_FILE, MODEL_FILE, SIGNATURE_FILE
from cs_keras.run_files.settings import SignatureRecord, flatten_settings, require_finished
from cs_keras.runs import read_json
from cs_keras.storage.location import is_file
from reports.commands.best_model import ALPHA
from reports.commands.conclusion import conclude
from reports.formats.markdown_csv import escape_markdown, to_markdown_table
from reports.formats.text import printable
from reports.runs.collect import Group, collect_folders
from reports.tables.all_tables import make_sections
from reports.tables.cells.notes import available_kinds
from reports.tables.cells.numbers import format_p, format_share, interval_cell
from reports.tables.cells.table import Cell, Column, Row, Table
from reports.tables.groups import name_group
from reports.tables.overlap import TITLES

TAGS = ("music", "audio", "recommendation", "collaborative-filtering", "cold-start")


def make_card(folder: Path, dataset: str | None = None, license: str | None = None) -> str:
    """Return the model card of a finished run.

    Parameters
    ----------
    folder
        Run folder.
    dataset, license
        Names for the metadata, which a run does not know: of the dataset, and of the license of the model, both by
        their ids on the hub; None to leave them out.

    Raises
    ------
    StorageError, DataError
        When it is not a finished run, predicts labels, or its files are damaged.
    """
    require_finished(folder, skip=[MODEL_FILE])
    collected = collect_folders([folder])
    if not collected.groups:
        raise DataError(f"{folder} predicts labels; a card is of a run that predicts factors.")
    (group,), sections = collected.groups, make_sections(collected)
    (conclusion,) = conclude(collected, sections)
    evaluation, settings = group.first, read_json(folder / CONFIG_FILE)
    metadata = make_metadata(evaluation, settings, dataset, license)
    limits = [f"- {escape_markdown(line)}" for line in _limits(group, settings, folder)]
    parts = [
        f"---\n{to_yaml(metadata)}---",
        f"# {escape_markdown(evaluation.model)}: {escape_markdown(evaluation.factors.name)} factors of new tracks",
        escape_markdown(" ".join(conclusion.conclusion)),
        "## Model",
        to_markdown_table(_model_table(evaluation, settings, folder)),
        "## Results on test tracks",
        *(escape_markdown(note) for note in conclusion.notes),
        *(
            f"{to_markdown_table(table)}\n\n{escape_markdown(' '.join(table.notes))}"
            for table in conclusion.tables
        ),
        *_groups(evaluation),
        "## Where not to use it",
        "\n".join(limits) or "The run's results show no limit.",
        "## Use",
        _usage(folder, settings),
        "## Settings",
        to_markdown_table(_text_table(dict(flatten_settings(settings)), "setting")),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def make_metadata(
    evaluation: Evaluation, settings: Mapping[str, Any], dataset: str | None, license: str | None
) -> dict[str, Any]:
    """Return the metadata: values of overlap and ranking as in ``evaluation.json``, at its first list length."""
    digest, metrics = _digest(settings), []
    for kind, title in TITLES.items():
        for one in evaluation.overlap.get(kind, ())[:1]:
            if one.overlap is not None:
                args = {"kind": kind, "k": one.k, "chance": one.chance, "low": one.low, "high": one.high}
                name = f"{title}, k = {one.k}"
                metrics.append({"type": f"overlap@{one.k}", "name": name, "value": one.overlap, "args": args})
    ranking = evaluation.ranking.predictors[MODEL] if evaluation.ranking else {}
    (k,) = {overlaps[0].k for overlaps in evaluation.overlap.values()}
    for name in (f"ndcg@{k}", f"recall@{k}"):
        if mean := ranking.get(name):
            args = {"low": mean.low, "high": mean.high}
            metrics.append({"type": name, "name": name, "value": mean.mean, "args": args})
    task = {"type": "other", "name": "Recommendation of new tracks from their content"}
    data = {"type": dataset or digest, "name": dataset or f"data {digest}", "split": "test"}
    metadata = {
        "library_name": "keras",
        "license": license,
        "datasets": [dataset] if dataset else None,
        "tags": [*TAGS, "cs-keras", evaluation.model],
        "metrics": list(dict.fromkeys(metric["type"] for metric in metrics)),
        "model-index": [
            {"name": evaluation.model, "results": [{"task": task, "dataset": data, "metrics": metrics}]}
        ],
    }
    return {name: value for name, value in metadata.items() if value is not None}


def to_yaml(value: Mapping[str, Any], indent: str = "") -> str:
    """Return nested dictionaries and lists as blocks of YAML, with text in double quotes as in JSON."""
    lines = []
    for name, own in value.items():
        if isinstance(own, Mapping):
            lines.append(f"{indent}{name}:\n{to_yaml(own, indent + '  ')}")
        elif isinstance(own, list):
            items = (
                f"{indent}- {to_yaml(one, indent + '  ').lstrip()}"
                if isinstance(one, Mapping)
                else f"{indent}- {_scalar(one)}\n"
                for one in own
            )
            lines.append(f"{indent}{name}:\n{''.join(items)}")
        else:
            lines.append(f"{indent}{name}: {_scalar(own)}\n")
    return "".join(lines)


def _scalar(value: str | float | None) -> str:
    if isinstance(value, str):
        return json.dumps(printable(value), ensure_ascii=False)
    text = json.dumps(value)
    # YAML 1.1 takes 5e-05 for text, and 5.0e-05 for a number.
    return text.replace("e", ".0e") if re.fullmatch(r"-?\d+e.*", text) else text


def _model_table(evaluation: Evaluation, settings: Mapping[str, Any], folder: Path) -> Table:
    """Return what the model is, and what it was trained on."""
    training, factors, counts = evaluation.training, evaluation.factors, evaluation.n_tracks
    entry, procedure = (
        REGISTRY.get(split_key(evaluation.model)[0]),
        PROCEDURES.get(settings.get("procedure", "")),
    )
    fit = ", ".join(f"{name} {value}" for name, value in (factors.config or {}).items())
    packages = read_json(folder / ENVIRONMENT_FILE)["packages"] if is_file(folder / ENVIRONMENT_FILE) else {}
    rows = {
        "model": f"{evaluation.model}: {entry.summary}" if entry else evaluation.model,
        "input": procedure.takes.value if procedure and procedure.takes else "",
        "output": f"{factors.n_factors} factors, scaled by {factors.scaling}",
        "trainable parameters": f"{training.parameters:,}" if training.parameters else "",
        "factors": f"{factors.name}, protocol {factors.protocol}{f': {fit}' if fit else ''}",
        "train tracks": f"{training.n_train_tracks:,} of {counts.train:,} with factors",
        "validation and test tracks": f"{counts.validation:,} and {counts.test:,}",
        "playlists": f"{evaluation.n_playlists:,}",
        "epochs": f"{training.epochs}, weights of epoch {training.best_epoch} by {training.monitor}"
        if training.epochs
        else "",
        "training": "; ".join(training.notes),
        "seed": str(evaluation.seed),
        "data": _digest(settings),
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items() if version),
    }
    return _text_table({name: text for name, text in rows.items() if text}, "property")


def _groups(evaluation: Evaluation) -> Iterator[str]:
    """Yield overlap and nDCG of each group of test tracks with intervals, next to random factors."""
    record = evaluation.groups
    if record is None or MODEL not in record.predictors:
        return
    titles = {"overlap": TITLES[record.kind], "ndcg": "nDCG"}
    columns = tuple(
        Column(header, f"{measure}_{name}")
        for measure, title in titles.items()
        for name, header in (("model", f"{title}, k = {record.k}"), ("random", "random factors"))
    )
    rows = []
    for by, sizes in record.sizes.items():
        for size in sizes:
            cells: list[Cell | None] = []
            for measure in titles:
                for predictor in (MODEL, RANDOM):
                    mean = find_group(evaluation, predictor, measure, by, size.group)
                    cells.append(_mean_cell(mean) if mean else None)
            name = f"{name_group(by, size.group)} ({count(size.n, 'track')})"
            rows.append(Row(name, (), tuple(cells)))
    yield "## For whom"
    yield to_markdown_table(Table("", columns, tuple(rows), (), "test tracks").without_empty_columns())
    yield (
        "In %, with 95 % intervals. Popularity: quarters of the test tracks by their number of playlists. Known "
        "artists have train tracks."
    )


def find_group(
    evaluation: Evaluation, predictor: str, measure: str, by: str, group: object
) -> GroupMean | None:
    """Return a predictor's mean for one group of test tracks; None if it was not measured."""
    assert evaluation.groups is not None
    means = evaluation.groups.predictors.get(predictor, {}).get(measure, {}).get(by, ())
    return next((one for one in means if one.group == group), None)


def _mean_cell(mean: GroupMean) -> Cell:
    if mean.low is None or mean.high is None:
        return Cell(format_share(mean.mean), mean.mean)
    return interval_cell(mean.mean, mean.low, mean.high)


def _limits(group: Group, settings: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield a sentence for each limit that the files of the run show."""
    evaluation = group.first
    n_test, n_known, n_unnamed = (
        evaluation.n_tracks.test,
        evaluation.n_known_artists,
        evaluation.n_unknown_artists,
    )
    if n_known is not None and n_known + (n_unnamed or 0) == n_test:
        yield "New artists: no test track is known to be by an artist without train tracks."
    yield from _weak_groups(evaluation)
    for kind in available_kinds(group):
        first = evaluation.overlap[kind][0]
        for p, what in (
            (first.p_value, "above chance"),
            (first.p_beyond_artist, "beyond artist recognition"),
        ):
            if p is not None and p >= ALPHA:
                yield f"{TITLES[kind]}: not significantly {what} (p = {format_p(p)})."
    genres = evaluation.training.classifier.genres if evaluation.training.classifier else {}
    if genres:
        yield f"Genres other than {', '.join(sorted(genres))}: the classifier had no train tracks of any other."
    yield from _audio_limits(settings, folder)
    r2 = evaluation.losses.test.r2
    if r2 is not None:
        yield (
            "As a replacement for factors of tracks that have interactions: R² of the predictions on test tracks "
            f"is {r2:.3f}."
        )
    unused = evaluation.left_out
    if unused.recordings:
        yield f"Recordings that cannot be decoded: {len(unused.recordings):,} of the dataset were left out."
    if unused.n_tracks_without_interactions:
        yield (
            f"Tracks that nobody plays: {unused.n_tracks_without_interactions:,} without interactions were neither "
            "trained on nor evaluated."
        )
    yield (
        f"With other factors than {evaluation.factors.name} of data {_digest(settings)}: predictions are of that "
        "space alone, and a new fit makes a new space."
    )


def _weak_groups(evaluation: Evaluation) -> Iterator[str]:
    """Yield the groups whose overlap is not above that of random factors."""
    record = evaluation.groups
    for by, sizes in record.sizes.items() if record else ():
        for size in sizes:
            own = find_group(evaluation, MODEL, "overlap", by, size.group)
            random = find_group(evaluation, RANDOM, "overlap", by, size.group)
            if own and random and own.low is not None and own.low <= random.mean:
                yield (
                    f"Tracks of the group {name_group(by, size.group)}: overlap {format_share(own.mean)} %, "
                    f"with an interval that includes the {format_share(random.mean)} % of random factors."
                )


def _audio_limits(settings: Mapping[str, Any], folder: Path) -> Iterator[str]:
    procedure = PROCEDURES.get(settings.get("procedure", ""))
    if procedure is None or not procedure.takes_audio or not is_file(folder / SIGNATURE_FILE):
        return
    audio = AudioConfig(**SignatureRecord.read(folder).audio)
    frames = settings.get("sequence", {}).get("frames")
    if frames and not procedure.pools_over_time:
        seconds = frames * audio.hop_length / audio.sample_rate
        yield f"Recordings shorter than {seconds:.1f} s, one sequence: the rest of the input is zeros."
    rate = audio.sample_rate
    yield f"For what sounds above {rate / 2:,.0f} Hz: recordings are resampled to {rate:,} Hz."


def _digest(settings: Mapping[str, Any]) -> str:
    return str(settings["data_digest"])[:10]


def _usage(folder: Path, settings: Mapping[str, Any]) -> str:
    if "members" in settings:
        return (
            f"An ensemble has no model of its own; its members: {', '.join(map(str, settings['members']))}."
        )
    lines = ["import cs_keras as cs", "", f"run = cs.load_run({json.dumps(folder.name)})"]
    lines += ['factors = run.predict(["recording.mp3"]).factors', 'tracks = run.recommend("recording.mp3")']
    lines += (
        [f"model = run.model  # {MODEL_FILE}, as by cs.load_model"] if is_file(folder / MODEL_FILE) else []
    )
    return "```python\n" + "\n".join(lines) + "\n```"


def _text_table(rows: Mapping[str, str], stub: str) -> Table:
    cells = (Row(name, (), (Cell(text, None, remark=text),)) for name, text in rows.items())
    return Table("", (Column("value", "value", align="left"),), tuple(cells), (), stub)
