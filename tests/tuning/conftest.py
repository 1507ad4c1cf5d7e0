from collections.abc import Iterator

import pytest

from tests.tuning.processes import Company, company, free_address


@pytest.fixture
def processes() -> Iterator[Company]:
    with company() as started:
        yield started


@pytest.fixture
def address() -> str:
    return free_address()
