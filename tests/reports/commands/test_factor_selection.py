import dataclasses

from cs_keras.factors.selection import Averaging, Failure, Mean, Result, Selection, rank_results
from cs_keras.factors.wmf import WmfConfig
from reports.commands.factor_selection import make_selection_section
from reports.formats.files import write_selection
from reports.formats.markdown_csv import to_csv, to_markdown


def result(rank, ndcg, agreement, validation=None):
    mean = Mean(agreement, 0.004, 330)
    return Result(
        WmfConfig(rank, 10.0),
        Mean(ndcg, 0.01, 2000),
        Mean(0.4, 0.02, 2000),
        mean,
        mean,
        validation,
        None,
        65.0,
    )


def selection(results, **changes):
    ranked, n_eligible = rank_results(results)
    return Selection(ranked, n_eligible, (), n_seeds=2, n_train=331, n_validation=71, **changes)


def test_numbers_of_the_table_are_those_measured():
    found = selection(
        [result(32, 0.30, 0.5), result(16, 0.295, 0.7, Mean(0.9, 0.01, 70)), result(8, 0.2, 0.9)]
    )
    (table,) = make_selection_section(found).tables
    assert [row.heading for row in table.rows] == ["eligible", "", "others"]
    cells = dict(zip((column.key for column in table.columns), table.rows[0].cells, strict=True))
    shown = {key: cell and f"{cell.text} {cell.detail}".strip() for key, cell in cells.items()}
    assert shown == {
        "factors": "16",
        "alpha": "10",
        "regularization": "0.01",
        "iterations": "15",
        "ndcg@10": "29.5 ± 1.0",
        "recall@10": "40.0 ± 2.0",
        "seeds_train": "70.0 ± 0.4",
        "seeds_validation": "90.0 ± 1.0",
        "halves_train": "70.0 ± 0.4",
        "halves_validation": None,
        "seconds": "1:05",
    }
    assert "by chance 3.0 of 331 train tracks and 14.3 of 71 validation tracks" in table.notes[2]
    assert "0.295" in to_csv([make_selection_section(found)])


def test_conclusions_are_above_the_table():
    single, averaged = Mean(0.5, 0.01, 330), Mean(0.6, 0.01, 330)
    averaging = Averaging(4, single, averaged, 0.09, 0.11, None, None, single, averaged)
    found = selection([result(16, 0.3, 0.7), result(8, 0.2, 0.9)], averaging=averaging)
    notes = make_selection_section(found).notes
    assert notes == (
        found.describe(),
        "At the edge of the search space: factors. Values beyond it may be better.",
        averaging.describe(),
    )


def test_files_hold_all_settings_and_what_failed(tmp_path):
    found = selection([result(rank, 0.3, 0.7) for rank in range(1, 31)])
    found = dataclasses.replace(found, failures=(Failure(WmfConfig(99), "it cannot | be solved."),))
    (shown,) = make_selection_section(found).tables
    assert len(shown.rows) == 20 and "Not shown: 10 settings of lower rank." in shown.notes
    write_selection(tmp_path / "wmf.md", found)
    text = (tmp_path / "wmf.md").read_text()
    assert text == to_markdown([make_selection_section(found, None)])
    assert "| 30 " in text and "Not shown" not in text
    assert "Not fitted: 99 factors, alpha 40" in text and r"cannot \| be solved" in text
