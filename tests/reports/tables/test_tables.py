from pathlib import Path

import pytest

from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections
from reports.tables.cells.table import Cell, Row, Section, Table
from tests.reports.conftest import MakeRun


def only_section(folder: Path) -> Section:
    (section,) = make_sections(collect_runs(folder))
    return section


def table_of(folder: Path, title: str) -> Table:
    return next(table for table in only_section(folder).tables if table.title == title)


def row_of(table: Table, name: str) -> Row:
    return next(row for row in table.rows if row.name == name)


def cell_of(table: Table, name: str, key: str) -> Cell | None:
    return dict(zip((column.key for column in table.columns), row_of(table, name).cells, strict=True))[key]


def test_each_section_holds_these_tables(runs: Path, make_run: MakeRun) -> None:
    make_run()
    titles = [table.title for table in only_section(runs).tables]
    assert titles == [
        "Overlap at k = 5",
        "Gap ladder by similarity, artist-filtered",
        "Gap ladder by dot product",
        "Training",
        "Overlap by similarity, artist-filtered",
        "Overlap by similarity",
        "Overlap by dot product",
        "Overlap by dot product, one track per artist",
        "Overlap by dot product, popularity-centred",
        "Ranking metrics on held-out interactions",
        "Beyond accuracy, k = 5",
        "Lists with less hubness, k = 5",
        "Cohesion and diversity, k = 5",
        "Overlap by similarity per track group, artist-filtered, k = 5",
        "nDCG per track group, k = 5",
    ]
    make_run("2024-05-01-bot-0123456789", model="bot")
    several = [table.title for table in only_section(runs).tables]
    assert several == [*titles, "Against the best model"]


def test_without_playlists_there_is_nothing_of_theirs(make_run: MakeRun) -> None:
    titles = [table.title for table in only_section(make_run(n_playlists=0)).tables]
    assert titles == [
        "Overlap at k = 5",
        "Gap ladder by similarity, artist-filtered",
        "Training",
        "Overlap by similarity, artist-filtered",
        "Overlap by similarity",
        "Beyond accuracy, k = 5",
        "Lists with less hubness, k = 5",
        "Cohesion and diversity, k = 5",
        "Overlap by similarity per track group, artist-filtered, k = 5",
    ]


def test_rows_begin_with_reference_predictors(make_run: MakeRun) -> None:
    run = make_run()
    titles = ("Training", "Overlap by similarity", "Overlap by dot product")
    tables = [table_of(run, title) for title in titles]
    assert [[row.name for row in table.rows] for table in tables] == [
        ["mean predictor", "cnn"],
        ["chance", "random factors", "artist mean (unshrunk)", "refit ceiling", "cnn"],
        [
            "chance",
            "random factors",
            "popularity ranking (oracle)",
            "artist mean (unshrunk)",
            "refit ceiling",
            "cnn",
        ],
    ]
    for table in tables:
        *others, model = table.rows
        assert model.rule_above and not any(row.rule_above for row in others)


def test_overlap_is_a_percentage_with_interval_mark_and_p(make_run: MakeRun) -> None:
    cell = cell_of(table_of(make_run(noise=0), "Overlap by similarity"), "cnn", "overlap@5")
    assert cell == Cell("100.0", 1.0, marks="*", detail="[100.0, 100.0]", low=1.0, high=1.0, p=0.005)


def test_the_interval_is_as_measured(make_run: MakeRun) -> None:
    cell = cell_of(table_of(make_run(), "Overlap by similarity"), "cnn", "overlap@5")
    assert cell is not None and cell.low is not None and cell.high is not None and cell.low < cell.high
    assert cell.detail == f"[{100 * cell.low:.1f}, {100 * cell.high:.1f}]"


def test_chance_is_k_of_the_candidates(make_run: MakeRun) -> None:
    run = make_run(n_tracks=101)
    similarity = cell_of(table_of(run, "Overlap by similarity"), "chance", "overlap@5")
    dot = cell_of(table_of(run, "Overlap by dot product"), "chance", "overlap@5")
    assert similarity is not None and similarity.value == 5 / 100 and similarity.text == "5.0"
    assert dot is not None and dot.value == 5 / 101 and dot.detail.startswith("± ")


