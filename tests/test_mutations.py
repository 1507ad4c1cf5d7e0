"""Cases of `tests.mutations`: few in `make test`, hundreds in `make test-slow`, thousands by its command."""

from pathlib import Path

import pytest

from tests.conftest import TrainDemo
from tests.mutations import Cases, make_inputs

pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def cases(demo: Path, train_demo: TrainDemo, tmp_path_factory: pytest.TempPathFactory) -> Cases:
    inputs = tmp_path_factory.mktemp("mutations") / "inputs"
    make_inputs(inputs, demo, train_demo("cnn-bn"))
    return Cases(inputs)


@pytest.mark.parametrize(
    "numbers", [range(150), pytest.param(range(150, 800), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_a_changed_file_never_ends_in_a_traceback_a_hang_or_another_result(
    cases: Cases, numbers: range
) -> None:
    outcomes = [cases.run(number) for number in numbers]
    defects = [one for one in outcomes if one.defect]
    assert not defects, "\n".join(
        f"{one.case}: {one.scenario}, {one.change}\n{one.defect}" for one in defects
    )
    assert {one.result for one in outcomes} == {"same", "other", "refused"}
