import keras
import numpy as np
import pytest
import tensorflow as tf

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import ConfigError, DataError
from cs_keras.models import get_baseline, triplet
from cs_keras.training.triplets import mining as triplets
from cs_keras.training.triplets.fit import EmbeddingSpread
from cs_keras.training.triplets.gradient_caching import GradientCachingModel, cached_gradients
from cs_keras.training.triplets.mining import (
    active_share,
    batch_hard_losses,
    draw_triplets,
    find_candidates,
    in_batch_pairs,
    make_triplet_loss,
    mean_loss,
    offline_losses,
    semi_hard_losses,
    squared_distances,
)

MARGIN = 0.4
AUDIO = AudioConfig(sample_rate=8000, n_fft=128, hop_length=64)


def embedding_spread(points):
    metric = EmbeddingSpread(points.shape[1])
    metric.update_state(None, points)
    return metric.result()


def draw(n=60, n_factors=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_factors)).astype(np.float32)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def on_sphere(n, n_dimensions=8, seed=1):
    return unit(draw(n, n_dimensions, seed))


def cosine_distances(factors):
    return 1 - unit(factors.astype(np.float64)) @ unit(factors.astype(np.float64)).T


def squared(embeddings, i, j):
    return float(((embeddings[i].astype(np.float64) - embeddings[j]) ** 2).sum())


# ---- offline sampling


def test_candidates_are_those_of_a_full_sort():
    factors = draw(300)
    found = find_candidates(factors, n_nearest=20, n_farthest=50)
    assert found.nearest.shape == (300, 20) and found.farthest.shape == (300, 50)
    for i, distance in enumerate(cosine_distances(factors)):
        others = [j for j in np.argsort(distance) if j != i]
        assert found.nearest[i].tolist() == others[:20]
        assert found.farthest[i].tolist() == others[::-1][:50]


def test_blocks_do_not_matter(monkeypatch):
    factors = draw(200)
    whole = find_candidates(factors)
    monkeypatch.setattr(triplets, "BLOCK_ENTRIES", 200 * 7)
    blocks = find_candidates(factors)
    assert np.array_equal(whole.nearest, blocks.nearest)
    assert np.array_equal(whole.farthest, blocks.farthest)


