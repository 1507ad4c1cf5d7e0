"""``cs-keras factors --select``, as a user runs it."""

from pathlib import Path

import pytest

from cs_keras.factors.store import load_factors
from tests.command_line import run
from tests.pipelines.planted import RANK, draw_interactions, write_planted

SEARCH = ("--select", "--ranks", f"4,{RANK}", "--alphas", 5, "--regularizations", "1,10", "--iterations", 3)


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    write_planted(tmp_path / "planted", draw_interactions(150))
    return tmp_path / "planted"


def test_select_prints_a_table_and_makes_what_it_recommends(
    planted: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    interactions, folder = planted.parent / "listening.csv", planted / "factors"
    assert (
        run("factors", interactions, planted, "--name", "sel", "--max-settings", 3, "--seed", 2, *SEARCH) == 0
    )
    printed = capfd.readouterr().out
    assert "Recommended: " in printed and "of 3 settings" in printed
    assert "factors 'sel' fitted by the strict protocol" in printed
    factors = load_factors(folder / "sel.npz")
    assert factors.config is not None and factors.config["seed"] == 2
    assert f"Recommended: {factors.config['factors']} factors" in printed
    assert "ceiling" in factors.quality
    kept = {path: path.stat().st_mtime_ns for path in (folder / "selection" / "measured").iterdir()}
    assert len(kept) == 3
    assert run("factors", interactions, planted, "--name", "sel", "--seed", 2, "--average", 2, *SEARCH) == 0
    assert "Means of 2 seeds agree on" in capfd.readouterr().out
    assert len(list((folder / "selection" / "measured").iterdir())) == 5
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (folder / "selection" / "sel.md").read_text().startswith("# Selection of factor settings")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ranks", "8"), "--ranks needs --select"),
        (("--average", 2), "--average needs --select"),
        (("--iterations", "3,5"), "Several --iterations need --select"),
        (("--select", "--alpha", 3), "With --select give the values to try by --alphas"),
        (("--select", "--n-factors", 3), "With --select give the values to try by --ranks"),
        (("--select", "--ranks", "8,x"), "Expected whole numbers separated by commas. Received: '8,x'"),
        (("--select", "--alphas", ""), "Expected numbers separated by commas. Received: ''"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    planted: Path, arguments: tuple[object, ...], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("factors", planted.parent / "listening.csv", planted, *arguments) == 2
    error = " ".join(capfd.readouterr().err.split())
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ranks", "8,8"), "factors must have one value to try, or several that differ. Received: (8, 8)."),
        (("--alphas", "-1"), "alpha must be a finite number above 0. Received: -1.0."),
        (("--max-settings", 0), "At least one setting must be tried. Received: 0."),
        (("--seeds", 1), "Agreement needs at least 2 seeds. Received: 1."),
    ],
)
def test_bad_searches_get_a_sentence(
    planted: Path, arguments: tuple[object, ...], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("factors", planted.parent / "listening.csv", planted, "--select", *arguments) == 1
    assert capfd.readouterr().err == f"Error: {message}\n"


def test_ready_made_factors_cannot_be_searched(planted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("factors", planted, "--from-npz", planted / "x.npz", "--select") == 2
    assert "it cannot be combined with --from-npz" in capfd.readouterr().err


def test_one_fit_as_before(planted: Path) -> None:
    arguments = (
        planted.parent / "listening.csv",
        planted,
        "--n-factors",
        4,
        "--iterations",
        2,
        "--no-ceiling",
    )
    assert run("factors", *arguments) == 0
    factors = load_factors(planted / "factors" / "wmf.npz")
    assert factors.config == {
        "factors": 4,
        "alpha": 40.0,
        "regularization": 0.01,
        "iterations": 2,
        "seed": 0,
        "weight": "count",
        "items": "dataset",
        "targets": "cross-fitted",
    }
