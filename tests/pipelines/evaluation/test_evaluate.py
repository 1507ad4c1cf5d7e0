"""What a evaluator says of predictions whose worth is known."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse
from scipy.stats import ortho_group
from sklearn.metrics import roc_auc_score

from cs_keras.data.schema import Tracks, make_tracks
from cs_keras.errors import DataError
from cs_keras.evaluation.beyond_accuracy import measure_exposure
from cs_keras.evaluation.hubness import top_k_reduced
from cs_keras.evaluation.ladder import Verdict
from cs_keras.evaluation.overlap import evaluate_overlap
from cs_keras.evaluation.ranking import rank_metrics
from cs_keras.evaluation.reference_predictors import mean_predictor
from cs_keras.evaluation.search.topk import filter_artists, top_k_similar
from cs_keras.factors.interactions import Interactions, RowCounts
from cs_keras.factors.scaling import fit_scaler
from cs_keras.factors.store import HALF_ARRAYS, SECOND_ARRAYS, Factors
from cs_keras.run_files.evaluation import (
    INFORMATION,
    MODEL,
    REFERENCE,
    GapShare,
    MeanRecord,
    RankingRecord,
)
from cs_keras.run_files.settings import EvaluationConfig
from cs_keras.runs import write_npz
from pipelines.evaluation.evaluate import mean_losses, split_losses
from pipelines.evaluation.evaluation_record import (
    make_beyond,
    make_groups,
    make_ladders,
    make_queries,
    make_ranking,
)
from pipelines.evaluation.evaluator import Evaluator
from pipelines.evaluation.reference import Predictor, make_reference, open_true_style

SETTINGS = EvaluationConfig(ks=(5, 20, 500), n_permutations=199)
N_TRAIN, N_TEST, N_PLAYLISTS, N_FACTORS = 40, 60, 50, 5
RANDOM = np.random.default_rng(0)


def noisy(factors: npt.NDArray[Any], noise: float, seed: int = 1) -> npt.NDArray[np.float32]:
    drawn = np.random.default_rng(seed).standard_normal(factors.shape)
    return np.asarray(factors + noise * drawn, dtype=np.float32)


def make_catalogue(
    scaling: str = "standardize", n_test: int = N_TEST, **changes: Any
) -> tuple[Tracks, Factors]:
    """Return tracks and factors: artists a0 to a9 in training, every other test track by one of them."""
    folds = [0] * N_TRAIN + [7] * 4 + [8] * N_TEST
    rows = [
        {
            "track_id": f"t{i}",
            "fold": fold,
            "artist": f"a{i % 10}" if i < N_TRAIN or i % 2 else f"new{i}",
            "shard": "s",
            "first_frame": 0,
            "n_frames": 1,
        }
        for i, fold in enumerate(folds)
    ]
    tracks = make_tracks(rows)
    items = (1 + RANDOM.standard_normal((len(folds), N_FACTORS))).astype(np.float32)
    playlists = RANDOM.standard_normal((N_PLAYLISTS, N_FACTORS)).astype(np.float32)
    has_factors = np.ones(len(folds), dtype=bool)
    has_factors[N_TRAIN + 4 + n_test :] = False
    factors = Factors(
        name="wmf",
        track_ids=tracks.ids,
        item_factors=items,
        has_factors=has_factors,
        playlist_ids=np.array([f"p{i}" for i in range(N_PLAYLISTS)]),
        playlist_factors=playlists,
        scaler=fit_scaler(scaling, items[:N_TRAIN]),  # type: ignore[arg-type]
        protocol="strict",
        config=None,
        quality={},
        second_item_factors=noisy(items, 0.3),
        second_playlist_factors=noisy(playlists, 0.3),
        half_item_factors=np.stack([noisy(items, 0.6, seed) for seed in (2, 3)]),
        half_playlist_factors=np.stack([noisy(playlists, 0.6, seed) for seed in (2, 3)]),
    )
    return tracks, dataclasses.replace(factors, **changes)


def make_interactions() -> Interactions:
    drawn = RANDOM.random((N_PLAYLISTS, N_TRAIN + 4 + N_TEST))
    held = scipy.sparse.csr_matrix(drawn < 0.1, dtype=np.float32)
    playlist_ids, track_ids = (np.arange(n).astype(np.str_) for n in drawn.shape)
    return Interactions(playlist_ids, track_ids, held, RowCounts(0))


def make_evaluator(interactions: Any = None, **arguments: Any) -> Evaluator:
    return Evaluator(make_reference(*make_catalogue(**arguments), interactions), SETTINGS, seed=0)


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return make_evaluator(make_interactions())


def verdicts(evaluator: Evaluator, items: npt.NDArray[Any]) -> dict[str, str]:
    """Return what is said of a prediction's shortest lists, by kind."""
    own = evaluator.reference.own
    found = {MODEL: evaluator.evaluate(Predictor(items, own.playlists)), **evaluator.reference_predictors}
    return {
        kind: next(rung.verdict for rung in ladders[0].rungs if rung.name == MODEL)
        for kind, ladders in make_ladders(evaluator, found).items()
        if kind in ("similarity", "dot")
    }


