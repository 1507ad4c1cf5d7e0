import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist, cosine
from sklearn.metrics import r2_score

from cs_keras.evaluation.losses import measure_cosine_distances
from cs_keras.run_files.predictions import Predictions
from reports.html.factors import factor_r2, failures_table
from reports.html.map import TrackMap, make_map, map_script
from reports.html.spaces import Space
from tests.reports.html.runs_made import N_FACTORS, N_TRACKS, TITLES, make_space


@pytest.fixture(scope="module")
def space() -> Space:
    return make_space()


@pytest.fixture(scope="module")
def predictions(space: Space) -> Predictions:
    noise = np.random.default_rng(3).standard_normal((N_TRACKS, N_FACTORS)).astype(np.float32)
    factors = space.factors.item_factors + noise
    return Predictions(space.tracks.ids, factors, space.factors.scaler.transform(factors))


@pytest.fixture(scope="module")
def track_map(space: Space, predictions: Predictions) -> TrackMap:
    made = make_map("cnn", predictions, space, "cosine")
    assert made
    return made


def nearest(factors: np.ndarray, n: int) -> list[list[int]]:
    distances = cdist(factors, factors, "cosine")
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1)[:, :n].tolist()


def test_neighbours_are_those_of_a_full_sort(
    track_map: TrackMap, space: Space, predictions: Predictions
) -> None:
    assert track_map["predicted"] == nearest(predictions.factors, 10)
    assert track_map["true"][:-1] == nearest(space.factors.item_factors[:-1], 10)
    assert track_map["true"][-1] is None and track_map["error"][-1] is None  # without interactions


def test_error_and_r2_are_those_of_scipy_and_scikit_learn(space: Space, predictions: Predictions) -> None:
    true = space.factors.item_factors[:-1]
    predicted = predictions.factors[:-1]
    expected = [cosine(a, b) for a, b in zip(true, predicted, strict=True)]
    np.testing.assert_allclose(
        measure_cosine_distances(true, predicted), expected, rtol=1e-5
    )  # float32 inputs
    np.testing.assert_allclose(
        factor_r2(true, predicted), r2_score(true, predicted, multioutput="raw_values"), rtol=1e-5
    )
    assert np.isnan(factor_r2(np.ones((3, 1), np.float32), np.zeros((3, 1), np.float32)))[0]


def test_the_script_hands_over_what_the_map_holds(track_map: TrackMap) -> None:
    script = map_script(track_map, "map-1.js")
    assert script.isascii() and "<" not in script
    content = json.loads(script.removeprefix('(window.trackMaps ??= {})["map-1.js"] = ').removesuffix(";\n"))
    assert content["names"]["title"][:2] == list(TITLES[:2])
    assert max(map(len, content["names"]["title"])) == 200
    assert content["kinds"]["fold"][:2] == ["fold 7 (validation)", "fold 9 (test)"]
    assert content["true"][-1] is None and len(content["x"]) == N_TRACKS


def test_without_a_dataset_there_are_ids_only(predictions: Predictions) -> None:
    made = make_map("cnn", predictions, None, "cosine")
    assert made and set(made["names"]) == {"id"}
    assert not made["kinds"] and not made["true"] and not made["error"]


def test_predictions_all_alike_make_no_map(space: Space) -> None:
    alike = np.ones((N_TRACKS, N_FACTORS), np.float32)
    assert make_map("cnn", Predictions(space.tracks.ids, alike, alike), space, "cosine") is None


def test_the_worst_tracks_come_first(space: Space, predictions: Predictions) -> None:
    table = failures_table({"cnn": predictions}, space, 3, "cosine")
    assert table
    test = np.arange(1, N_TRACKS - 1, 2)  # fold 9, but for the last, which has no interactions
    true, predicted = nearest(space.factors.item_factors[test], 3), nearest(predictions.factors[test], 3)
    n_found = sorted(len(set(a) & set(b)) for a, b in zip(true, predicted, strict=True))
    found = [row.cells[2].value for row in table.rows if row.cells[2]]
    assert found == n_found[: len(found)] and len(found) == len(test)
    assert failures_table({"cnn": predictions}, space, N_TRACKS, "cosine") is None