def test_small_overlaps_keep_the_digits_that_differ_from_chance(make_run: MakeRun) -> None:
    table = table_of(make_run(n_tracks=1201, ks=(1, 100)), "Overlap by similarity")
    chance = [cell_of(table, "chance", key) for key in ("overlap@1", "overlap@100")]
    assert [cell.text for cell in chance if cell] == ["0.083", "8.3"]


def test_overlap_not_significantly_above_chance_has_no_mark(make_run: MakeRun) -> None:
    cell = cell_of(table_of(make_run(noise=1e6), "Overlap by similarity"), "random factors", "overlap@5")
    assert cell is not None and cell.p is not None and cell.p >= 0.01 and cell.marks == ""


def test_lists_longer_than_the_candidates_are_not_available(make_run: MakeRun) -> None:
    table = table_of(make_run(ks=(5, 60)), "Overlap by similarity")
    assert "overlap@60" not in {column.key for column in table.columns}
    assert any("there are 59" in note for note in table.notes)
    assert "Not shown, because no row has a value: k = 60." in table.notes
    dot = table_of(make_run("2024-05-01-cnn-0000000000", ks=(5, 60)), "Overlap by dot product")
    assert None not in [cell_of(dot, row.name, "overlap@60") for row in dot.rows]
    assert not any(note.startswith("Not shown") for note in dot.notes)


def test_one_test_track_has_nothing_to_be_similar_to(make_run: MakeRun) -> None:
    run = make_run(n_tracks=1, ks=(1, 10))
    assert "Overlap by similarity" not in {table.title for table in only_section(run).tables}
    dot = table_of(run, "Overlap by dot product")
    assert cell_of(dot, "cnn", "overlap@1") and "overlap@10" not in {column.key for column in dot.columns}
    training = table_of(run, "Training")
    assert "r2_test" not in {column.key for column in training.columns}
    assert any(note.startswith("No R²") for note in training.notes)


def test_tied_lists_are_marked_and_explained(make_run: MakeRun) -> None:
    run = make_run()
    cell = cell_of(table_of(run, "Overlap by similarity"), "cnn", "overlap@5")
    assert cell is not None and cell.marks == "*"
    path = run / "evaluation.json"
    path.write_text(path.read_text().replace('"flagged": false', '"flagged": true'))
    table = table_of(run, "Overlap by similarity")
    cell = cell_of(table, "cnn", "overlap@5")
    assert cell is not None and cell.marks == "*†"
    assert sum(note.startswith("† More than 1%") for note in table.notes) == 1


def strong(table: Table) -> set[tuple[str, str]]:
    return {
        (row.name, column.key)
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
        if cell and cell.strong
    }


def test_the_best_of_several_models_is_strong(runs: Path, make_run: MakeRun) -> None:
    assert not strong(table_of(make_run(noise=0.5, ks=(5, 10)), "Training"))
    make_run("2024-05-01-bot-0123456789", model="bot", noise=0.1, ks=(5, 10))
    best = {"mse_validation", "mse_test", "r2_test", "cosine_distance_test"}
    assert strong(table_of(runs, "Training")) == {("bot", key) for key in best}
    assert strong(table_of(runs, "Overlap by similarity")) == {("bot", "overlap@5"), ("bot", "overlap@10")}


def test_the_best_of_models_at_chance_is_not_strong(runs: Path, make_run: MakeRun) -> None:
    for model, seed in (("bot", 11), ("cnn", 12)):
        make_run(f"2024-05-01-{model}-0123456789", model=model, seed=seed, noise=1e6)
    table = table_of(runs, "Overlap by similarity")
    models = [row for row in table.rows if row.family]
    assert len(models) == 2
    assert all(cell.p is None or cell.p >= 0.01 for row in models for cell in row.cells if cell)
    assert not strong(table)


def test_tied_lists_are_not_strong(runs: Path, make_run: MakeRun) -> None:
    best = make_run("2024-05-01-bot-0123456789", model="bot", noise=0.1)
    make_run("2024-05-01-cnn-0123456789", noise=0.5)
    path = best / "evaluation.json"
    path.write_text(path.read_text().replace('"flagged": false', '"flagged": true'))
    assert {name for name, _ in strong(table_of(runs, "Overlap by similarity"))} == {"cnn"}