@pytest.mark.parametrize(
    ("prediction", "similarity", "dot"),
    [
        (lambda r: noisy(0 * r, 1, seed=2), Verdict.CHANCE, Verdict.CHANCE),
        (lambda r: mean_predictor(r.mean(axis=0), len(r)), Verdict.TIED, Verdict.TIED),
        (lambda r: noisy(r, 1), Verdict.BELOW_CEILING, Verdict.BELOW_CEILING),
        (lambda r: r, Verdict.ABOVE_CEILING, Verdict.ABOVE_CEILING),
        # Turning keeps every angle between tracks, and none between tracks and playlists.
        (lambda r: -r @ ortho_group.rvs(N_FACTORS, random_state=3), Verdict.ABOVE_CEILING, Verdict.CHANCE),
    ],
    ids=["noise", "mean", "reference and noise", "reference", "turned reference"],
)
def test_verdicts_on_predictions_of_known_worth(
    evaluator: Evaluator, prediction: Any, similarity: Verdict, dot: Verdict
) -> None:
    items = prediction(evaluator.reference.own.items).astype(np.float32)
    assert verdicts(evaluator, items) == {"similarity": similarity, "dot": dot}


def test_a_second_fit_is_the_ceiling_with_its_own_playlists(evaluator: Evaluator) -> None:
    own, second = evaluator.reference.own, evaluator.reference.refit
    assert second is not None
    found = {MODEL: evaluator.evaluate(second), **evaluator.reference_predictors}
    for ladders in make_ladders(evaluator, found).values():
        rung = next(rung for rung in ladders[0].rungs if rung.name == MODEL)
        assert rung.to_ceiling == GapShare(1, 1, 1)
        assert rung.verdict in (Verdict.AT_CEILING, "")
    turned = ortho_group.rvs(N_FACTORS, random_state=0)
    whole = evaluator.evaluate(Predictor((own.items @ turned).astype(np.float32), (own.playlists @ turned)))
    assert [row.overlap for row in whole.overlap["dot"] if row.available] == [1, 1]


def test_without_a_second_fit_there_is_no_share_of_a_gap() -> None:
    evaluator = make_evaluator(**dict.fromkeys((*SECOND_ARRAYS, *HALF_ARRAYS)))
    found = {MODEL: evaluator.evaluate(evaluator.reference.own), **evaluator.reference_predictors}
    assert set(found) == {"model", "random", "popularity-oracle", "artist-mean", "reference"}
    rungs = make_ladders(evaluator, found)["dot"][0].rungs
    assert {rung.to_ceiling for rung in rungs} == {None}
    assert rungs[-1].name == MODEL and rungs[-1].to_reference.share == 1


def test_the_best_from_sound_is_fitted_where_the_truth_is_beside_the_dataset(tmp_path: Path) -> None:
    tracks, factors = make_catalogue()
    style = factors.item_factors @ ortho_group.rvs(N_FACTORS, random_state=5)
    assert open_true_style(tmp_path, tracks.ids) is None
    (tmp_path / "source").mkdir()
    write_npz(tmp_path / "source" / "truth.npz", track_ids=tracks.ids[::-1], style=style[::-1])
    found = open_true_style(tmp_path, tracks.ids)
    np.testing.assert_array_equal(found, style.astype(np.float32))
    evaluator = Evaluator(make_reference(tracks, factors, None, found), SETTINGS, seed=0)
    assert list(evaluator.reference_predictors) == [name for name in INFORMATION if name != "single-ranking"]
    predictors = {MODEL: evaluator.evaluate(evaluator.reference.own), **evaluator.reference_predictors}
    for ladders in make_ladders(evaluator, predictors).values():
        rungs = {rung.name: rung for rung in ladders[0].rungs}
        assert rungs["best-from-sound"].value > 0.5  # the truth is linear, from 40 tracks
        assert rungs["best-from-sound"].to_best_from_sound == GapShare(1, 1, 1)
    write_npz(tmp_path / "source" / "truth.npz", track_ids=tracks.ids[1:], style=style[1:])
    assert open_true_style(tmp_path, tracks.ids) is None


