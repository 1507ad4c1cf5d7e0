import keras
import numpy as np
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig
from cs_keras.models.spec import TrainingConfig
from cs_keras.training.fit import fit
from cs_keras.training.triplets.fit import EmbeddingSpread, TripletBatches, triplet_objective
from cs_keras.training.triplets.gradient_caching import GradientCachingModel
from cs_keras.training.triplets.mining import find_candidates
from tests.data.small import write_small

LENGTHS = [9, 17, 4, 2, 12, 8, 16, 20]
ROWS = np.array([0, 1, 3, 5, 6, 7])
ANCHORS = {0: 2, 1: 4, 3: 1, 5: 2, 6: 4, 7: 5}  # crops of 4 frames that fit side by side
SEQUENCE = SequenceConfig(frames=4)
FACTORS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
CANDIDATES = find_candidates(FACTORS[ROWS], 1, 1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return Dataset(write_small(tmp_path_factory.mktemp("dataset"), LENGTHS))


def batches(dataset, seed=0):
    return TripletBatches(CANDIDATES, dataset, ROWS, FACTORS, SEQUENCE, 4, seed)


def drawn(dataset, epoch, seed=0):
    """Rows and first frames of an epoch's triplets, as the magnitudes say, each of shape (n_triplets, 3)."""
    found = batches(dataset, seed)
    x = np.concatenate([x for x, _ in found.from_epoch(epoch).take(found.steps_per_epoch)])
    row, start = np.divmod(x[:, 0, 0].astype(int), 100)
    return row.reshape(-1, 3), start.reshape(-1, 3)


def test_anchors_are_all_crops_of_a_pass_and_others_their_candidates(dataset):
    row, start = drawn(dataset, 0)
    assert {int(r): int(n) for r, n in zip(*np.unique(row[:, 0], return_counts=True), strict=True)} == ANCHORS
    place = {int(r): i for i, r in enumerate(ROWS)}
    for anchor, positive, negative in row.tolist():
        assert positive in ROWS[CANDIDATES.nearest[place[anchor]]]
        assert negative in ROWS[CANDIDATES.farthest[place[anchor]]]
    assert (start + 4 <= np.maximum(np.array(LENGTHS)[row], 4)).all()


def test_seed_and_epoch_decide_everything(dataset):
    assert all(np.array_equal(a, b) for a, b in zip(drawn(dataset, 1), drawn(dataset, 1), strict=True))
    assert not np.array_equal(drawn(dataset, 0)[1], drawn(dataset, 1)[1])
    assert not np.array_equal(drawn(dataset, 0)[1], drawn(dataset, 0, seed=1)[1])


def test_the_spread_of_an_epoch_is_that_of_all_its_embeddings():
    points = np.random.default_rng(0).normal(size=(50, 4)) + 1
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    metric = EmbeddingSpread(4)
    for part in np.split(points, [3, 20]):
        metric.update_state(None, part)
    assert float(metric.result()) == pytest.approx(
        np.square(points - points.mean(axis=0)).sum(axis=1).mean(), rel=1e-5
    )


@pytest.mark.parametrize("mining", ["offline", "semi_hard", "batch_hard"])
@pytest.mark.parametrize("micro_batch", [None, 5])
def test_a_collapsed_embedding_is_seen(dataset, tmp_path, mining, micro_batch):
    x = keras.Input((4, 9))
    y = keras.layers.Dense(2, kernel_initializer="zeros", bias_initializer="ones")(keras.layers.Flatten()(x))
    network = keras.Model(x, keras.layers.UnitNormalization()(y))
    if micro_batch:
        network = GradientCachingModel(network, micro_batch)
    train = batches(dataset)
    fitted = fit(
        network,
        train,
        train.from_epoch(0).take(train.steps_per_epoch),
        TrainingConfig(epochs=1, learning_rate=1e-12),
        tmp_path,
        objective=triplet_objective(mining, 0.4, 2),
    )
    (epoch,) = fitted.history
    for part in ("", "val_"):
        assert epoch[f"{part}loss"] == pytest.approx(0.4, rel=1e-4)  # steps of 1e-12 and float32 rounding
        assert epoch[f"{part}active_share"] == 1
        assert epoch[f"{part}embedding_spread"] == pytest.approx(0, abs=1e-5)  # as above
