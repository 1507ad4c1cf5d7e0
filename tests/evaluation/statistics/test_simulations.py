"""Whole catalogues are drawn with artist effects of known size: intervals cover the truth, and p-values hold.

Half of the variance of tracks, and of what predictions get wrong, is between artists. The truth is the mean over
independent draws of catalogues of the same size. `python -m tests.evaluation.statistics.test_simulations` computes
`TRUTH` again (10 minutes).
"""

import functools

import numpy as np
import pytest
import scipy.sparse

from cs_keras.evaluation.ladder import Verdict, decide_verdict
from cs_keras.evaluation.ranking import ndcg_at_k, sum_gains
from cs_keras.evaluation.search.intersection import list_overlap
from cs_keras.evaluation.search.topk import TopK
from cs_keras.evaluation.statistics.jackknife import (
    QuerySums,
    cluster_artists,
    delete_clusters,
    estimate,
    pool_folds,
    refilled_length,
)
from cs_keras.evaluation.statistics.permutation_test import permutation_test

K, N_FACTORS, N_PLAYLISTS, TRACKS_PER_ARTIST = 10, 8, 1000, 5
KINDS = ("similarity", "filtered", "dot", "ndcg")
HELD_OUT_FROM = 5.7  # a twentieth of the pairs of playlist and track; not a quantile, which would tie artists
N_PERMUTATIONS = 99
N_DRAWS = {16: 800, 40: 800, 100: 400}
FIRST_TRUTH_SEED, N_TRUTH = 1_000_000, 5000
# By number of artists and kind: the mean overlap of `good`, and how much higher it is than that of `poor`.
TRUTH = {
    (16, "similarity"): (0.40072, 0.05468),
    (16, "filtered"): (0.34299, 0.06400),
    (16, "dot"): (0.49576, 0.07036),
    (16, "ndcg"): (0.41201, 0.06172),
    (40, "similarity"): (0.25282, 0.05198),
    (40, "filtered"): (0.20733, 0.05568),
    (40, "dot"): (0.39306, 0.07612),
    (40, "ndcg"): (0.35057, 0.05948),
    (100, "similarity"): (0.14876, 0.04138),
    (100, "filtered"): (0.12193, 0.04120),
    (100, "dot"): (0.31588, 0.07655),
    (100, "ndcg"): (0.38559, 0.06917),
}