def test_halves_of_the_data_agree_with_each_other_less_than_a_refit_with_the_reference(
    evaluator: Evaluator,
) -> None:
    halves = evaluator.reference.halves
    assert halves is not None
    found = evaluator.reference_predictors["half-data-ceiling"]
    assert found.ranking is None and not found.beyond and not found.groups
    for kind, rows in found.overlap.items():
        refit = evaluator.reference_predictors["refit-ceiling"].overlap[kind][0]
        assert rows[0].n_queries == refit.n_queries and rows[0].overlap < refit.overlap
    # Against one half as the reference, the other is a predictor.
    own = dataclasses.replace(evaluator.reference, own=halves[0], halves=None)
    expected = Evaluator(own, SETTINGS, seed=0).evaluate(halves[1])
    for kind in ("similarity", "filtered", "dot", "dot_centred"):
        assert found.overlap[kind][0].overlap == expected.overlap[kind][0].overlap


def test_the_single_ranking_is_that_of_the_mean_score(evaluator: Evaluator) -> None:
    own = evaluator.reference.own
    items = noisy(own.items, 1)
    single = evaluator.evaluate_single_ranking(Predictor(items, own.playlists))
    by_scores = evaluator.evaluate_single_ranking(
        Predictor(items, own.playlists, scores=lambda kind, rows: own.playlists[rows] @ items.T)
    )
    best = np.argsort(-(own.playlists @ items.T).mean(axis=0))[:5]
    reference = np.argsort(-own.playlists @ own.items.T, axis=1)[:, :5]
    expected = np.mean([len({*best} & {*row}) / 5 for row in reference])
    for found in (single, by_scores):
        assert found is not None and found.overlap["dot"][0].overlap == pytest.approx(expected)
        assert set(found.overlap) == {"dot", "dot_per_artist", "dot_centred"}


def test_overlaps_are_those_of_the_evaluation(evaluator: Evaluator) -> None:
    own, predicted = evaluator.reference.own, noisy(evaluator.reference.own.items, 1)
    found = evaluator.evaluate(Predictor(predicted, own.playlists))
    settings = {"ks": SETTINGS.ks, "n_permutations": 199}
    artists = evaluator.reference.artists
    for filtered, kind in enumerate(("similarity", "filtered")):
        expected = evaluate_overlap(
            own.items, predicted, artists=artists, filtered=bool(filtered), **settings
        )
        assert found.overlap[kind] == tuple(expected)
    assert not found.overlap["dot"][2].available  # 500 of 60 tracks
    for one in found.compared["similarity"][:2]:
        assert one.shares.mean() == one.at_k.overlap


def test_ranking_is_that_of_the_evaluation(evaluator: Evaluator) -> None:
    own, reference = evaluator.reference.own, evaluator.reference
    found = {
        MODEL: evaluator.evaluate(Predictor(noisy(own.items, 1), own.playlists)),
        **evaluator.reference_predictors,
    }
    values = make_ranking(evaluator, found)
    assert values is not None
    expected = rank_metrics(own.playlists, own.items, reference.interactions, ks=(5, 20, 500))
    means = {name: own and own.mean for name, own in values.predictors["reference"].items()}
    assert means == {name: mean for name, mean in expected.means().items() if "precision" not in name}
    assert means["map@500"] is None  # no 500 candidates
    assert values.n_playlists + values.n_left_out == N_PLAYLISTS
    assert auc_of(values, "popularity-oracle") != pytest.approx(0.5, abs=1e-9)  # it ranks


def test_popularity_ranks_alike_for_all() -> None:
    evaluator = make_evaluator(make_interactions())
    scores = evaluator.reference.popularity
    assert scores is not None
    found = evaluator.evaluate(Predictor(scores.astype(float), evaluator.reference.own.playlists))
    assert found.beyond["coverage"] == 5 / N_TEST and "hubness" not in found.beyond
    listed = np.sort(scores)[::-1][:5]
    assert found.beyond["popularity"] == pytest.approx(listed.mean() / scores.mean())


