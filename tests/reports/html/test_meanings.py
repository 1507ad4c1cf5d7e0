from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import r2_score

from cs_keras.data.schema import make_tracks
from cs_keras.factors.scaling import fit_scaler
from cs_keras.run_files.predictions import Predictions
from reports.html.factors import N_COUNTED, factors_table
from reports.html.spaces import Space
from tests.reports.html.runs_made import N_TRACKS, make_space

N_FACTORS = 25


@pytest.fixture
def space() -> Space:
    """Ascending values of factor 7 are those of the tracks' numbers; the last track has no interactions."""
    plain = make_space(tuple(f"Title {i}" for i in range(N_TRACKS)))
    rows = plain.tracks.table.to_pylist()
    for number, row in enumerate(rows):
        row["genres"] = ["low" if number < 15 else "mid" if number < 30 else "high"]
    factors = np.random.default_rng(0).standard_normal((N_TRACKS, N_FACTORS)).astype(np.float32)
    factors[:, 7] = np.arange(N_TRACKS)
    changed = {"item_factors": factors, "scaler": fit_scaler("standardize", factors[:-1])}
    made = Space(make_tracks(rows), plain.factors)
    return Space(made.tracks, type(plain.factors)(**{**vars(plain.factors), **changed}))


def predict(space: Space) -> Predictions:
    """Predictions whose errors grow with the number of the factor, but for factor 7, which has none."""
    noise = np.random.default_rng(1).standard_normal((N_TRACKS, N_FACTORS)).astype(np.float32)
    noise *= np.linspace(0.1, 2, N_FACTORS, dtype=np.float32)
    noise[:, 7] = 0
    factors = space.factors.item_factors + noise
    return Predictions(space.tracks.ids, factors, space.factors.scaler.transform(factors))


def test_factors_are_ranked_by_r2_with_the_tracks_at_their_ends(space: Space) -> None:
    predictions = predict(space)
    table = factors_table("cnn", predictions, space)
    test = np.arange(1, N_TRACKS - 1, 2)  # fold 9, but for the last, which has no interactions
    true, predicted = space.factors.item_factors[test], predictions.factors[test]
    r2 = r2_score(true, predicted, multioutput="raw_values")
    expected = np.argsort(-r2, kind="stable")[:20]
    assert [row.name for row in table.rows] == [f"factor {factor + 1}" for factor in expected]
    values = [cell.value for row in table.rows if (cell := row.cells[0])]
    np.testing.assert_allclose(values, r2[expected], rtol=1e-5)  # float32 inputs
    first = table.rows[0]
    assert first.name == "factor 8" and "5 others are not shown" in table.notes[0]
    _, low, high = first.cells
    assert low and high
    genres = [space.tracks.table["genres"].to_pylist()[row][0] for row in range(N_TRACKS)]
    assert low.text == ", ".join(f"{genre} {n}" for genre, n in Counter(genres[:N_COUNTED]).most_common())
    assert high.text == "mid 11, high 9"
    assert [line.split(" – ")[0] for line in low.detail.split("\n")] == ["Title 0", "Title 1", "Title 2"]
    assert [line.split(" – ")[0] for line in high.detail.split("\n")] == ["Title 38", "Title 37", "Title 36"]
    assert high.detail.split("\n")[0] == "Title 38 – Title 39 (high)"


def test_where_r2_is_not_defined_factors_are_ranked_by_variance(space: Space) -> None:
    factors = space.factors
    scaler = fit_scaler("unit_norm", factors.item_factors[:-1])
    unscaled = Space(space.tracks, type(factors)(**{**vars(factors), "scaler": scaler}))
    table = factors_table("cnn", predict(space), unscaled)
    spread = factors.item_factors[:-1].var(axis=0)
    assert [row.name for row in table.rows] == [f"factor {i + 1}" for i in np.argsort(-spread)[:20]]
    assert all(row.cells[0] is None for row in table.rows) and "with the largest variance" in table.notes[0]