def test_families_are_shown_for_many_models(runs: Path, make_run: MakeRun) -> None:
    for model in ("bot", "cnn", "cnn-bn", "lstm"):
        make_run(f"2024-05-01-{model}-0123456789", model=model)
    assert not any(row.heading for table in only_section(runs).tables for row in table.rows)
    make_run("2024-05-01-bot-wide-0123456789", model="bot-wide")
    for table in only_section(runs).tables:
        if table.title.startswith("Gap ladder"):  # whose order is that of its numbers
            continue
        divided = [(row.name, row.heading) for row in table.rows if row.family and row.rule_above]
        assert divided == [
            ("bot", "Bag of Tones"),
            ("cnn", "Convolutional networks"),
            ("lstm", "Recurrent networks"),
        ]


def test_notes_of_runs_are_shown_once(runs: Path, make_run: MakeRun) -> None:
    for model in ("choi", "choi-60s", "bot"):
        notes = ["frozen convolutions are random: no weights were given"] if model != "bot" else []
        make_run(f"2024-05-01-{model}-0123456789", model=model, training={"notes": notes})
    found = [note for note in table_of(runs, "Training").notes if "random: no" in note]
    assert found == ["choi, choi-60s: frozen convolutions are random: no weights were given."]


def test_train_tracks_are_shown_where_only_some_were_used(make_run: MakeRun) -> None:
    run = make_run()
    assert "n_train_tracks" not in [column.key for column in table_of(run, "Training").columns]
    path = run / "evaluation.json"
    path.write_text(path.read_text().replace('"n_train_tracks": 300', '"n_train_tracks": 30'))
    cell = cell_of(table_of(run, "Training"), "cnn", "n_train_tracks")
    assert cell is not None and cell.value == 30


def test_training_numbers_are_readable(make_run: MakeRun) -> None:
    table = table_of(make_run(), "Training")
    texts = {
        key: cell.text
        for key in ("parameters", "epochs", "best_epoch", "seconds")
        if (cell := cell_of(table, "cnn", key))
    }
    assert texts == {"parameters": "8,566,216", "epochs": "5", "best_epoch": "4", "seconds": "2:06"}


@pytest.mark.parametrize(
    ("value", "text"),
    [("0.00012345", "1.234e-04"), ("123456.0", "1.235e+05"), ("0.98765", "0.9877"), ("0.0", "0.0000")],
)
def test_losses_keep_their_digits(make_run: MakeRun, value: str, text: str) -> None:
    run = make_run(noise=0)
    path = run / "evaluation.json"
    path.write_text(path.read_text().replace('"mse": 0.0', f'"mse": {value}'))
    cell = cell_of(table_of(run, "Training"), "cnn", "mse_test")
    assert cell is not None and (cell.text, cell.value) == (text, float(value))


def test_notes_say_what_was_measured_on_what(make_run: MakeRun) -> None:
    section = only_section(make_run())
    text = " ".join(section.notes)
    for part in (
        "60 test",
        "Playlists: 20",
        "wmf",
        "6 dimensions",
        "alpha 40.0",
        "regularization 0.01",
        "strict",
    ):
        assert part in text
    found = {table.title: " ".join(table.notes) for table in section.tables}
    similarity, dot = found["Overlap by similarity"], found["Overlap by dot product"]
    for part in (
        "cosine similarity",
        "60 of 60 test tracks; 59 candidate tracks",
        "95% interval over artists",
        "(1 + 199)",
        "are by the query's own artist",
    ):
        assert part in similarity
    for part in ("dot product", "20 of 20 playlists; 60 candidate tracks", "Popularity ranking (oracle)"):
        assert part in dot


def test_sections_of_several_groups_are_numbered(runs: Path, make_run: MakeRun) -> None:
    make_run("2024-05-01-cnn-0123456789", data="b" * 64)
    make_run("2024-05-01-cnn-0123456780", data="a" * 64)
    headings = [section.heading for section in make_sections(collect_runs(runs))]
    assert [heading[:18] for heading in headings] == ["1. Data aaaaaaaaaa", "2. Data bbbbbbbbbb"]
