import functools

import numpy as np
import pytest
import scipy.sparse

from cs_keras.factors.quality import describe_agreement, warn_of_noise
from cs_keras.factors.wmf import WmfConfig, fit_protocol
from pipelines.factors.ceiling import measure_ceiling

N_PLAYLISTS, N_TRACKS = 300, 120
IS_TRAIN, IS_TEST = np.arange(N_TRACKS) < 60, np.arange(N_TRACKS) >= 60
CONFIG = WmfConfig(factors=3, alpha=5.0, regularization=0.1, iterations=10)


def make_interactions(taste: float) -> scipy.sparse.csr_matrix:
    """Return playlists of three tastes, which a share `taste` of all interactions follow; the rest are random."""
    random = np.random.default_rng(0)
    same = np.arange(N_PLAYLISTS)[:, np.newaxis] % 3 == np.arange(N_TRACKS) % 3
    return scipy.sparse.csr_matrix(
        random.random(same.shape) < 0.1 * ((1 - taste) + 3 * taste * same), dtype=np.float32
    )


@functools.cache
def measure(taste: float, config: WmfConfig = CONFIG):
    user_items = make_interactions(taste)
    fit = fit_protocol(user_items, IS_TRAIN, config)
    return fit, measure_ceiling(user_items, IS_TRAIN, IS_TEST, fit, config, "strict")


def nearest(factors: np.ndarray, k: int) -> list[set[int]]:
    unit = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -2)
    return [set(row[:k].tolist()) for row in np.argsort(-similarity, axis=1)]


def test_agreement_is_the_share_of_common_nearest_tracks() -> None:
    fit, (second, _, agreement) = measure(
        0.3, WmfConfig(factors=12, alpha=5.0, regularization=0.1, iterations=3)
    )
    lists = [nearest(one.item_factors[IS_TEST].astype(float), 10) for one in (fit, second)]
    expected = np.mean([len(a & b) / 10 for a, b in zip(*lists, strict=True)])
    row = agreement["second_seed"]["similarity"][0]
    assert row["overlap"] == pytest.approx(expected, abs=1e-9) and 0.2 < expected < 0.95
    assert (row["k"], row["n_queries"], row["n_candidates"]) == (10, 60, 59)
    assert row["low"] <= row["overlap"] <= row["high"]


def test_stable_factors_agree_and_noise_does_not() -> None:
    (*_, stable), (*_, noise) = measure(1)[1], measure(0, WmfConfig(factors=40, alpha=40.0, iterations=3))[1]
    for name in ("second_seed", "halves"):
        for kind in ("similarity", "dot"):
            assert stable[name][kind][0]["overlap"] > noise[name][kind][0]["overlap"] + 0.1
    assert warn_of_noise({"ceiling": stable}) is None
    warning = warn_of_noise({"ceiling": noise})
    share = noise["second_seed"]["similarity"][0]["overlap"]
    assert share < 0.5 and warning is not None and f"agrees on only {share:.1%}" in warning
    description = describe_agreement({"ceiling": noise})
    assert description.startswith(f"another seed agrees on {share:.1%} by similarity and ")
    assert "; halves of the playlists agree on " in description and description.endswith(" of the top 10")


def test_lists_longer_than_the_test_tracks_are_not_available() -> None:
    rows = measure(1)[1][2]["halves"]["dot"]
    assert [row["overlap"] is None for row in rows] == [False, False, True, True]


def test_a_single_test_track_has_no_neighbours_to_agree_on() -> None:
    fit, _ = measure(1)
    _, halves, agreement = measure_ceiling(
        make_interactions(1), IS_TRAIN, np.arange(N_TRACKS) == 100, fit, CONFIG, "strict"
    )
    assert agreement == {} and halves == ()
    assert describe_agreement({"ceiling": {}}) == "" and warn_of_noise({"ceiling": {}}) is None


def test_what_cannot_be_halved_keeps_its_second_seed() -> None:
    user_items = scipy.sparse.csr_matrix(np.ones((1, N_TRACKS), dtype=np.float32))
    fit = fit_protocol(user_items, IS_TRAIN, WmfConfig(factors=2))
    _, halves, agreement = measure_ceiling(user_items, IS_TRAIN, IS_TEST, fit, WmfConfig(factors=2), "strict")
    assert set(agreement) == {"second_seed"} and halves == ()