@pytest.mark.parametrize(
    ("n", "sizes"), [(3, (1, 1)), (11, (1, 2)), (101, (10, 25)), (201, (20, 50)), (2101, (20, 500))]
)
def test_few_tracks_have_few_candidates_never_both_near_and_far(n, sizes):
    found = find_candidates(draw(n))
    assert (found.nearest.shape[1], found.farthest.shape[1]) == sizes
    for i in range(0, n, max(1, n // 50)):
        near, far = set(found.nearest[i].tolist()), set(found.farthest[i].tolist())
        assert not near & far and i not in near | far


def test_equal_tracks_are_taken_in_the_order_of_rows():
    found = find_candidates(np.ones((31, 4), np.float32))
    assert found.nearest[0].tolist() == [1, 2, 3] and found.nearest[30].tolist() == [0, 1, 2]


def test_two_tracks_are_too_few():
    with pytest.raises(DataError, match="at least three tracks with factors. Received: 2"):
        find_candidates(draw(2))


def test_triplets_are_of_candidates_one_for_each_track():
    candidates = find_candidates(draw(150))
    drawn = draw_triplets(candidates, seed=0)
    assert sorted(drawn[:, 0]) == list(range(150))
    for anchor, positive, negative in drawn:
        assert positive in candidates.nearest[anchor] and negative in candidates.farthest[anchor]
        assert len({anchor, positive, negative}) == 3


def test_seed_and_epoch_decide_the_triplets():
    candidates = find_candidates(draw(150))
    first = draw_triplets(candidates, 1, 0)
    assert np.array_equal(first, draw_triplets(candidates, 1, 0))
    assert not np.array_equal(first, draw_triplets(candidates, 1, 1))
    assert not np.array_equal(first, draw_triplets(candidates, 2, 0))


def test_every_candidate_is_drawn_some_time():
    candidates = find_candidates(draw(120))
    drawn = np.concatenate([draw_triplets(candidates, 0, epoch) for epoch in range(300)])
    of_first = drawn[drawn[:, 0] == 0]
    assert set(of_first[:, 1]) == set(candidates.nearest[0].tolist())
    assert set(of_first[:, 2]) == set(candidates.farthest[0].tolist())


# ---- losses


def test_offline_losses_equal_the_formula():
    embeddings = on_sphere(30)
    expected = [
        max(squared(embeddings, i, i + 1) - squared(embeddings, i, i + 2) + MARGIN, 0)
        for i in range(0, 30, 3)
    ]
    assert 0 in expected and max(expected) > MARGIN
    np.testing.assert_allclose(offline_losses(embeddings, MARGIN), expected, atol=1e-6)


def test_squared_distances_equal_the_formula_and_are_never_negative():
    embeddings = np.concatenate([on_sphere(20), on_sphere(20)])
    found = squared_distances(embeddings).numpy()
    expected = [[squared(embeddings, i, j) for j in range(40)] for i in range(40)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.min() >= 0


@pytest.mark.parametrize("n", [3, 10, 41, 100])
def test_pairs_of_a_batch_are_its_nearest_and_farthest(n):
    factors = draw(n, seed=n)
    positive, negative = (mask.numpy() for mask in in_batch_pairs(factors))
    n_positive, n_negative = max(1, int(0.05 * (n - 1))), max(1, int(0.5 * (n - 1)))
    for i, distance in enumerate(cosine_distances(factors)):
        others = [j for j in np.argsort(distance) if j != i]
        assert set(np.flatnonzero(positive[i])) == set(others[:n_positive])
        assert set(np.flatnonzero(negative[i])) == set(others[-n_negative:])


def test_a_batch_of_equal_tracks_has_no_negatives():
    positive, negative = in_batch_pairs(np.ones((6, 4), np.float32))
    assert np.array_equal(positive, ~np.eye(6, dtype=bool)) and not negative.numpy().any()


def masks(n, seed=2):
    """Random pairs, some anchors without a positive, some without a negative."""
    random = np.random.default_rng(seed).random((n, n))
    positive, negative = random < 0.15, random > 0.6
    positive[:3], negative[2:5] = False, False
    for mask in (positive, negative):
        np.fill_diagonal(mask, False)
    return positive, negative


def batch_hard_by_hand(embeddings, positive, negative):
    losses = np.zeros(len(embeddings))
    for i in range(len(embeddings)):
        near = [squared(embeddings, i, j) for j in np.flatnonzero(positive[i])]
        far = [squared(embeddings, i, j) for j in np.flatnonzero(negative[i])]
        if near and far:
            losses[i] = max(max(near) - min(far) + MARGIN, 0)
    return losses, positive.any(axis=1) & negative.any(axis=1)


def semi_hard_by_hand(embeddings, positive, negative):
    n = len(embeddings)
    losses, is_triplet = np.zeros((n, n)), np.zeros((n, n), bool)
    for i in range(n):
        far = [squared(embeddings, i, k) for k in np.flatnonzero(negative[i])]
        for j in np.flatnonzero(positive[i]) if far else ():
            near = squared(embeddings, i, j)
            beyond = [d for d in far if d > near]
            losses[i, j] = max(near - (min(beyond) if beyond else max(far)) + MARGIN, 0)
            is_triplet[i, j] = True
    return losses, is_triplet


MINERS = pytest.mark.parametrize(
    ("mine", "by_hand"),
    [(batch_hard_losses, batch_hard_by_hand), (semi_hard_losses, semi_hard_by_hand)],
    ids=["batch_hard", "semi_hard"],
)


@MINERS
@pytest.mark.parametrize("spread", [1.0, 0.3])  # near each other, many negatives lie within the margin
def test_mined_losses_equal_those_found_by_looking_at_every_triplet(mine, by_hand, spread):
    embeddings = unit(on_sphere(40) * spread + on_sphere(1, seed=3)).astype(np.float32)
    positive, negative = masks(40)
    losses, is_triplet = mine(embeddings, positive, negative, MARGIN)
    expected, expected_triplet = by_hand(embeddings, positive, negative)
    assert np.array_equal(is_triplet, expected_triplet)
    np.testing.assert_allclose(losses, expected, atol=1e-5)
    assert float(mean_loss(losses, is_triplet)) == pytest.approx(expected.sum() / expected_triplet.sum())
    assert float(active_share(losses, is_triplet)) == pytest.approx(
        (expected > 0).sum() / is_triplet.numpy().sum()
    )


@MINERS
def test_gradients_equal_differences(mine, by_hand):
    embeddings = on_sphere(12, 3).astype(np.float64)
    positive, negative = masks(12)
    with tf.GradientTape() as tape:
        x = tf.Variable(embeddings, dtype=tf.float32)
        loss = mean_loss(*mine(x, positive, negative, MARGIN))
    gradient = tape.gradient(loss, x).numpy()
    assert np.abs(gradient).max() > 0.01
    step = 1e-5
    for i, d in np.ndindex(4, 3):
        moved = []
        for sign in (1, -1):
            shifted = embeddings.copy()
            shifted[i, d] += sign * step
            losses, is_triplet = by_hand(shifted, positive, negative)
            moved.append(losses.sum() / is_triplet.sum())
        # Float32 against differences in float64, of gradients of about 0.1.
        assert gradient[i, d] == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=1e-4)


@MINERS
def test_a_batch_without_triplets_has_no_loss_and_finite_gradients(mine, by_hand):
    nothing = np.zeros((5, 5), bool)
    x = tf.Variable(on_sphere(5))
    with tf.GradientTape() as tape:
        losses, is_triplet = mine(x, nothing, nothing, MARGIN)
        loss = mean_loss(losses, is_triplet)
    assert float(loss) == 0 and float(active_share(losses, is_triplet)) == 0
    assert np.isfinite(tape.gradient(loss, x)).all()


@MINERS
def test_a_collapsed_embedding_scores_the_margin(mine, by_hand):
    losses, is_triplet = mine(np.ones((40, 4), np.float32) / 2, *masks(40), MARGIN)
    assert float(mean_loss(losses, is_triplet)) == pytest.approx(MARGIN)
    assert float(active_share(losses, is_triplet)) == 1


def test_the_spread_shows_a_collapse():
    assert float(embedding_spread(np.full((50, 4), 0.5, np.float32))) == 0
    poles = np.repeat([[1.0, 0.0], [-1.0, 0.0]], 5, axis=0)
    assert float(embedding_spread(poles)) == pytest.approx(1)
    assert float(embedding_spread(on_sphere(5000))) == pytest.approx(1, abs=0.01)


# ---- gradient caching


def network(filters=4):
    keras.utils.set_random_seed(0)
    changes = {
        "model": {"filters": filters, "n_dimensions": 6},
        "sequence": {"frames": 16},
        "front_end": {"n_mels": 8},
    }
    return triplet.build_embedding(config.replace(get_baseline("triplet"), changes), AUDIO)


def sequences(n):
    return 10 ** np.random.default_rng(0).uniform(-3, 1, (n, 16, AUDIO.n_bins)).astype(np.float32)


@pytest.mark.parametrize("mining", triplet.MINING)
@pytest.mark.parametrize("micro_batch", [1, 5, 12, 100])
@pytest.mark.parametrize("in_graph", [False, True])
def test_cached_gradients_equal_those_of_the_whole_batch(mining, micro_batch, in_graph):
    model, inputs, factors = network(), tf.constant(sequences(12)), draw(12)
    loss_of = make_triplet_loss(mining, MARGIN)
    with tf.GradientTape() as tape:
        expected = loss_of(factors, model(inputs, training=True))
    expected_gradients = tape.gradient(expected, [weight.value for weight in model.trainable_variables])

    def run(x):
        return cached_gradients(model, x, lambda embeddings: loss_of(factors, embeddings), micro_batch)

    loss, gradients, embeddings = (tf.function(run) if in_graph else run)(inputs)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(embeddings, model(inputs), atol=1e-5)
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        # Sums of float32 in another order.
        np.testing.assert_allclose(
            gradient, other, rtol=1e-3, atol=1e-5 * float(tf.reduce_max(tf.abs(other)))
        )


@pytest.mark.parametrize("mining", triplet.MINING)
def test_training_with_caching_is_training_without(mining):
    found = []
    for wrap in (lambda model: model, lambda model: GradientCachingModel(model, 4)):
        inner = network()
        model = wrap(inner)
        model.compile(keras.optimizers.SGD(0.01), make_triplet_loss(mining, MARGIN))
        data = tf.data.Dataset.from_tensor_slices((sequences(24), draw(24))).batch(12)
        history = model.fit(data, epochs=3, verbose=0)
        found.append((history.history["loss"], inner.get_weights()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_caching_works_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = GradientCachingModel(network(), 4)
    finally:
        keras.config.set_dtype_policy("float32")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2))
    model.compile(optimizer, make_triplet_loss("batch_hard", MARGIN))
    data = tf.data.Dataset.from_tensor_slices((sequences(24), draw(24))).batch(12)
    losses = model.fit(data, epochs=10, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and 0 < losses[-1] < losses[0] < 3


def test_layers_that_look_across_the_batch_are_refused():
    x = keras.Input((4,))
    for layer in (keras.layers.BatchNormalization(name="norm"), keras.layers.Dropout(0.5, name="drop")):
        with pytest.raises(ConfigError, match=f"layer '{layer.name}'"):
            GradientCachingModel(keras.Model(x, layer(x)), 2)


@pytest.mark.parametrize("mining", triplet.MINING)
def test_tracks_with_similar_factors_come_to_lie_together(mining):
    """Quiet and loud tracks have opposite factors; the embedding learns to separate them."""
    inputs = sequences(24)
    inputs[::2] *= 1e-3
    factors = np.where(np.arange(24)[:, None] % 2, 1.0, -1.0) + 0.05 * draw(24)
    if mining == "offline":
        order = draw_triplets(find_candidates(factors), 0).ravel()
        inputs, factors = inputs[order], factors[order]
    model = network()
    model.compile(keras.optimizers.Adam(1e-2), make_triplet_loss(mining, MARGIN))
    data = tf.data.Dataset.from_tensors((inputs, factors))
    losses = model.fit(data, epochs=25, verbose=0).history["loss"]
    assert losses[-1] < 0.1 * MARGIN < losses[0]
    embeddings = model.predict(sequences(24) * np.where(np.arange(24) % 2, 1, 1e-3)[:, None, None], verbose=0)
    distance = squared_distances(embeddings).numpy()
    assert distance[::2, ::2].mean() < 0.2 * distance[::2, 1::2].mean()
    assert float(embedding_spread(embeddings)) > 0.05