def test_lists_with_less_hubness_are_compared_with_the_references_own(evaluator: Evaluator) -> None:
    own, artists = evaluator.reference.own, evaluator.reference.artists
    items = noisy(own.items, 0.5)
    predictor = Predictor(items, own.playlists)
    evaluation = evaluator.evaluate(predictor)
    found = evaluator.reduce_hubness(predictor, evaluation)
    assert found is not None and (found.k, found.kind) == (5, "filtered")
    queries = np.arange(N_TEST)
    reference = filter_artists(top_k_similar(own.items, N_TEST - 1), artists, 5)
    for score, row in found.scores.items():
        lists = top_k_reduced(items, N_TEST - 1, score, queries=queries)  # type: ignore[arg-type]
        lists = filter_artists(lists, artists, 5)
        pairs = zip(reference.indices.tolist(), lists.indices.tolist(), strict=True)
        overlap = np.mean([len(set(one) & set(other)) / 5 for one, other in pairs])
        exposure = measure_exposure(lists.indices, N_TEST)
        assert row.overlap.mean == pytest.approx(overlap)
        assert row.gain.mean == pytest.approx(overlap - evaluation.overlap["filtered"][0].overlap)  # type: ignore[operator]
        assert (row.hubness, row.never_reached) == (exposure.hubness, exposure.never_reached)
        assert row.overlap.low < overlap < row.overlap.high and row.gain.low < row.gain.mean < row.gain.high  # type: ignore[operator]
    # Lists by positions, or by scores, are none by cosine.
    elsewhere = Predictor(items, own.playlists, positions=items)
    assert evaluator.reduce_hubness(elsewhere, evaluator.evaluate(elsewhere, tested=False)) is None


def test_cohesion_is_that_of_lists_among_test_tracks() -> None:
    tracks, factors = make_catalogue()
    genres = [[["even", "odd"][i % 2]] if i % 3 else [] for i in range(len(tracks))]
    column = tracks.table.schema.get_field_index("genres")
    evaluator = Evaluator(
        make_reference(Tracks(tracks.table.set_column(column, "genres", [genres])), factors), SETTINGS, 0
    )
    test = N_TRAIN + 4 + np.arange(N_TEST)
    parity = np.where(test % 3, test % 2, np.nan)
    places = np.nan_to_num(parity, nan=0.5)[:, np.newaxis] + np.zeros((1, 2))  # whose nearest share its genre
    own = evaluator.reference.own
    found = evaluator.evaluate(Predictor(own.items, own.playlists, places.astype(np.float32))).beyond
    assert found["shared_genre"] == 1 and found["genre_entropy"] is not None and found["genre_entropy"] < 0.5
    of_reference = evaluator.reference_predictors["reference"].beyond
    chance = np.mean([np.mean(np.delete(parity, i) == parity[i]) for i in np.flatnonzero(test % 3)])
    assert of_reference["shared_genre"] == pytest.approx(chance, abs=0.1)  # factors are drawn at random
    assert of_reference["genre_entropy"] is not None and of_reference["genre_entropy"] > 0.5
    assert of_reference["diversity"] < evaluator.reference_predictors["random"].beyond["diversity"]
    assert make_evaluator().reference_predictors["reference"].beyond["shared_genre"] is None


