"""Tables of the complete evaluation hold what the functions of the evaluation return, called here directly."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from cs_keras.errors import DataError, StorageError
from cs_keras.evaluation.confidence import measure_confidence
from cs_keras.evaluation.ladder import gap_closed
from cs_keras.evaluation.ranking import rank_metrics
from cs_keras.evaluation.statistics.comparison import compare_all
from cs_keras.evaluation.statistics.jackknife import QuerySums, stack_seeds
from cs_keras.run_files.evaluation import Evaluation
from cs_keras.run_files.queries import read_queries
from cs_keras.runs import read_json, write_json
from reports.runs.collect import collect_runs
from reports.tables.cells.comparison import stored_values
from tests.command_line import drop_checksums
from tests.reports.conftest import MakeRun, make_evaluator, make_old
from tests.reports.tables.test_tables import cell_of, only_section, row_of, strong, table_of

KS = (5, 10, 100)


def shares(folder: Path, measure: str, predictor: str = "model") -> np.ndarray:
    k = 1 if measure.startswith("ndcg") else int(measure.partition("@")[2])
    return np.load(folder / "queries.npz")[f"{measure}/{predictor}"] / k


def sums(folder: Path, measure: str, predictor: str = "model") -> QuerySums:
    queries = read_queries(folder, Evaluation.read(folder))
    found = queries and stored_values(queries, measure, predictor)
    assert found
    return found


def test_the_ladder_rises_from_chance_to_the_reference(runs: Path, make_run: MakeRun) -> None:
    for model, noise in (("bot", 2.0), ("cnn", 0.7), ("lstm", 0.1)):
        folder = make_run(f"2024-05-01-{model}-0123456789", model=model, noise=noise)
    table = table_of(runs, "Gap ladder by similarity, artist-filtered")
    names = [row.name for row in table.rows]
    assert names[-1] == "reference" and names.index("chance") < names.index("bot") < names.index("cnn")
    assert names.index("cnn") < names.index("refit ceiling") < names.index("lstm")
    values = [cell_of(table, name, "overlap@5") for name in names]
    assert [cell.value for cell in values if cell] == sorted(cell.value for cell in values if cell)
    unfiltered = cell_of(table, "lstm", "similarity@5")
    assert unfiltered and unfiltered.value == pytest.approx(shares(folder, "similarity@5").mean())
    own, ceiling = (sums(folder, "filtered@5", name) for name in ("model", "refit-ceiling"))
    chance = cell_of(table, "chance", "overlap@5")
    assert chance and chance.value
    expected = gap_closed(own, chance.value, ceiling)
    cell = cell_of(table, "lstm", "gap_to_ceiling@5")
    assert (
        expected
        and cell
        and (cell.value, cell.low, cell.high)
        == (
            expected.share,
            expected.low,
            expected.high,
        )
    )
    assert cell_of(table, "lstm", "verdict").text == "above ceiling"  # type: ignore[union-attr]
    assert cell_of(table, "cnn", "verdict").text == "below ceiling"  # type: ignore[union-attr]
    assert cell_of(table, "random factors", "verdict").text == "chance"  # type: ignore[union-attr]


def test_several_seeds_widen_the_ladder(runs: Path, make_run: MakeRun) -> None:
    folders = [make_run(f"2024-05-01-cnn-{seed:010}", seed=seed, noise=2) for seed in range(3)]
    values = stack_seeds([sums(folder, "dot@5") for folder in folders])
    expected = gap_closed(values, 5 / 60, sums(folders[0], "dot@5", "refit-ceiling"))
    cell = cell_of(table_of(runs, "Gap ladder by dot product"), "cnn", "gap_to_ceiling@5")
    assert expected and cell and (cell.value, cell.low) == (expected.share, expected.low)


def test_ranking_is_that_of_the_evaluation(make_run: MakeRun) -> None:
    table = table_of(make_run(noise=0), "Ranking metrics on held-out interactions")
    own = make_evaluator(60, 20, KS, 0).reference
    expected = rank_metrics(own.own.playlists, own.own.items, own.interactions, ks=(5, 10)).means()
    for name in ("ndcg@5", "ndcg@10", "recall@5", "auc"):
        for row in ("cnn", "reference"):  # without noise they are the same
            cell = cell_of(table, row, name)
            assert cell is not None and cell.value == pytest.approx(expected[name], rel=1e-12)
    assert "recall@100" not in {column.key for column in table.columns}  # of 60 candidates
    assert any("protocol strict" in note and "held out" in note for note in table.notes)


def test_under_thesis_a_note_says_that_the_ranking_is_too_good(make_run: MakeRun) -> None:
    run = make_run()
    path = run / "evaluation.json"
    path.write_text(path.read_text().replace('"protocol": "strict"', '"protocol": "thesis"'))
    assert any("too good" in note for note in table_of(run, "Ranking metrics on held-out interactions").notes)


def test_dislikes_are_a_column_of_runs_whose_interactions_have_them(make_run: MakeRun) -> None:
    run, title, key = make_run(), "Ranking metrics on held-out interactions", "liked_above_disliked"
    assert key not in {column.key for column in table_of(run, title).columns}
    evaluation = read_json(run / "evaluation.json")
    for name, metrics in evaluation["ranking"]["predictors"].items():
        metrics[key] = {"mean": 0.61 if name == "model" else 0.5, "low": None, "high": None}
    write_json(run / "evaluation.json", evaluation)
    cell = cell_of(table_of(run, title), "cnn", key)
    assert cell is not None and (cell.text, cell.value) == ("61.0", 0.61)


def test_beyond_accuracy_is_compared_with_the_reference(make_run: MakeRun) -> None:
    table = table_of(make_run(noise=0), "Beyond accuracy, k = 5")
    for column in table.columns:
        assert cell_of(table, "cnn", column.key) == cell_of(table, "reference", column.key)
    one = cell_of(table, "popularity ranking (oracle)", "coverage")
    assert one is not None and one.value == 5 / 60
    assert cell_of(table, "popularity ranking (oracle)", "hubness") is None


def test_lists_with_less_hubness_are_compared_with_those_by_cosine(make_run: MakeRun) -> None:
    folder = make_run(noise=0.5)
    table = table_of(folder, "Lists with less hubness, k = 5")
    values = {column.key: cell_of(table, "cnn", column.key) for column in table.columns}
    assert list(values)[:4] == ["cosine_overlap", "cosine_hubness", "cosine_never_reached", "csls_gain"]
    numbers = {key: cell.value for key, cell in values.items() if cell and cell.value is not None}
    assert numbers.keys() == values.keys()
    assert numbers["cosine_overlap"] == pytest.approx(shares(folder, "filtered@5").mean())
    for score in ("csls", "mutual-proximity"):
        gain = read_json(folder / "evaluation.json")["hubness"]["scores"][score]["gain"]
        cell = values[f"{score}_gain"]
        assert cell and [cell.value, cell.low, cell.high] == [gain["mean"], gain["low"], gain["high"]]
        assert numbers[f"{score}_hubness"] < numbers["cosine_hubness"]
        assert cell_of(table, "reference", f"{score}_gain") is None
    assert cell_of(table, "reference", "cosine_hubness") is not None


def test_runs_without_lists_with_less_hubness_are_read(make_run: MakeRun) -> None:
    path = make_run() / "evaluation.json"
    evaluation = read_json(path)
    del evaluation["hubness"]
    write_json(path, evaluation)
    titles = [table.title for table in only_section(path.parents[1]).tables]
    assert "Beyond accuracy, k = 5" in titles and "Lists with less hubness, k = 5" not in titles


def test_cohesion_is_compared_with_the_reference(make_run: MakeRun) -> None:
    table = table_of(make_run(noise=0), "Cohesion and diversity, k = 5")
    assert [column.key for column in table.columns] == [
        "same_artist",
        "diversity",
    ]  # no genres are known
    for column in table.columns:
        assert cell_of(table, "cnn", column.key) == cell_of(table, "reference", column.key)
    random, own = (cell_of(table, name, "diversity") for name in ("random factors", "reference"))
    assert random and own and random.value is not None and own.value is not None and random.value > own.value
    assert cell_of(table, "popularity ranking (oracle)", "diversity") is None


def test_runs_without_cohesion_are_read(make_run: MakeRun) -> None:
    path = make_run() / "evaluation.json"
    evaluation = read_json(path)
    for own in evaluation["beyond_accuracy"]["predictors"].values():
        for name in ("shared_genre", "same_artist", "genre_entropy", "diversity"):
            own.pop(name, None)
    write_json(path, evaluation)
    titles = [table.title for table in only_section(path.parents[1]).tables]
    assert "Beyond accuracy, k = 5" in titles and "Cohesion and diversity, k = 5" not in titles


def test_groups_are_those_of_the_tracks(make_run: MakeRun) -> None:
    folder = make_run()
    table = table_of(folder, "Overlap by similarity per track group, artist-filtered, k = 5")
    labels = make_evaluator(60, 20, KS, 0).reference.groups["artist"]
    values = shares(folder, "filtered@5")
    for label in np.unique(labels):
        cell = cell_of(table, "cnn", f"overlap@5_artist_{label}")
        count = cell_of(table, "test tracks", f"overlap@5_artist_{label}")
        assert cell and cell.value == pytest.approx(values[labels == label].mean())
        assert cell.low is not None and cell.high is not None and cell.low < cell.value < cell.high
        assert count and count.value == np.count_nonzero(labels == label)
    assert [column.header for column in table.columns][-2:] == ["artist\nnew", "artist\nknown"]
    assert [column.header for column in table.columns][:2] == ["rarest\nquarter", "second"]


def test_differences_are_tested_and_corrected(runs: Path, make_run: MakeRun) -> None:
    noises = {"bot": 2.0, "cnn": 0.5, "lstm": 0.5}
    folders = {
        model: make_run(f"2024-05-01-{model}-0123456789", model=model, noise=noise, seed=i)
        for i, (model, noise) in enumerate(noises.items())
    }
    values = {model: sums(folder, "dot@5") for model, folder in folders.items()}
    best = max(values, key=lambda model: values[model].seed_means.mean())
    table = table_of(runs, "Against the best model")
    for one in compare_all(values):
        if best in (one.model, one.other):
            other = one.other if one.model == best else one.model
            cell = cell_of(table, other, "less_best_dot@5")
            assert cell is not None and cell.p == one.p_holm
            assert cell.value == pytest.approx(-abs(one.difference))
    cell = cell_of(table, "bot", "less_best_dot@5")
    assert cell is not None and cell.marks == "*" and cell.high is not None and cell.high < 0
    assert cell_of(table, best, "less_best_dot@5").text == "best"  # type: ignore[union-attr]
    alike = {name for name, key in strong(table_of(runs, "Overlap by dot product")) if key == "overlap@5"}
    assert alike == {"cnn", "lstm"}  # of one noise, and so not significantly different


def test_runs_summed_over_other_clusters_are_named(runs: Path, make_run: MakeRun) -> None:
    first, second = (
        make_run(f"2024-05-01-{model}-0123456789", model=model, noise=0.5, seed=0) for model in ("bot", "cnn")
    )
    drop_checksums(second)
    with np.load(second / "queries.npz") as file:
        arrays = dict(file)
    size = "sums/dot@5/n_tracks"
    arrays[size] = arrays[size][::-1] + np.eye(1, len(arrays[size]), dtype=np.int64)[0]
    np.savez(second / "queries.npz", **arrays)
    with pytest.raises(
        DataError, match=f"^{first}/queries.npz and {second}/queries.npz cannot be compared by dot@5"
    ):
        table_of(runs, "Against the best model")


def test_a_clear_winner_is_strong_alone(runs: Path, make_run: MakeRun) -> None:
    for model, noise in (("bot", 2.0), ("cnn", 0.1)):
        make_run(f"2024-05-01-{model}-0123456789", model=model, noise=noise)
    table = table_of(runs, "Overlap by dot product")
    assert {name for name, _ in strong(table)} == {"cnn"}
    assert any(
        note.startswith("Bold: the best of several models, and those not significantly different from it")
        for note in table.notes
    )


def test_runs_of_an_earlier_release_lack_rows_and_are_named(runs: Path, make_run: MakeRun) -> None:
    make_old(make_run("2024-05-01-bot-0123456789", model="bot", noise=0.1))
    make_run("2024-05-01-cnn-0123456789")
    section = only_section(runs)
    assert not {"Against the best model"} & {table.title for table in section.tables}
    for title in (
        "Gap ladder by dot product",
        "Ranking metrics on held-out interactions",
        "Beyond accuracy, k = 5",
    ):
        assert {row.name for row in table_of(runs, title).rows if row.family} == {"cnn"}
    overlap = table_of(runs, "Overlap by dot product")
    assert row_of(overlap, "bot").cells[0] and not strong(overlap)
    assert any("without values per query: bot" in note for note in overlap.notes)


def test_old_runs_alone_have_the_tables_they_had(make_run: MakeRun) -> None:
    run = make_run()
    make_old(run)
    section = only_section(run)
    titles = [table.title for table in section.tables]
    assert titles == ["Overlap at k = 5", "Training", "Overlap by similarity", "Overlap by dot product"]
    assert any(
        note.startswith("Runs of an earlier release were evaluated without artists") for note in section.notes
    )


def test_ready_made_factors_without_a_refit_have_no_ceiling(make_run: MakeRun) -> None:
    run = make_run()
    evaluation = read_json(run / "evaluation.json")
    del evaluation["references"]["refit-ceiling"]
    write_json(run / "evaluation.json", evaluation)
    table = table_of(run, "Gap ladder by dot product")
    assert [column.key for column in table.columns] == [
        "overlap@5",
        "dot_per_artist@5",
        "gap_to_reference@5",
        "verdict",
    ]
    assert cell_of(table, "cnn", "verdict").text == "above chance"  # type: ignore[union-attr]
    assert any(note.startswith("No ceiling:") for note in table.notes)


def test_damaged_values_of_queries_are_named(make_run: MakeRun) -> None:
    run = make_run()
    (run / "queries.npz").write_bytes(b"no zip")
    with pytest.raises(StorageError, match="queries.npz is not an npz file, or damaged"):
        collect_runs(run)


def test_agreement_of_the_factors_is_shown(make_run: MakeRun) -> None:
    run = make_run()
    evaluation = read_json(run / "evaluation.json")
    rows = [{"k": 10, "overlap": 0.4}]
    evaluation["factors"]["quality"] = {"ceiling": {"second_seed": {"similarity": rows, "dot": rows}}}
    write_json(run / "evaluation.json", evaluation)
    notes = only_section(run).notes
    sentence = "another seed agrees on 40.0% by similarity and 40.0% by dot product of the top 10"
    assert any(sentence in note for note in notes)
    assert any(note.startswith("Warning: another seed agrees on only 40.0%") for note in notes)


def test_models_that_predict_deviations_have_tables_of_their_confidence(make_run: MakeRun) -> None:
    random = np.random.default_rng(0)
    predicted, deviations = random.normal(size=(60, 6)), random.uniform(0.5, 1.5, (60, 6))
    reference = predicted + deviations * random.normal(size=predicted.shape)
    ids = [f"track {row}" for row in range(60)]
    record = measure_confidence(reference, predicted, deviations, np.arange(60) // 3, ids)
    folder = make_run()
    path = folder / "evaluation.json"
    write_json(path, {**read_json(path), "confidence": json.loads(msgspec.json.encode(record))})
    make_run("2024-05-01-bot-0123456789", model="bot")  # predicts none
    table = table_of(folder.parent, "Confidence of predictions")
    assert [row.name for row in table.rows] == ["cnn"]
    values = {column.key: cell for column, cell in zip(table.columns, table.rows[0].cells, strict=True)}
    assert record.rank_correlation is not None
    for key, value in (
        ("calibration_error", record.calibration_error),
        ("coverage_0.5", record.coverage[4].mean),
        ("coverage_0.9", record.coverage[8].mean),
        ("nll", record.nll),
        ("rank_correlation", record.rank_correlation.mean),
        ("error_most_certain", record.groups[0].error),
        ("error_least_certain", record.groups[-1].error),
    ):
        cell = values[key]
        assert cell is not None and cell.value == value
    hardest = table_of(folder.parent, "Least certain predictions of cnn")
    assert [row.name for row in hardest.rows] == [one.track_id for one in record.hardest]
