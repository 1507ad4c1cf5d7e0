"""Exact top-k lists, compared with faiss and NumPy; and the whole overlap with its permutation test."""

from collections.abc import Iterator

import faiss
import numpy as np

from benchmarks.comparison import Comparison, Line, best_seconds
from benchmarks.settings import Settings
from cs_keras.evaluation.overlap import evaluate_overlap
from cs_keras.evaluation.search.topk import top_k_similar

TOPIC = "top-k"
BLOCK_SIZE = 1024
LEAST_AGREEMENT = 0.999  # float32 scores cannot order items whose scores differ by less than rounding


def measure(settings: Settings) -> Iterator[Line]:
    rng = np.random.default_rng(0)
    shape = (settings.items, settings.factors)
    reference = rng.standard_normal(shape, np.float32)
    k = min(settings.k, settings.items - 1)

    turns = (
        lambda: top_k_similar(reference, k),
        lambda: _by_faiss(reference, k),
        lambda: _by_numpy(reference, k),
    )
    lists = [
        set(turn.ravel().tolist())
        for turn in (top_k_similar(reference, k).indices[:1], _by_faiss(reference, k)[:1])
    ]
    if len(lists[0] & lists[1]) < LEAST_AGREEMENT * k - 1:
        raise RuntimeError("The lists of faiss and of top_k_similar differ.")
    seconds = best_seconds(turns, max(2, settings.repeats // 2))
    rates = [settings.items / s for s in seconds]
    what = f"{settings.items:,} lists of {k}"
    yield Comparison(TOPIC, what, rates[0], rates[1], "lists/s", "faiss IndexFlatIP")
    yield Comparison(TOPIC, what, rates[0], rates[2], "lists/s", "NumPy argpartition")

    predicted = reference + rng.standard_normal(shape, np.float32)
    playlists = rng.standard_normal((settings.playlists, settings.factors), np.float32)
    for name, queries in (("similarity", None), ("dot product", playlists)):
        seconds = best_seconds(
            (
                lambda queries=queries: evaluate_overlap(
                    reference, predicted, n_permutations=settings.permutations, playlist_factors=queries
                ),
                lambda queries=queries: [_search(rows, queries, k) for rows in (reference, predicted)],
            ),
            repeats=1,
            warm_up=False,
        )
        what = f"overlap by {name}, {settings.permutations} perm."
        yield Comparison(TOPIC, what, *(60 / s for s in seconds), "runs/min", "faiss, two top-k only")


def _search(factors: np.ndarray, playlists: np.ndarray | None, k: int) -> np.ndarray:
    if playlists is None:
        return _by_faiss(factors, k)
    index = faiss.IndexFlatIP(factors.shape[1])
    index.add(factors)
    return index.search(playlists, k)[1]


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
