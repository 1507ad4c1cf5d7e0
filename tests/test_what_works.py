"""The best of each family is what was measured."""

import dataclasses

import pytest

from benchmarks.what_works import STEPS
from cs_keras import config
from cs_keras.models import get_baseline

BEST = {"cnn-bn": "cnn-best", "lstm": "lstm-best", "choi-features": "choi-best", "triplet": "triplet-best"}


@pytest.mark.parametrize("key", STEPS)
def test_the_last_step_is_the_best_of_its_family(key):
    last = list(STEPS[key].values())[-1]
    measured = config.replace(get_baseline(key), config.parse_overrides(last))
    assert dataclasses.replace(measured, key=BEST[key]) == get_baseline(BEST[key])


@pytest.mark.parametrize("key", STEPS)
def test_every_step_is_a_setting_and_the_first_is_none(key):
    first, *others = STEPS[key].values()
    assert first == () and len(set(others)) == len(others)
    for step in others:
        config.replace(get_baseline(key), config.parse_overrides(step))
