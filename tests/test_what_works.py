"""The rows of docs/what-works.md are settings of baselines, each another one."""

import pytest

from benchmarks.what_works import TABLES
from cs_keras import config
from cs_keras.models import get_baseline


@pytest.mark.parametrize("table", TABLES)
def test_every_row_is_a_setting_of_its_own(table):
    rows = [
        config.replace(get_baseline(key), config.parse_overrides(sets))
        for key, sets in TABLES[table].values()
    ]
    assert all(row not in rows[:number] for number, row in enumerate(rows))