class Catalogue:
    """Reference factors, those of two equally good models and a poor one, and playlist factors."""

    def __init__(self, n_artists: int, seed: int) -> None:
        self.seed, self.random = seed, np.random.default_rng(seed)
        n_tracks = TRACKS_PER_ARTIST * n_artists
        sizes = 1 + self.random.multinomial(n_tracks - n_artists, np.full(n_artists, 1 / n_artists))
        self.artists = np.repeat(np.arange(n_artists), sizes)
        self.reference = self.draw()
        shared = self.draw()  # errors that all models make
        self.good, self.twin, self.poor = (
            self.reference + np.float32(size) * (shared + self.draw()) for size in (0.7, 0.7, 0.9)
        )
        self.playlists = self.normal(N_PLAYLISTS, N_FACTORS)

    @functools.cached_property
    def held_out(self) -> scipy.sparse.csr_matrix:
        """The tracks that playlists hold."""
        noise = np.random.default_rng([self.seed, 1]).standard_normal((N_PLAYLISTS, len(self.artists)))
        taste = self.playlists @ self.reference.T + 2 * noise
        return scipy.sparse.csr_matrix(taste > HELD_OUT_FROM, dtype=np.float32)

    def normal(self, *shape: int) -> np.ndarray:
        """Draw independent normal numbers."""
        return self.random.standard_normal(shape, dtype=np.float32)

    def draw(self) -> np.ndarray:
        """Draw factors; half of their variance is between artists."""
        of_artists = self.normal(self.artists[-1] + 1, N_FACTORS)[self.artists]
        return np.float32(np.sqrt(0.5)) * (of_artists + self.normal(*of_artists.shape))

    def rank(self, factors: np.ndarray, kind: str, length: int) -> TopK:
        """Return lists of the other tracks by cosine, or of playlists."""
        if kind in ("dot", "ndcg"):
            scores = self.playlists @ factors.T
        else:
            unit = factors / np.linalg.norm(factors, axis=1, keepdims=True)
            scores = unit @ unit.T
            np.fill_diagonal(scores, -2)
            length = min(length, len(factors) - 1)
        rows = np.arange(len(scores))[:, np.newaxis]
        best = np.argpartition(scores, -length, axis=1)[:, -length:]
        indices = best[rows, np.argsort(-scores[rows, best], axis=1)].astype(np.int32)
        return TopK(
            indices,
            np.zeros_like(indices, bool),
            rows[:, 0],
            len(self.artists),
            "dot" if kind in ("dot", "ndcg") else "cosine",
        )

    def is_listed(self, factors: np.ndarray, kind: str) -> np.ndarray:
        """Return which tracks are in the list of which, shape (n_tracks, n_tracks), by a full sort."""
        unit = factors / np.linalg.norm(factors, axis=1, keepdims=True)
        scores = unit @ unit.T
        excluded = (
            self.artists[:, np.newaxis] == self.artists if kind == "filtered" else np.eye(len(unit)) > 0
        )
        scores[excluded] = -2
        listed = np.zeros(scores.shape, bool)
        np.put_along_axis(listed, np.argsort(-scores, axis=1)[:, :K], True, axis=1)
        return listed

    def sum_models(self, kind: str) -> list[QuerySums]:
        """Return overlaps, or nDCG, of `good`, `twin` and `poor`."""
        clusters = cluster_artists(self.artists)
        if kind == "ndcg":
            length = refilled_length(K, clusters)
            ranked = [self.rank(one, kind, length) for one in (self.good, self.twin, self.poor)]
            return [sums for one in ranked if (sums := sum_gains(one, self.held_out, K, self.artists))]
        own = self.artists if kind == "filtered" else None
        length = min(refilled_length(K, clusters, own), len(self.artists))
        lists = [self.rank(one, kind, length) for one in (self.reference, self.good, self.twin, self.poor)]
        return [delete_clusters(lists[0], one, K, clusters, own) for one in lists[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("n_artists", list(N_DRAWS))
def test_intervals_cover_the_truth(n_artists: int) -> None:
    covered = {(kind, what): [] for kind in KINDS for what in ("mean", "difference")}
    p_values: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for seed in range(N_DRAWS[n_artists]):
        catalogue = Catalogue(n_artists, seed)
        for kind in KINDS:
            good, twin, poor = catalogue.sum_models(kind)
            found = {"mean": estimate(good), "difference": estimate(good, poor)}
            for (what, one), truth in zip(found.items(), TRUTH[n_artists, kind], strict=True):
                low, high = one.interval()
                covered[kind, what].append(low <= truth <= high)
            p_values[kind].append(estimate(good, twin).p_value)
    shares = {key: np.mean(values) for key, values in covered.items()}
    rejected = {kind: np.mean(np.array(values) < 0.05) for kind, values in p_values.items()}
    print(n_artists, {key: round(float(value), 3) for key, value in shares.items()}, rejected)
    assert all(0.92 <= share <= 0.98 for share in shares.values()), shares
    assert all(share <= 0.07 for share in rejected.values()), rejected


@pytest.mark.slow
def test_intervals_of_pooled_folds_cover_the_truth() -> None:
    n_folds, n_artists, n_draws = 5, 16, 400  # each fold a catalogue, all with the same playlists
    covered: dict[tuple[str, str], list[bool]] = {
        (kind, what): [] for kind in KINDS for what in ("mean", "difference")
    }
    for draw in range(n_draws):
        catalogues = [Catalogue(n_artists, seed) for seed in range(n_folds * draw, n_folds * (draw + 1))]
        for catalogue in catalogues:
            catalogue.playlists = catalogues[0].playlists
        for kind in KINDS:
            models = zip(*(catalogue.sum_models(kind) for catalogue in catalogues), strict=True)
            good, _, poor = map(pool_folds, models)
            found = {"mean": estimate(good), "difference": estimate(good, poor)}
            for (what, one), truth in zip(found.items(), TRUTH[n_artists, kind], strict=True):
                low, high = one.interval()
                covered[kind, what].append(low <= truth <= high)
    shares = {key: float(np.mean(values)) for key, values in covered.items()}
    print(shares)
    assert all(0.92 <= share <= 0.98 for share in shares.values()), shares


@pytest.mark.slow
def test_a_predictor_that_recognises_artists_and_nothing_else() -> None:
    n_artists, n_draws = 24, 400
    overlaps, verdicts = {"similarity": [], "filtered": []}, []
    p_beyond, p_of_good = [], []
    for seed in range(n_draws):
        catalogue = Catalogue(n_artists, seed)
        artists = catalogue.artists
        guess = catalogue.normal(n_artists, N_FACTORS)[artists] + 0.1 * catalogue.normal(
            len(artists), N_FACTORS
        )
        for kind, values in overlaps.items():
            reference, found = (catalogue.is_listed(one, kind) for one in (catalogue.reference, guess))
            values.append((reference & found).sum() / reference.sum())
            if kind == "similarity":
                p_value = permute(reference, found, np.zeros_like(artists), catalogue.random)
        p_beyond.append(permute(reference, found, artists, catalogue.random))
        p_of_good.append(
            permute(reference, catalogue.is_listed(catalogue.good, "filtered"), artists, catalogue.random)
        )
        verdicts.append(decide_verdict(p_value, None, p_beyond_artist=p_beyond[-1]))
    chance = K / (TRACKS_PER_ARTIST * n_artists - TRACKS_PER_ARTIST)
    assert np.mean(overlaps["similarity"]) > 3 * chance
    # Queries of large artists have fewer candidates: a little above the chance of equal artists.
    assert np.mean(overlaps["filtered"]) == pytest.approx(chance, rel=0.04)
    assert np.mean(np.array(p_beyond) < 0.05) <= 0.07
    assert np.mean(np.array(p_of_good) < 0.05) > 0.99
    assert verdicts.count(Verdict.ARTISTS_ONLY) == n_draws - np.count_nonzero(np.array(p_beyond) <= 0.05)


@pytest.mark.parametrize("kind", ["similarity", "filtered"])
def test_permutations_beyond_artists_as_permuted_one_by_one(kind: str) -> None:
    catalogue = Catalogue(n_artists=12, seed=1)
    artists, is_filtered = catalogue.artists, kind == "filtered"
    weak = catalogue.good + 2 * catalogue.draw()
    lists = [catalogue.rank(one, kind, len(artists) - 1) for one in (catalogue.reference, weak)]
    ((found,),) = permutation_test(
        *lists, (K,), artists=artists, filtered=is_filtered, within=("artists",)
    ).values()
    listed = [catalogue.is_listed(one, kind) for one in (catalogue.reference, weak)]
    expected = permute(*listed, artists, catalogue.random, 999)
    # 4 standard errors of the difference of two shares of 999 permutations.
    assert found.p_value == pytest.approx(expected, abs=4 * np.sqrt(2 * expected * (1 - expected) / 999))


def permute(
    reference: np.ndarray,
    found: np.ndarray,
    artists: np.ndarray,
    random: np.random.Generator,
    n_permutations: int = N_PERMUTATIONS,
) -> float:
    """Return the p-value if artists of equal size are exchanged and their tracks shuffled; all one artist: any.

    `reference` and `found`, shape (n_tracks, n_tracks), bool: whether a track is in the list of another.
    """
    tracks_of = [np.flatnonzero(artists == artist) for artist in range(artists.max() + 1)]
    observed, n_reached = (reference & found).sum(), 0
    rows = np.empty(len(artists), np.int64)
    for _ in range(n_permutations):
        for size in {len(tracks) for tracks in tracks_of}:
            same = [tracks for tracks in tracks_of if len(tracks) == size]
            for tracks, given in zip(same, random.permutation(len(same)), strict=True):
                rows[tracks] = random.permutation(same[given])
        n_reached += (reference & found[rows][:, rows]).sum() >= observed
    return (1 + n_reached) / (1 + n_permutations)


def compute_truth(n_artists: int) -> None:
    """Print the truth for a number of artists, by kind."""
    means = {kind: np.zeros(2) for kind in KINDS}
    for seed in range(FIRST_TRUTH_SEED, FIRST_TRUTH_SEED + N_TRUTH):
        catalogue = Catalogue(n_artists, seed)
        models = (catalogue.reference, catalogue.good, catalogue.poor)
        length = K + int(np.bincount(catalogue.artists).max()) - 1
        similar = [catalogue.rank(one, "similarity", length).indices for one in models]
        is_own = [catalogue.artists[one] == catalogue.artists[:, np.newaxis] for one in similar]
        lists = {
            "similarity": similar,
            "filtered": [
                np.take_along_axis(one, np.argsort(own, axis=1, kind="stable"), axis=1)
                for one, own in zip(similar, is_own, strict=True)
            ],
            "dot": [catalogue.rank(one, "dot", K).indices for one in models],
        }
        ndcg = [np.nanmean(ndcg_at_k(catalogue.playlists, one, catalogue.held_out, K)) for one in models[1:]]
        means["ndcg"] += np.array([ndcg[0], ndcg[0] - ndcg[1]]) / N_TRUTH
        for kind, (reference, good, poor) in lists.items():
            overlaps = [list_overlap(reference[:, :K], one[:, :K]).mean() for one in (good, poor)]
            means[kind] += np.array([overlaps[0], overlaps[0] - overlaps[1]]) / N_TRUTH
    for kind, (good, less_poor) in means.items():
        print(f'    ({n_artists}, "{kind}"): ({good:.5f}, {less_poor:.5f}),', flush=True)


if __name__ == "__main__":
    for n_artists in N_DRAWS:
        compute_truth(n_artists)
