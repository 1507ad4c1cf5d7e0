"""Exact top-k lists, compared with faiss and NumPy; permutation tests; and one model's whole evaluation."""

from collections.abc import Iterator

import faiss
import numpy as np

from benchmarks.comparison import Comparison, Line, best_seconds
from benchmarks.evaluation import ALLOWED_SECONDS, SMALL, THESIS, time_one_model
from benchmarks.settings import Settings
from cs_keras.evaluation.search.intersection import count_shared
from cs_keras.evaluation.search.topk import TopK, top_k_dot, top_k_similar
from cs_keras.evaluation.statistics.permutation_test import permutation_test

TOPIC = "top-k"
BLOCK_SIZE = 1024
LEAST_AGREEMENT = 0.999  # float32 scores cannot order items whose scores differ by less than rounding
N_CLASSES = 20  # of a predictor with many ties: one-hot rows
KS = (10, 50, 100, 500)
PEER_PERMUTATIONS = 20  # of the peer, whose time for more is in proportion


def measure(settings: Settings) -> Iterator[Line]:
    yield from _measure_lists(settings)
    yield from _measure_permutations(settings)
    for size in (SMALL, THESIS):
        allowed = ALLOWED_SECONDS[size]
        rate = 60 / time_one_model(size)
        queries = min(size.playlists, size.queries)
        what = f"evaluation, {size.tracks:,} x {queries:,}, {size.permutations} perm."
        yield Comparison(TOPIC, what, rate, 60 / allowed, "models/min", f"{allowed} s a model", 1.0)


def _measure_lists(settings: Settings) -> Iterator[Line]:
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((settings.items, settings.factors), np.float32)
    k = min(settings.k, settings.items - 1)
    lists = [set(found[0].tolist()) for found in (top_k_similar(factors, k).indices, _by_faiss(factors, k))]
    if len(lists[0] & lists[1]) < LEAST_AGREEMENT * k - 1:
        raise RuntimeError("The lists of faiss and of top_k_similar differ.")
    turns = (
        lambda: top_k_similar(factors, k),
        lambda: _by_faiss(factors, k),
        lambda: _by_numpy(factors, k),
    )
    rates = [settings.items / s for s in best_seconds(turns, max(2, settings.repeats // 2))]
    what = f"{settings.items:,} lists of {k}"
    yield Comparison(TOPIC, what, rates[0], rates[1], "lists/s", "faiss IndexFlatIP", 0.7)
    yield Comparison(TOPIC, what, rates[0], rates[2], "lists/s", "NumPy argpartition")

    tied = np.eye(N_CLASSES, dtype=np.float32)[rng.integers(0, N_CLASSES, settings.items)]
    turns = (lambda: top_k_similar(tied, k), lambda: _by_faiss(tied, k))
    rates = [settings.items / s for s in best_seconds(turns, 2)]
    what = f"the same, {N_CLASSES} different rows"
    yield Comparison(TOPIC, what, rates[0], rates[1], "lists/s", "faiss IndexFlatIP", 0.2)


def _measure_permutations(settings: Settings) -> Iterator[Line]:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((SMALL.tracks, SMALL.factors), np.float32)
    predicted = reference + rng.standard_normal(reference.shape, np.float32)
    playlists = rng.standard_normal((SMALL.playlists, SMALL.factors), np.float32)
    for name, lists in (
        ("similarity", [top_k_similar(rows, max(KS)) for rows in (reference, predicted)]),
        ("dot product", [top_k_dot(playlists, rows, max(KS)) for rows in (reference, predicted)]),
    ):
        turns = (
            lambda lists=lists: permutation_test(*lists, KS, n_permutations=settings.permutations),
            lambda lists=lists: _permute(*lists),
        )
        seconds = best_seconds(turns, 1)
        rates = settings.permutations / seconds[0], PEER_PERMUTATIONS / seconds[1]
        target = 10.0 if name == "dot product" else None
        yield Comparison(TOPIC, f"permutations, {name}", *rates, "perm./s", "lists compared anew", target)


def _permute(reference: TopK, predicted: TopK) -> None:
    """Compare the reference's lists with lists of permuted predictions, one permutation after another."""
    rng = np.random.default_rng(0)
    for _ in range(PEER_PERMUTATIONS):
        items = rng.permutation(reference.n_items)
        tracks = np.argsort(items)  # which tracks get the predictions of a list
        lists = predicted.indices if reference.metric == "dot" else predicted.indices[items]
        count_shared(reference.indices, tracks[lists], KS, reference.n_items)


def _by_faiss(factors: np.ndarray, k: int) -> np.ndarray:
    rows = _unit(factors)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return _without_own(index.search(rows, k + 1)[1])


def _by_numpy(factors: np.ndarray, k: int) -> np.ndarray:
    rows = _unit(factors)
    found = []
    for start in range(0, len(rows), BLOCK_SIZE):
        scores = rows[start : start + BLOCK_SIZE] @ rows.T
        best = np.argpartition(-scores, k, axis=1)[:, : k + 1]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        found.append(np.take_along_axis(best, order, axis=1))
    return _without_own(np.concatenate(found))


def _unit(factors: np.ndarray) -> np.ndarray:
    return factors / np.linalg.norm(factors, axis=1, keepdims=True)


def _without_own(found: np.ndarray) -> np.ndarray:
    """Return the lists without the query itself, which is always its nearest neighbour."""
    return found[:, 1:]