def test_groups_part_the_test_tracks(evaluator: Evaluator) -> None:
    found = {
        MODEL: evaluator.evaluate(
            Predictor(noisy(evaluator.reference.own.items, 1), evaluator.reference.own.playlists)
        )
    }
    values = make_groups(evaluator, {**found, **evaluator.reference_predictors})
    assert {name: sum(one.n for one in sizes) for name, sizes in values.sizes.items()} == {
        "popularity": N_TEST,
        "artist": N_TEST,
    }
    known = {one.group: one.n for one in values.sizes["artist"]}
    assert known == {"known": N_TEST // 2, "new": N_TEST // 2}
    overlap = values.predictors[MODEL]["overlap"]["artist"]
    of_all = found[MODEL].overlap["filtered"][0].overlap
    assert np.average([one.mean for one in overlap], weights=[one.n for one in overlap]) == pytest.approx(
        of_all
    )
    assert "overlap" not in values.predictors["reference"]
    assert make_beyond(evaluator, found).k == values.k == 5


def test_artist_means_are_left_out_where_no_artist_is_known() -> None:
    tracks, factors = make_catalogue()
    nobody = tracks.table.set_column(
        tracks.table.schema.get_field_index("artist"), "artist", [[""] * len(tracks)]
    )
    evaluator = Evaluator(make_reference(Tracks(nobody), factors), SETTINGS, seed=0)
    assert "artist-mean" not in evaluator.reference_predictors
    assert not evaluator.reference.artist_trained.any()
    assert evaluator.lists.kinds == ("similarity", "dot", "dot_centred")
    assert set(evaluator.reference.groups["artist"]) == {"unknown"}


def test_what_was_found_query_by_query_gives_the_means(evaluator: Evaluator) -> None:
    own = evaluator.reference.own
    found = {
        MODEL: evaluator.evaluate(Predictor(noisy(own.items, 1), own.playlists)),
        **evaluator.reference_predictors,
    }
    queries = make_queries(evaluator, found)
    for kind, rows in found[MODEL].overlap.items():
        shares = queries.values[f"{kind}@5"]["model"]
        assert len(shares) == len(queries.rows[f"{kind}@5"])
        assert shares.mean() == rows[0].overlap
    values = make_ranking(evaluator, found)
    assert values is not None
    ndcg = values.predictors[MODEL]["ndcg@5"]
    assert ndcg is not None and queries.values["ndcg@5"]["model"].mean() == ndcg.mean
    assert len(queries.rows["ndcg@5"]) == values.n_playlists
    assert "similarity@500" not in queries.values


def test_runs_of_all_seeds_have_the_same_queries() -> None:
    few = dataclasses.replace(SETTINGS, max_queries=7)
    reference = make_reference(*make_catalogue())
    queries = [Evaluator(reference, few, seed).lists.by_kind["dot"].queries for seed in range(3)]
    assert (
        len(queries[0]) == 7
        and np.array_equal(queries[0], queries[1])
        and np.array_equal(queries[0], queries[2])
    )


def test_only_sampled_queries_are_evaluated() -> None:
    """Every part is what the sampled tracks and playlists give, and says how many there were."""
    interactions = make_interactions()
    reference = make_reference(*make_catalogue(), interactions)
    evaluator = Evaluator(reference, dataclasses.replace(SETTINGS, max_queries=7), seed=0)
    own, queries = reference.own, evaluator.lists.by_kind["dot"].queries
    predicted = noisy(own.items, 1)
    found = {MODEL: evaluator.evaluate(Predictor(predicted, own.playlists)), **evaluator.reference_predictors}
    for kind, rows in found[MODEL].overlap.items():
        n_queries = 20 if kind == "dot_per_artist" else 7  # a playlist for every draw at least
        assert {row.n_queries for row in rows if row.available} == {n_queries}
    ranking, groups = make_ranking(evaluator, found), make_groups(evaluator, found).predictors[MODEL]
    assert ranking is not None and ranking.n_playlists + ranking.n_left_out == 7
    alone = rank_metrics(
        own.playlists[queries], predicted, reference.interactions[queries], ks=SETTINGS.ks
    ).means()
    assert auc_of(ranking, MODEL) == alone["auc"]
    best = np.argsort(-own.playlists[queries] @ predicted.T, axis=1)[:, :5]
    beyond = make_beyond(evaluator, found).predictors[MODEL]
    assert beyond["coverage"] == len(np.unique(best)) / N_TEST
    assert beyond["never_reached"] >= 1 - 7 * 5 / N_TEST  # seven tracks can list no more
    assert sum(one.n for one in groups["overlap"]["popularity"]) == 7
    assert all(1 <= one.n <= 7 for means in groups["ndcg"].values() for one in means)


def auc_of(ranking: RankingRecord, predictor: str) -> float:
    mean = ranking.predictors[predictor]["auc"]
    assert mean is not None
    return mean.mean


def test_tracks_are_compared_with_those_that_the_same_listener_dislikes() -> None:
    """As by scikit-learn's area under the ROC curve of these two kinds of tracks, listener by listener."""
    plays = make_interactions()
    dislikes = scipy.sparse.csr_matrix(
        (RANDOM.random(plays.user_items.shape) < 0.02) & (plays.user_items.toarray() == 0), dtype=np.float32
    )
    reference = make_reference(*make_catalogue(), dataclasses.replace(plays, dislikes=dislikes))
    evaluator = Evaluator(reference, dataclasses.replace(SETTINGS, n_permutations=1, max_queries=40), seed=0)
    own, queries = reference.own, evaluator.lists.by_kind["dot"].queries
    predicted = np.round(noisy(own.items, 1))  # with ties
    one_list = Predictor(np.round(own.items.mean(axis=1), 1).astype(np.float64), own.playlists)
    of_tracks = {"similarity": predicted}  # whose rows are tracks
    fused = dataclasses.replace(
        own, scores=lambda kind, rows: of_tracks.get(kind, own.playlists)[rows] @ -predicted.T
    )
    test = reference.rows["test"]
    for predictor, scores in (
        (Predictor(predicted, own.playlists), own.playlists @ predicted.T),
        (one_list, np.tile(one_list.items, (N_PLAYLISTS, 1))),
        (fused, own.playlists @ -predicted.T),
    ):
        expected = []
        for row in queries:
            liked, disliked = (
                plays.user_items[row, test].toarray()[0] > 0,
                dislikes[row, test].toarray()[0] > 0,
            )
            if liked.any() and disliked.any():
                known = liked | disliked
                expected.append(roc_auc_score(liked[known], scores[row, known]))
        assert 10 < len(expected) < len(queries)
        found = evaluator.evaluate(predictor)
        assert found.liked_above_disliked == pytest.approx(np.mean(expected), abs=1e-12)
        ranking = make_ranking(evaluator, {MODEL: found, REFERENCE: found})
        assert ranking is not None
        assert ranking.predictors[MODEL]["liked_above_disliked"] == MeanRecord(
            found.liked_above_disliked, None, None
        )


class Lines:
    """Progress that remembers what was begun, and how much of it was done."""

    def __init__(self) -> None:
        self.tasks: dict[str, list[int]] = {}

    def log(self, line: str) -> None:
        raise AssertionError(line)

    @contextlib.contextmanager
    def task(self, description: str, total: int) -> Iterator[Any]:
        own = self.tasks.setdefault(description, [0, total])

        def advance(n: int) -> None:
            own[0] += n

        yield advance


def test_evaluation_reports_its_progress() -> None:
    lines = Lines()
    reference = make_reference(*make_catalogue(), make_interactions())
    evaluator = Evaluator(reference, SETTINGS, 0, lines)
    assert evaluator.reference_predictors
    evaluator.evaluate(reference.own, "cnn")
    assert list(lines.tasks) == [
        "rank by the reference",
        *(f"evaluate {name}" for name in ("random", "popularity-oracle", "artist-mean", "refit-ceiling")),
        "evaluate half-data-ceiling",
        "evaluate the reference",
        "evaluate cnn",
    ]
    assert all(done == total > 0 for done, total in lines.tasks.values())


@pytest.mark.parametrize("scaling", ["standardize", "unit_norm", "none"])
def test_mse_is_that_of_the_targets_trained_on(scaling: str) -> None:
    tracks, factors = make_catalogue(scaling)
    rows = make_reference(tracks, factors).rows["test"]
    targets = factors.scaler.transform(factors.item_factors[rows])
    off_by_half = split_losses(factors, rows, targets + 0.5)
    assert off_by_half.mse == pytest.approx(0.25, rel=1e-5)  # float32 additions
    assert split_losses(factors, rows, targets).mse == 0


def test_unit_norm_targets_have_no_r2_and_keep_their_cosine() -> None:
    tracks, factors = make_catalogue("unit_norm")
    rows = make_reference(tracks, factors).rows["test"]
    losses = split_losses(factors, rows, factors.scaler.transform(factors.item_factors[rows]))
    assert losses.r2 is None
    assert losses.cosine_distance == pytest.approx(0, abs=1e-6)  # float32 lengths


def test_mean_predictor_scores_one_on_the_tracks_it_is_the_mean_of() -> None:
    tracks, factors = make_catalogue()
    train = make_reference(tracks, factors).rows["train"]
    losses = mean_losses(factors, train, train)
    assert losses.mse == pytest.approx(1, rel=1e-5)  # float32 sums of 200 squares
    assert losses.r2 == pytest.approx(0, abs=1e-5)


def test_a_single_test_track_has_no_similarity_lists() -> None:
    evaluator = make_evaluator(n_test=1)
    found = evaluator.evaluate(evaluator.reference.own)
    assert [row.available for row in found.overlap["similarity"]] == [False] * 3
    assert [row.available for row in found.overlap["dot"]] == [False] * 3
    assert "similarity" not in evaluator.reference_predictors["popularity-oracle"].overlap


def test_no_test_track_with_factors_is_reported() -> None:
    with pytest.raises(DataError, match="No test track has interactions"):
        make_evaluator(n_test=0)
