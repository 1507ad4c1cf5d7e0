"""How well attributes are estimated, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from cs_keras.data.attributes.columns import LabelColumn, NumericColumn
from cs_keras.data.attributes.encoding import fit_encoding
from cs_keras.data.attributes.table import make_table
from cs_keras.evaluation.labels.attribute_estimates import measure_estimates

N = 60
IDS = [f"t{n}" for n in range(N)]


def test_means_are_those_of_scikit_learns_measures():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(N, 3)).astype(np.float32)
    numbers[:20, 1] = np.nan
    numbers[:, 2] = 7  # which does not vary
    words = rng.choice(["a", "b", "c"], N).tolist()
    columns = {"x": NumericColumn(numbers), "y": LabelColumn(tuple((word,) for word in words))}
    table = make_table(IDS, columns, "table")
    encoding = fit_encoding(table, 1000)
    truth = encoding.encode(table)
    assert truth.shape == (N, 3 + 1 + 3)  # an indicator next to the second number
    guess = (truth + rng.normal(size=truth.shape)).astype(np.float32).round(1)  # with ties
    found = measure_estimates(encoding, table, guess)
    has = ~np.isnan(numbers[:, 1])
    r2 = [r2_score(truth[:, 0], guess[:, 0]), r2_score(truth[has, 1], guess[has, 1])]
    auc = [roc_auc_score(truth[:, 4 + n], guess[:, 4 + n]) for n in range(3)]
    assert found.r2 == pytest.approx(np.mean(r2)) and found.n_numbers == 2
    assert found.auc == pytest.approx(np.mean(auc)) and found.n_labels == 3


def test_constant_attributes_are_not_evaluated():
    columns = {"x": NumericColumn(np.arange(N, dtype=np.float32)[:, None]), "y": LabelColumn((("a",),) * N)}
    table = make_table(IDS, columns, "table")
    encoding = fit_encoding(table, 1000)
    one = table.take(np.array([3, 3]))
    found = measure_estimates(encoding, one, np.zeros((2, 2), np.float32))
    assert (found.r2, found.n_numbers, found.auc, found.n_labels) == (None, 0, None, 0)
