"""What a judge says of predictions whose losses are known."""

import numpy as np
import pytest

from cs_keras.data.schema import Tracks, make_tracks
from cs_keras.errors import DataError
from cs_keras.factors.scaling import fit_scaler
from cs_keras.factors.store import Factors
from pipelines.evaluate import Judge
from pipelines.settings import EvaluationConfig

SETTINGS = EvaluationConfig(ks=(2, 500), n_permutations=99, n_bootstrap=50)
FOLDS = [0] * 12 + [7] * 4 + [8] * 8


def make_judge(scaling: str, n_test: int = 8) -> tuple[Judge, Factors, Tracks]:
    rng = np.random.default_rng(0)
    ids = [f"t{i}" for i in range(len(FOLDS))]
    rows = [
        {"track_id": i, "fold": fold, "shard": "s", "first_frame": 0, "n_frames": 1}
        for i, fold in zip(ids, FOLDS, strict=True)
    ]
    tracks = make_tracks(rows)
    items = (3 + 2 * rng.standard_normal((len(FOLDS), 5))).astype(np.float32)
    has_factors = np.ones(len(FOLDS), dtype=bool)
    has_factors[16 + n_test :] = False
    factors = Factors(
        name="wmf",
        track_ids=tracks.ids,
        item_factors=items,
        has_factors=has_factors,
        playlist_ids=np.array(["p0", "p1"]),
        playlist_factors=rng.standard_normal((2, 5)).astype(np.float32),
        scaler=fit_scaler(scaling, items[:12]),  # type: ignore[arg-type]
        protocol="strict",
        config=None,
        quality={},
    )
    return Judge(tracks, factors, SETTINGS, seed=0), factors, tracks


@pytest.mark.parametrize("scaling", ["standardize", "unit_norm", "none"])
def test_mse_is_that_of_the_targets_trained_on(scaling: str) -> None:
    judge, factors, _ = make_judge(scaling)
    targets = factors.scaler.transform(factors.item_factors[judge.rows["test"]])
    off_by_half = judge.losses("test", targets + 0.5)
    assert off_by_half["mse"] == pytest.approx(0.25, rel=1e-5)  # float32 additions
    assert judge.losses("test", targets)["mse"] == 0


def test_unit_norm_targets_have_no_r2_and_keep_their_cosine() -> None:
    judge, factors, _ = make_judge("unit_norm")
    targets = factors.scaler.transform(factors.item_factors[judge.rows["test"]])
    losses = judge.losses("test", targets)
    assert losses["r2"] is None
    assert losses["cosine_distance"] == pytest.approx(0, abs=1e-6)  # float32 lengths


def test_mean_predictor_scores_one_on_the_tracks_it_is_the_mean_of() -> None:
    judge, _, _ = make_judge("standardize")
    assert judge.mean_losses("train")["mse"] == pytest.approx(1, rel=1e-5)  # float32 sums of 60 squares
    assert judge.mean_losses("train")["r2"] == pytest.approx(0, abs=1e-5)


def test_a_single_test_track_has_no_similarity_lists() -> None:
    judge, _, _ = make_judge("standardize", n_test=1)
    overlaps = judge.overlaps(judge.reference)
    assert [row["available"] for row in overlaps["similarity"]] == [False, False]
    assert [row["available"] for row in overlaps["dot"]] == [False, False]


def test_no_test_track_with_factors_is_told() -> None:
    with pytest.raises(DataError, match="No test track has listening"):
        make_judge("standardize", n_test=0)
