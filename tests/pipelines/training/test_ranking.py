"""Metric learning to rank in a run: from sound to lists that go by the learnt metric."""

import numpy as np
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.models import load_model
from cs_keras.runs import read_json, read_npz
from cs_keras.training.predict import apply_to_tracks
from pipelines.evaluation.reference import make_reference
from pipelines.factors.open import open_factors, open_interactions
from pipelines.run_baselines import run_baselines

SETTINGS = {
    "model": {"n_centroids": 12, "n_components": 4, "n_relevant": 3, "ranking": {"epochs": 3}},
    "evaluation": {"n_permutations": 9, "ks": (3,)},
}


@pytest.fixture(scope="module")
def run(demo, tmp_path_factory):
    """The run folder of `mlr` on the small demo dataset."""
    outcome = run_baselines(demo, ["mlr"], tmp_path_factory.mktemp("runs"), SETTINGS)
    assert not outcome.failed
    return outcome.runs[0]


def test_the_model_leads_to_places_and_on_to_factors(demo, run):
    stored = read_npz(run / "predictions.npz", "track_ids", "scaled_factors", "places")
    dataset, model = Dataset(demo), load_model(run / "model.keras")
    rows = np.flatnonzero(np.isin(dataset.tracks.ids, stored["track_ids"]))
    np.testing.assert_allclose(apply_to_tracks(model, dataset, rows), stored["scaled_factors"], atol=1e-4)
    kernel, bias = model.get_layer("mlr_regressor").get_layer("factors").get_weights()
    np.testing.assert_allclose(stored["places"] @ kernel + bias, stored["scaled_factors"], atol=1e-4)
    assert stored["places"].shape == (len(rows), 4) and stored["places"].std(axis=0).any()


def test_lists_of_similar_tracks_go_by_places(demo, run):
    dataset = Dataset(demo)
    factors = open_factors(demo, dataset.tracks, None)
    test = make_reference(dataset.tracks, factors, open_interactions(demo, factors)).rows["test"]
    stored = read_npz(run / "predictions.npz", "track_ids", "places")
    row_of = {track_id: row for row, track_id in enumerate(stored["track_ids"].tolist())}
    places = stored["places"][[row_of[track_id] for track_id in dataset.tracks.ids[test].tolist()]]
    own = factors.item_factors[test].astype(np.float64)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    near = np.argsort(-own @ own.T + np.diag(np.full(len(own), np.inf)), axis=1)[:, :3]
    apart = np.square(places[:, None] - places).sum(axis=2) + np.diag(np.full(len(own), np.inf))
    by_place = np.argsort(apart, axis=1, kind="stable")[:, :3]
    expected = np.mean([len({*a} & {*b}) / 3 for a, b in zip(near, by_place, strict=True)])
    found = read_json(run / "evaluation.json")["overlap"]["similarity"][0]["overlap"]
    assert found == pytest.approx(expected)
