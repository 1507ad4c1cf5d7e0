import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cs_keras.errors import CsKerasError, DataError, StorageError
from cs_keras.run_files.evaluation import Evaluation
from cs_keras.run_files.queries import read_queries
from cs_keras.runs import DONE, read_json, write_json, write_npz
from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections
from tests.reports.conftest import MakeRun


def labels(folder: Path, **arguments: Any) -> list[list[str]]:
    return [[run.label for run in group.runs] for group in collect_runs(folder, **arguments).groups]


def test_runs_are_in_the_requested_order_and_others_by_name(runs: Path, make_run: MakeRun) -> None:
    for model in ("lstm", "bot", "cnn", "another"):
        make_run(f"2024-05-01-{model}-0123456789", model=model)
    assert labels(runs) == [["another", "bot", "cnn", "lstm"]]
    assert labels(runs, models=("lstm", "cnn")) == [["lstm", "cnn", "another", "bot"]]


def test_a_run_folder_alone_is_read(make_run: MakeRun) -> None:
    assert labels(make_run()) == [["cnn"]]


def test_unfinished_runs_are_left_out_and_listed(runs: Path, make_run: MakeRun) -> None:
    make_run()
    partial = make_run("2024-05-01-lstm-0123456789.partial", model="lstm")
    undone = make_run("2024-05-02-bot-0123456789", model="bot")
    (undone / DONE).unlink()
    (runs / "notes").mkdir()
    collected = collect_runs(runs)
    assert [run.label for run in collected.groups[0].runs] == ["cnn"]
    assert collected.unfinished == (partial, undone)


@pytest.mark.parametrize(
    "other",
    [
        {"data": "e" * 64},
        {"settings": {"metric": "euclidean"}},
        {"settings": {"max_queries": 10}},
        {"ks": (5,)},
    ],
)
def test_runs_that_cannot_be_compared_are_apart(runs: Path, make_run: MakeRun, other: dict[str, Any]) -> None:
    make_run("2024-05-01-cnn-0123456789")
    make_run("2024-05-01-bot-0123456789", model="bot", **other)
    assert sorted(labels(runs)) == [["bot"], ["cnn"]]


def test_keys_of_later_versions_are_ignored(make_run: MakeRun) -> None:
    run = make_run()
    change(run, lambda evaluation: {**evaluation, "beyond": {"coverage": 0.5}})
    assert labels(run) == [["cnn"]]


def change(run: Path, edit: Callable[[dict[str, Any]], Any], name: str = "evaluation.json") -> None:
    write_json(run / name, edit(json.loads((run / name).read_text())))


def set_value(*path: Any, value: Any = None) -> Callable[[dict[str, Any]], Any]:
    """Return an edit that sets, or without a value deletes, the value at `path`."""

    def edit(content: dict[str, Any]) -> dict[str, Any]:
        inner: Any = content
        for key in path[:-1]:
            inner = inner[key]
        if value is None:
            del inner[path[-1]]
        else:
            inner[path[-1]] = value
        return content

    return edit


BROKEN = {
    "other version": (
        set_value("schema_version", value=5),
        "expected schema_version 1 or 2 or 3 or 4. Received: 5",
    ),
    "no version": (set_value("schema_version"), "expected schema_version 1 or 2 or 3 or 4. Received: None"),
    "no object": (lambda _: [1, 2], "expected schema_version 1 or 2 or 3 or 4"),
    "no losses": (set_value("losses"), "lacks losses"),
    "no test losses": (set_value("losses", "test"), "lacks losses.test"),
    "no p-value": (set_value("overlap", "similarity", 1, "p_value"), "lacks overlap.similarity.1.p_value"),
    "text for number": (
        set_value("training", "seconds", value="fast"),
        "training.seconds must be a finite number. Received: 'fast'",
    ),
    "fraction for count": (
        set_value("training", "epochs", value=1.5),
        "training.epochs must be a whole number",
    ),
    "truth for count": (set_value("seed", value=True), "seed must be a whole number"),
    "number beyond float": (
        set_value("losses", "test", "mse", value=10**400),
        "losses.test.mse must be a finite number",
    ),
    "list for object": (set_value("references", value=[]), "references must be an object"),
    "object for list": (set_value("overlap", "dot", value={"k": 1}), "overlap.dot must be a list"),
    "number for object": (set_value("overlap", "dot", 0, value=3), "overlap.dot.0 must be an object"),
    "number for text": (set_value("model", value=7), "model must be text"),
}


@pytest.mark.parametrize(("edit", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_evaluation_is_named(
    make_run: MakeRun, edit: Callable[[dict[str, Any]], Any], message: str
) -> None:
    run = make_run()
    change(run, edit)
    with pytest.raises(DataError) as caught:
        collect_runs(run)
    check_sentence(caught.value, run / "evaluation.json", message)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (set_value("data_digest"), "lacks data_digest"),
        (set_value("evaluation", "ks", value=[]), "evaluation.ks must be at least one list length"),
        (set_value("evaluation", "ks", value=["ten"]), "evaluation.ks.0 must be a whole number"),
        (lambda _: "settings", "must be an object"),
    ],
)
def test_broken_settings_are_named(
    make_run: MakeRun, edit: Callable[[dict[str, Any]], Any], message: str
) -> None:
    run = make_run()
    change(run, edit, "config.json")
    with pytest.raises(DataError) as caught:
        collect_runs(run)
    check_sentence(caught.value, run / "config.json", message)


