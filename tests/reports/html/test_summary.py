import json
from pathlib import Path
from typing import Any

import pytest

from reports.commands.best_model import find_best_model
from reports.runs.collect import Group, collect_runs
from tests.reports.conftest import MakeRun

K = 5


def change(run: Path, **changes: Any) -> None:
    """Change the similarity at the shortest list length."""
    path = run / "evaluation.json"
    content = json.loads(path.read_text())
    content["overlap"]["similarity"][0].update(changes)
    path.write_text(json.dumps(content))


def give_ceiling(run: Path, overlap: float) -> None:
    path = run / "evaluation.json"
    content = json.loads(path.read_text())
    ceiling = {**content["overlap"]["similarity"][0], "overlap": overlap, "low": overlap, "high": overlap}
    content["references"]["refit-ceiling"] = {"similarity": [ceiling]}
    path.write_text(json.dumps(content))


@pytest.fixture
def group(make_run: MakeRun, runs: Path) -> Group:
    """Two models at 30 and 40 % where chance is 10 % and the ceiling 70 %."""
    for model, overlap in (("cnn", 0.3), ("lstm", 0.4)):
        run = make_run(f"2024-05-01-{model}-0123456789", model=model)
        change(run, overlap=overlap, low=overlap - 0.1, high=overlap + 0.1, chance=0.1, p_value=0.02)
        give_ceiling(run, 0.7)
    return collect_runs(runs).groups[0]


def test_the_best_model_is_compared_with_chance_and_ceiling(group: Group) -> None:
    found = find_best_model(group, "similarity")
    assert found and found.best.name == "lstm" and found.best.k == K
    assert found.gap_closed == pytest.approx((0.4 - 0.1) / (0.7 - 0.1))
    assert found.p == pytest.approx(0.04) and found.is_significant  # 0.02 for each of two models


def test_correction_can_take_significance_away(group: Group, make_run: MakeRun, runs: Path) -> None:
    change(make_run("2024-05-01-bot-0123456789", model="bot"), overlap=0.2, low=0.1, high=0.3)
    found = find_best_model(collect_runs(runs).groups[0], "similarity")
    assert found and found.p == pytest.approx(0.06) and not found.is_significant


def test_tied_lists_are_no_best_model(runs: Path, make_run: MakeRun) -> None:
    change(make_run(ks=(K,), noise=0.1), flagged=True)
    group = collect_runs(runs).groups[0]
    assert find_best_model(group, "similarity") is None and find_best_model(group, "dot") is not None


def test_without_a_refit_it_says_so(make_run: MakeRun, runs: Path) -> None:
    path = make_run(n_playlists=0) / "evaluation.json"
    content = json.loads(path.read_text())
    content["references"].pop("refit-ceiling", None)
    path.write_text(json.dumps(content))
    (group,) = collect_runs(runs).groups
    found = find_best_model(group, "similarity")
    assert found and found.gap_closed is None


def test_a_reference_predictor_that_does_as_well_is_named(make_run: MakeRun, runs: Path) -> None:
    run = make_run()
    for overlap in (0.2, 0.01):
        change(run, overlap=overlap, low=0.0, high=0.3)
        found = find_best_model(collect_runs(runs).groups[0], "similarity")
        assert found and found.rival and found.rival.value >= found.best.low
