"""Pooled p-values: those of permutations within folds, combined."""

import numpy as np
import pytest
from scipy import stats

from cs_keras.evaluation.search.topk import top_k_similar
from cs_keras.evaluation.statistics.permutation_test import permutation_test
from pipelines.evaluation.pooled import combine_p_values


def test_p_values_are_combined_by_stouffers_method() -> None:
    p_values, n_queries = [0.03, 0.4, 0.001], [30, 100, 55]
    expected = stats.combine_pvalues(p_values, method="stouffer", weights=np.sqrt(n_queries)).pvalue
    assert combine_p_values(p_values, n_queries) == pytest.approx(expected)
    assert combine_p_values([0.2], [7]) == pytest.approx(0.2)
    assert combine_p_values([1.0, 0.001], [1, 1]) == 1.0


@pytest.mark.slow
def test_predictions_without_information_are_as_rarely_significant_as_they_should_be() -> None:
    random = np.random.default_rng(0)
    p_values = []
    for _ in range(400):
        folds = []
        for n_tracks in (20, 30, 25):
            lists = [top_k_similar(random.standard_normal((n_tracks, 4)), 5) for _ in range(2)]
            (test,) = permutation_test(*lists, (5,), n_permutations=99)["tracks"]
            folds.append(test.p_value)
        p_values.append(combine_p_values(folds, [20, 30, 25]))
    for level in (0.05, 0.2, 0.5):  # ties make the test conservative; two standard errors above the level
        assert np.mean(np.array(p_values) < level) < level + 2 * np.sqrt(level * (1 - level) / 400)
    assert np.mean(np.array(p_values) < 0.05) > 0.02
