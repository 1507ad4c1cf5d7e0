"""Targets that have lost their popularity: all of one length, in whichever scaling."""

import dataclasses

import numpy as np
import pytest

from cs_keras.factors.scaling import fit_scaler
from cs_keras.factors.store import Factors
from cs_keras.models.spec import TrainingConfig
from cs_keras.training.losses.objective import make_loss
from pipelines.training.objectives import make_training_targets
from pipelines.training.targets import TrainingData

N_TRACKS, N_FACTORS = 40, 5
TRAIN = np.arange(30)
UNIT = TrainingConfig(loss="unit_mse")


def make(scaling):
    """Factors of very different lengths; the last track has none."""
    rng = np.random.default_rng(0)
    item_factors = rng.normal(0.5, 1, (N_TRACKS, N_FACTORS)) * rng.lognormal(size=(N_TRACKS, 1))
    item_factors[-1] = 0
    item_factors = item_factors.astype(np.float32)
    ids = np.array([f"t{n}" for n in range(N_TRACKS)])
    factors = Factors(
        name="wmf",
        track_ids=ids,
        item_factors=item_factors,
        has_factors=np.arange(N_TRACKS) < N_TRACKS - 1,
        playlist_ids=np.array(["p"]),
        playlist_factors=np.ones((1, N_FACTORS), np.float32),
        scaler=fit_scaler(scaling, item_factors[TRAIN]),
        protocol="strict",
        config=None,
        quality={},
    )
    targets = factors.scaler.transform(item_factors)
    return TrainingData(
        None, targets, TRAIN, np.arange(30, 35), np.arange(30, 40), item_factors, "digest"
    ), factors


@pytest.mark.parametrize("scaling", ["standardize", "none"])
def test_scaled_back_they_are_the_factors_at_the_train_tracks_mean_length(scaling):
    task, factors = make(scaling)
    examples = make_training_targets(task, factors, UNIT).examples
    found, own = factors.scaler.inverse(examples)[:-1], task.item_factors[:-1]
    assert examples.dtype == np.float32 and np.isfinite(examples).all()
    lengths = np.linalg.norm(own, axis=1)
    assert lengths.max() > 5 * lengths.min()
    # Float32, through a scaling and back.
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), lengths[TRAIN].mean(), rtol=1e-4)
    np.testing.assert_allclose(
        (found * own).sum(axis=1) / lengths**2, lengths[TRAIN].mean() / lengths, rtol=1e-4
    )


def test_no_other_length_comes_nearer_to_the_train_tracks():
    task, factors = make("none")
    found = make_training_targets(task, factors, UNIT).examples[TRAIN]
    error = [np.square(task.item_factors[TRAIN] - found * share).sum() for share in (0.99, 1.0, 1.01)]
    assert error[1] == min(error)


def test_of_targets_of_unit_norm_nothing_is_changed():
    task, factors = make("unit_norm")
    examples = make_training_targets(task, factors, UNIT).examples
    np.testing.assert_allclose(examples, task.targets, rtol=1e-5, atol=1e-7)  # float32


def test_no_track_that_is_not_trained_on_has_a_say():
    task, factors = make("standardize")
    changed = factors.item_factors.copy()
    changed[30:] *= 7
    other = dataclasses.replace(factors, item_factors=changed)
    examples = [make_training_targets(task, one, UNIT).examples for one in (factors, other)]
    np.testing.assert_allclose(*examples, rtol=1e-4, atol=1e-5)  # float32: a length does not matter


def test_it_is_minimised_as_a_squared_error():
    task, factors = make("standardize")
    assert make_training_targets(task, factors, UNIT).objective is None
    plain = make_training_targets(task, factors, TrainingConfig())
    np.testing.assert_array_equal(plain.examples[:-1], task.targets[:-1])
    assert not plain.examples[-1].any()  # of no interactions
    loss = make_loss(TrainingConfig(loss="unit_mse"))
    assert float(loss(np.ones((2, 3)), np.full((2, 3), 3.0))) == pytest.approx(4)
