import itertools
from pathlib import Path

import numpy as np
import pytest

from cs_keras.errors import ConfigError, StorageError
from cs_keras.playlists.index import KINDS, build_index, measure_recall, open_index


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Clusters, as tracks of a few styles are."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, 16))
    rows = centres[rng.integers(40, size=3000)] + 0.5 * rng.standard_normal((3000, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_exact_index_is_a_full_sort(vectors: np.ndarray) -> None:
    index = build_index(vectors, "exact")
    scores = vectors[:20].astype(np.float64) @ vectors.T.astype(np.float64)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    assert index.search(vectors[:20], 10).tolist() == expected.tolist()
    assert measure_recall(index, 10) == 1.0


def test_equal_scores_are_in_row_order() -> None:
    index = build_index(np.ones((7, 2), np.float32), "exact")
    assert list(index.iterate_ranked(np.ones(2))) == list(range(7))


@pytest.mark.parametrize("kind", KINDS)
def test_a_ranking_reaches_all_and_names_none_twice(kind: str, vectors: np.ndarray) -> None:
    index = build_index(vectors[:500], kind)
    ranked = list(index.iterate_ranked(vectors[0]))
    assert len(ranked) == len(set(ranked))
    assert len(ranked) == 500 if kind != "hnsw" else len(ranked) > 450  # a graph may not lead everywhere
    first = list(itertools.islice(index.iterate_ranked(vectors[0]), 5))
    assert first == ranked[:5] and first[0] == 0


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_recall_of_approximate_ones_is_measured(kind: str, vectors: np.ndarray) -> None:
    index = build_index(vectors, kind)
    recall = measure_recall(index, 10, n_queries=50)
    rng = np.random.default_rng(0)
    sample = rng.choice(len(vectors), 50, replace=False)
    exact = np.argsort(-(vectors[sample] @ vectors.T), axis=1)[:, :10]
    found = index.search(vectors[sample], 10)
    by_hand = np.mean([np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)])
    assert recall == pytest.approx(by_hand, abs=0.005)  # float32 scores order near-equals at will
    assert recall > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_index_finds_the_same(kind: str, vectors: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "tracks.index"
    made = open_index(vectors[:600], kind, path)
    content = path.read_bytes()
    kept = open_index(vectors[:600], kind, path)
    assert made.search(vectors[:5], 9).tolist() == kept.search(vectors[:5], 9).tolist()
    assert path.read_bytes() == content


def test_an_index_of_other_tracks_is_refused(vectors: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "tracks.index"
    open_index(vectors[:600], "exact", path)
    changed = vectors[:600].copy()
    changed[0] *= -1
    for others, kind in ((vectors[:599], "exact"), (changed, "exact"), (vectors[:600], "hnsw")):
        with pytest.raises(StorageError, match="is not the .* index of these"):
            open_index(others, kind, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StorageError, match="not a readable index"):
        open_index(vectors[:600], "exact", path)


def test_an_unknown_kind_is_refused(vectors: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="exact, hnsw, ivf"):
        build_index(vectors, "magic")