@pytest.mark.parametrize("name", ["evaluation.json", "config.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "Cannot read"), (b'{"seed": ', "not valid JSON"), (b"\xff\xfe\x00", "not valid JSON")],
)
def test_an_unreadable_file_is_named(
    make_run: MakeRun, name: str, content: bytes | None, message: str
) -> None:
    run = make_run()
    (run / name).unlink()
    if content is not None:
        (run / name).write_bytes(content)
    with pytest.raises(StorageError) as caught:
        collect_runs(run)
    check_sentence(caught.value, run / name, message)


def test_not_a_number_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    path = run / "evaluation.json"
    path.write_text(path.read_text().replace("125.5", "NaN"))
    with pytest.raises(DataError, match="training.seconds must be a finite number. Received: nan"):
        collect_runs(run)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="There is no folder .*nowhere"):
        collect_runs(tmp_path / "nowhere")


def test_no_finished_run_is_an_error_that_counts_the_unfinished(runs: Path, make_run: MakeRun) -> None:
    with pytest.raises(DataError, match="no finished run.*Received: 0 unfinished"):
        collect_runs(runs)
    partial = make_run("2024-05-01-cnn-0123456789.partial")
    for folder in (runs, partial):
        with pytest.raises(DataError, match="no finished run.*Received: 1 unfinished"):
            collect_runs(folder)


def check_sentence(error: CsKerasError, path: Path, message: str) -> None:
    assert str(path) in str(error)
    assert message in str(error)
    assert "\n" not in str(error)


def test_an_unreadable_run_is_left_out_and_reported(runs: Path, make_run: MakeRun) -> None:
    make_run()
    broken = make_run("2024-05-02-bot-0123456789", model="bot")
    (broken / "config.json").write_text("")
    collected = collect_runs(runs)
    assert [run.label for run in collected.groups[0].runs] == ["cnn"]
    (reason,) = collected.left_out
    assert "bot-0123456789" in reason and "JSON" in reason


def test_what_was_left_out_is_counted_and_named(runs: Path, make_run: MakeRun) -> None:
    path = make_run() / "evaluation.json"
    evaluation = read_json(path)
    evaluation["left_out"] = {
        "recordings": [{"track_id": f"t{i:02}", "reason": "silent"} for i in range(12)],
        "n_tracks_without_interactions": 3,
        "n_unknown_tracks": 1234,
    }
    write_json(path, evaluation)
    notes = "\n".join(make_sections(collect_runs(runs))[0].notes)
    assert "unusable recordings: 12 (t00, t01, " in notes and "t09 and 2 more)" in notes
    assert "tracks without interactions: 3." in notes
    assert "interactions with 1,234 tracks not in the dataset." in notes


@pytest.mark.parametrize(("version", "popularity"), [(2, "one-ranking"), (3, "popularity-ranking")])
def test_runs_of_earlier_schemas_are_read_by_the_names_of_today(
    make_run: MakeRun, version: int, popularity: str
) -> None:
    """As a release before artist-filtered lists left it: two kinds, no artists, no sums, other names."""
    run = make_run()
    earlier = {"popularity-oracle": popularity}
    if version == 2:
        earlier |= {
            "refit-ceiling": "second-fit",
            "n_tracks_without_interactions": "n_tracks_without_listening",
        }
    content = json.dumps(read_json(run / "evaluation.json"))
    for name, old in earlier.items():
        content = content.replace(f'"{name}"', f'"{old}"')
    evaluation = json.loads(content) | {"schema_version": version}
    for overlaps in (evaluation["overlap"], evaluation["ladder"], *evaluation["references"].values()):
        for kind in ("filtered", "dot_per_artist", "dot_centred"):
            overlaps.pop(kind, None)
    for name in ("n_unknown_artists", "n_test_artists"):
        del evaluation[name]
    write_json(run / "evaluation.json", evaluation)
    arrays = dict(np.load(run / "queries.npz"))
    kept = {
        name: array
        for name, array in arrays.items()
        if name.startswith(("similarity", "dot@", "dot/", "ndcg"))
    }
    renamed = {}
    for name, array in kept.items():
        measure, _, predictor = name.partition("/")
        if predictor != "artists":
            renamed[f"{measure}/{earlier.get(predictor, predictor)}"] = array
    write_npz(run / "queries.npz", **renamed)
    own = Evaluation.read(run)
    queries = read_queries(run, own)
    assert queries is not None and queries.artists is None and queries.sums is None
    assert {"popularity-oracle", "refit-ceiling"} < set(own.references)
    for measure, kind in (("similarity@5", "similarity"), ("dot@5", "dot")):
        for name, overlaps in own.references.items():
            if kind in overlaps:
                assert queries.values[measure][name].mean() == overlaps[kind][0].overlap
    assert collect_runs(run).groups[0].first == own
