from pathlib import Path

import pytest

from cs_keras.models.thesis import THESIS
from reports.tables.cells.table import Table
from reports.tables.published import GROUP
from tests.reports.conftest import MakeRun
from tests.reports.tables.test_tables import row_of, table_of

KS = (10, 50, 100, 500)


def values(table: Table, name: str) -> dict[str, float | None]:
    """Return the reported numbers of a row, None where there is none."""
    cells = zip(table.columns, row_of(table, name).cells, strict=True)
    return {column.key: cell.value if cell else None for column, cell in cells if column.group == GROUP}


def texts(table: Table, name: str) -> list[str | None]:
    cells = zip(table.columns, row_of(table, name).cells, strict=True)
    return [cell.text + cell.marks if cell else None for column, cell in cells if column.group == GROUP]


def test_training_shows_published_and_measured_values(runs: Path, make_run: MakeRun) -> None:
    for model in ("bot", "choi-features", "xception-random"):
        make_run(f"2024-05-01-{model}-0123456789", model=model)
    table = table_of(runs, "Training")
    names = ("thesis_parameters", "thesis_mse_validation", "thesis_mse_test")
    assert values(table, "bot") == dict(zip(names, (6_401_224, 0.9603, 0.9598), strict=True))
    assert values(table, "xception-random") == dict(zip(names, (18_486_680, None, 0.9747), strict=True))
    assert values(table, "choi-features") == values(table, "mean predictor") == dict.fromkeys(names)
    assert "other tracks" in table.notes[-1]


@pytest.mark.parametrize(
    ("title", "chance", "bot", "cnn"),
    [
        (
            "Overlap by similarity",
            ["0.0882", "0.4412", "0.8825", "4.4123"],
            ["0.3784", "1.5497", "2.6008", "9.4746"],
            ["0.0192‡", "0.1529‡", "0.3241‡", "3.5417‡"],
        ),
        (
            "Overlap by dot product",
            ["0.0882", "0.4412", "0.8824", "4.4119"],
            ["1.2918", "4.8163", "7.4602", "16.3851"],
            ["0.0265‡", "0.3771‡", "0.8616‡", "4.3907‡"],
        ),
    ],
)
def test_published_overlaps_are_shown_with_their_chance(
    runs: Path, make_run: MakeRun, title: str, chance: list[str], bot: list[str], cnn: list[str]
) -> None:
    for model in ("bot", "cnn", "lstm"):
        make_run(f"2024-05-01-{model}-0123456789", model=model, ks=KS)
    table = table_of(runs, title)
    assert [texts(table, name) for name in ("chance", "bot", "cnn")] == [chance, bot, cnn]
    assert texts(table, "lstm") == texts(table, "random factors") == [None] * 4
    assert values(table, "bot")["thesis_overlap@10"] == pytest.approx(float(bot[0]) / 100)
    assert any(
        "0.088/0.44/0.88/4.41 % at n = 11,333" in note and "below it (‡)" in note for note in table.notes
    )


def test_only_list_lengths_that_were_measured_are_shown(make_run: MakeRun) -> None:
    table = table_of(make_run(model="bot", ks=(5, 50)), "Overlap by similarity")
    assert list(values(table, "bot")) == ["thesis_overlap@50"]


def test_where_nothing_was_reported_nothing_is_shown(make_run: MakeRun) -> None:
    run = make_run(model="choi-features", ks=KS)
    for title in ("Training", "Overlap by similarity", "Overlap by dot product"):
        table = table_of(run, title)
        assert not any(column.group for column in table.columns)
        assert not any("Thesis" in note for note in table.notes)


def test_every_key_of_the_thesis_is_shown(runs: Path, make_run: MakeRun) -> None:
    for model in THESIS:
        make_run(f"2024-05-01-{model}-0123456789", model=model, n_tracks=4, n_playlists=1, ks=(2,))
    table = table_of(runs, "Training")
    for model, reported in THESIS.items():
        numbers = (reported.parameters, reported.validation_loss, reported.test_loss)
        assert tuple(values(table, model).values()) == numbers


def test_ranking_is_shown_with_published_values_of_2013(runs: Path, make_run: MakeRun) -> None:
    for model in ("bot", "bot-linear", "dieleman-3s", "lstm"):
        make_run(f"2024-05-01-{model}-0123456789", model=model)
    for number, loss in enumerate(("wpe", "cosine")):
        others = {"training": {"loss": loss}}
        make_run(f"2024-05-01-dieleman-3s-{number:010}", model="dieleman-3s", others=others)
    table = table_of(runs, "Ranking metrics on held-out interactions").part("2013 (other data)")
    found = {row.name: [cell.text if cell else None for cell in row.cells] for row in table.rows}
    assert found == {  # mAP@500 and AUC of the subset, then of all songs
        "random factors": [None, None, "0.0150", "49.9"],
        "reference": [None, None, "23.3", "96.1"],
        "bot": ["2.54", "64.6", None, None],
        "bot-linear": ["2.39", "63.5", "0.101", "64.5"],
        "dieleman-3s": ["5.02", "71.0", "0.672", "77.2"],
        "dieleman-3s (training.loss=wpe)": ["4.32", "70.1", None, None],
    }
    notes = table_of(runs, "Ranking metrics on held-out interactions").notes
    assert any(note.startswith("2013: ") and "not comparable" in note for note in notes)


def test_without_a_model_of_2013_nothing_of_it_is_shown(runs: Path, make_run: MakeRun) -> None:
    make_run("2024-05-01-lstm-0123456789", model="lstm")
    table = table_of(runs, "Ranking metrics on held-out interactions")
    assert all(column.group == "" for column in table.columns)
