"""The search for factors worth predicting, on interactions of known rank."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import ortho_group
from sklearn.metrics import ndcg_score
from sklearn.metrics.pairwise import cosine_similarity

from cs_keras.config import to_dict
from cs_keras.data.schema import factors_names, factors_path, read_tracks
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.factors.grid import Grid
from cs_keras.factors.interaction_files import read_interactions
from cs_keras.factors.interactions import align
from cs_keras.factors.store import load_factors
from cs_keras.factors.wmf import WmfConfig, WmfFit, fit_protocol
from pipelines.factors import select as module
from pipelines.factors.average_seeds import average_protocol, compare_averages
from pipelines.factors.fit import FactorsConfig
from pipelines.factors.measure_setting import draw_sample, measure_setting
from pipelines.factors.select import SelectionConfig, make_selected_factors, select_factors, selection_path
from tests.pipelines.planted import RANK, draw_interactions, write_planted

QUICK = SelectionConfig(Grid((4, RANK), (5.0,), (1.0,), (2,)))
FEW = 150  # playlists: enough where no value is compared


@pytest.fixture
def dataset(tmp_path):
    write_planted(tmp_path / "dataset", draw_interactions(FEW))
    return tmp_path / "dataset"


@pytest.fixture
def large(tmp_path):
    (tmp_path / "large").mkdir()
    write_planted(tmp_path / "large" / "dataset", draw_interactions())
    return tmp_path / "large" / "dataset"


@pytest.fixture
def interactions(dataset):
    return dataset.parent / "listening.csv"


def sample_of(dataset, seed=0):
    tracks = read_tracks(dataset)
    return draw_sample(align(read_interactions(dataset.parent / "listening.csv"), tracks.ids), tracks, seed)


def without_times(selection):
    return dataclasses.replace(
        selection, results=tuple(dataclasses.replace(one, seconds=0) for one in selection.results)
    )


def count_measurements(monkeypatch, dies_at=None):
    """Let the search count what it measures, and be interrupted at one of them."""
    measured = []

    def measure(sample, setting, n_seeds):
        if len(measured) == dies_at:
            raise KeyboardInterrupt
        measured.append(setting)
        return measure_setting(sample, setting, n_seeds)

    monkeypatch.setattr(module, "measure_setting", measure)
    return measured


def test_the_planted_rank_is_found_and_agrees_most(large):
    grid = Grid((2, 4, RANK, 16, 32), (5.0,), (1.0,), (15,))
    selection = select_factors(large.parent / "listening.csv", large, SelectionConfig(grid))
    by_rank = {one.setting.factors: one for one in selection.results}
    assert selection.recommended.setting.factors == RANK
    assert selection.at_edge == ()
    for stable in ("seeds_train", "seeds_validation", "halves_train", "ndcg"):
        values = {rank: getattr(one, stable).value for rank, one in by_rank.items()}
        assert max(values, key=values.__getitem__) == RANK, stable


def test_means_of_seeds_agree_more_than_seeds(large):
    too_wide = WmfConfig(16, alpha=5.0, regularization=1.0)
    averaging = compare_averages(sample_of(large), too_wide, 3)
    assert averaging.is_better
    assert averaging.averaged_train.value > averaging.single_train.value + 0.05
    assert averaging.averaged_validation.value > averaging.single_validation.value
    assert averaging.averaged_ndcg.value > averaging.single_ndcg.value - averaging.single_ndcg.error


def test_measurements_by_an_independent_path(dataset):
    sample, setting = sample_of(dataset), WmfConfig(4, 5.0, 1.0, 3, seed=7)
    measured = measure_setting(sample, setting, 2)
    fits = [
        fit_protocol(sample.user_items, sample.is_train, dataclasses.replace(setting, seed=seed))
        for seed in (7, 8)
    ]
    played = np.asarray(sample.user_items.sum(axis=0)).ravel() > 0
    for split, mean in (
        (sample.is_train, measured.seeds_train),
        (~sample.is_train, measured.seeds_validation),
    ):
        lists = []
        for fit in fits:
            similar = cosine_similarity(fit.item_factors[split & played].astype(np.float64))
            np.fill_diagonal(similar, -np.inf)
            lists.append(np.argsort(-similar, axis=1)[:, :10])
        shared = [len(np.intersect1d(a, b)) / 10 for a, b in zip(*lists, strict=True)]
        # A pair of neighbours at the border may come in the other order in float32.
        assert mean.value == pytest.approx(np.mean(shared), abs=1e-3)
        assert mean.n == len(shared)
    seen, held = sample.user_items[:, sample.is_train].toarray(), sample.held_out.toarray()
    ndcg = []
    for playlist in np.flatnonzero(held.any(axis=1)):
        free = seen[playlist] == 0
        scores = [
            fit.item_factors[sample.is_train][free] @ fit.playlist_factors[playlist].astype(np.float64)
            for fit in fits
        ]
        ndcg.append(np.mean([ndcg_score([held[playlist, free] > 0], [score], k=10) for score in scores]))
    assert measured.ndcg.value == pytest.approx(np.mean(ndcg), abs=1e-4)
    assert measured.ndcg.error == pytest.approx(np.std(ndcg, ddof=1) / np.sqrt(len(ndcg)), rel=1e-2)


def test_no_test_track_is_used(dataset, interactions, tmp_path):
    selection = select_factors(interactions, dataset, QUICK)
    holds = draw_interactions(FEW)
    is_test = read_tracks(dataset).in_split("test")
    holds[:, is_test] = np.random.default_rng(9).random((len(holds), is_test.sum())) < 0.5
    only_test = np.zeros((5, holds.shape[1]), dtype=bool)
    only_test[:, is_test] = True
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "dataset"
    changed = write_planted(other, np.vstack([holds, only_test]))
    assert without_times(select_factors(changed, other, QUICK)) == without_times(selection)


def test_held_out_interactions_are_not_fitted(dataset):
    sample = sample_of(dataset)
    assert sample.user_items[:, sample.is_train].multiply(sample.held_out).nnz == 0
    assert sample.held_out.nnz > FEW
    aligned = align(read_interactions(dataset.parent / "listening.csv"), read_tracks(dataset).ids)
    train = aligned.user_items[:, read_tracks(dataset).in_split("train")]
    assert (sample.user_items[:, sample.is_train] + sample.held_out != train).nnz == 0


def test_an_interrupted_search_resumes(dataset, interactions, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        count_measurements(patch, dies_at=1)
        select_factors(interactions, dataset, QUICK)
    measured = count_measurements(monkeypatch)
    resumed = select_factors(interactions, dataset, QUICK)
    assert len(measured) == 1
    assert select_factors(interactions, dataset, QUICK) == resumed
    assert len(measured) == 1
    for path in selection_path(dataset, "wmf").parent.glob("measured/*.json"):
        path.unlink()
    assert without_times(select_factors(interactions, dataset, QUICK)) == without_times(resumed)


def test_changed_inputs_are_measured_again(dataset, interactions, monkeypatch):
    select_factors(interactions, dataset, QUICK)
    measured = count_measurements(monkeypatch)
    wider = Grid((4, RANK, 16), (5.0,), (1.0,), (2,))
    select_factors(interactions, dataset, dataclasses.replace(QUICK, grid=wider), "other-name")
    assert [one.factors for one in measured] == [16]
    select_factors(interactions, dataset, dataclasses.replace(QUICK, n_seeds=3))
    assert len(measured) == 3
    select_factors(interactions, dataset, dataclasses.replace(QUICK, seed=1))
    assert len(measured) == 5
    interactions.write_text(interactions.read_text() + "p0000,t000\np0000,t001\np0000,t002\n")
    select_factors(interactions, dataset, QUICK)
    assert len(measured) == 7


def test_a_damaged_measurement_is_named(dataset, interactions):
    select_factors(interactions, dataset, QUICK)
    path = next(selection_path(dataset, "wmf").parent.glob("measured/*.json"))
    path.write_text("{}")
    with pytest.raises(StorageError, match=f"{path.name} is damaged; delete it"):
        select_factors(interactions, dataset, QUICK)


def test_settings_that_cannot_be_fitted_do_not_stop_the_others(dataset, interactions):
    config = SelectionConfig(Grid((4,), (5.0, 1e300), (1.0,), (2,)))
    selection = select_factors(interactions, dataset, config)
    assert [one.setting.alpha for one in selection.results] == [5.0]
    (failure,) = selection.failures
    assert failure.setting.alpha == 1e300 and "normal equations cannot be solved" in failure.reason
    impossible = SelectionConfig(Grid((4,), (1e300,), (1.0,), (2,)))
    with pytest.raises(
        DataError, match="None of the 1 settings can be fitted; the first: the normal equations"
    ):
        select_factors(interactions, dataset, impossible)


def test_factors_are_fitted_as_recommended(dataset, interactions):
    selection = select_factors(interactions, dataset, QUICK, "chosen")
    factors, tally = make_selected_factors(
        interactions, dataset, selection, FactorsConfig(scaling="none"), "chosen"
    )
    setting = to_dict(selection.recommended.setting)
    assert factors.config == {**setting, "items": "dataset", "targets": "cross-fitted"}
    assert (factors.scaler.kind, tally.n_rows) == ("none", 20 * FEW)
    assert factors.quality["ceiling"]["second_seed"]["similarity"][0]["overlap"] > 0
    assert load_factors(factors_path(dataset, "chosen")).digest == factors.digest
    assert factors_names(dataset) == ["chosen"]  # what the search keeps is not taken for factors


@pytest.mark.parametrize("protocol", ["strict", "thesis"])
def test_averaged_factors_and_their_ceiling(dataset, interactions, protocol):
    config = SelectionConfig(Grid((16,), (5.0,), (1.0,), (5,)), n_averaged=3)
    selection = select_factors(interactions, dataset, config)
    assert selection.n_averaged == 3
    settings = FactorsConfig(protocol=protocol)
    averaged, _ = make_selected_factors(interactions, dataset, selection, settings)
    assert load_factors(factors_path(dataset, "wmf")).digest == averaged.digest
    assert averaged.config["averaged_seeds"] == 3
    single, _ = make_selected_factors(
        interactions, dataset, dataclasses.replace(selection, averaging=None), settings
    )
    ceilings = [one.quality["ceiling"]["second_seed"]["similarity"][0] for one in (single, averaged)]
    assert ceilings[1]["overlap"] > ceilings[0]["overlap"]
    bare, _ = make_selected_factors(
        interactions, dataset, selection, FactorsConfig(protocol=protocol, ceiling=False)
    )
    assert "ceiling" not in bare.quality and bare.second_item_factors is None
    np.testing.assert_array_equal(bare.item_factors, averaged.item_factors)


def test_turned_fits_average_to_themselves_and_folded_in_tracks_do_not_turn_them():
    rng = np.random.default_rng(0)
    is_fitted = rng.random(40) < 0.7
    items, playlists = (rng.standard_normal((n, 4)).astype(np.float32) for n in (40, 15))
    fits = []
    for seed in range(3):
        rotation = ortho_group.rvs(4, random_state=seed).astype(np.float32)
        fits.append(WmfFit(items @ rotation, playlists @ rotation, np.ones(40, bool), 0))
    mean = average_protocol(fits, is_fitted)
    np.testing.assert_allclose(mean.item_factors, fits[0].item_factors, atol=1e-5)  # of float32
    np.testing.assert_allclose(mean.playlist_factors, fits[0].playlist_factors, atol=1e-5)
    fits[1].item_factors[~is_fitted] = 100
    other = average_protocol(fits, is_fitted)
    np.testing.assert_array_equal(other.item_factors[is_fitted], mean.item_factors[is_fitted])
    np.testing.assert_array_equal(other.playlist_factors, mean.playlist_factors)


def test_bad_searches_are_refused(tmp_path, dataset, interactions):
    with pytest.raises(ConfigError, match="at least 2 seeds. Received: 1"):
        SelectionConfig(n_seeds=1)
    with pytest.raises(ConfigError, match="at least 1 seed. Received: 0"):
        SelectionConfig(n_averaged=0)
    with pytest.raises(ConfigError, match="name must consist of"):
        select_factors(interactions, dataset, QUICK, "../wmf")
    (tmp_path / "short").mkdir()
    short = write_planted(tmp_path / "short" / "dataset", draw_interactions(FEW, length=3))
    with pytest.raises(DataError, match="no playlist is long enough"):
        select_factors(short, short.parent / "dataset", QUICK)
    (tmp_path / "few").mkdir()
    few = write_planted(tmp_path / "few" / "dataset", np.ones((30, 13), dtype=bool))
    with pytest.raises(DataError, match="too few train tracks .* more than 10. Received: 10"):
        select_factors(few, few.parent / "dataset", QUICK)
