import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats

from cs_keras.models.distribution import (
    MIN_DEVIATION,
    add_moments,
    count_parameters,
    moments_model,
    split_moments,
    split_parameters,
    trained_part,
)
from cs_keras.training.losses.likelihood import negative_log_likelihood

N_FACTORS = 4
N_DISTRIBUTIONS = pytest.mark.parametrize("n_distributions", [1, 3])


def draw_parameters(n_distributions, n=50):
    size = n, count_parameters(N_FACTORS, n_distributions)
    return np.random.default_rng(0).normal(size=size).astype(np.float32)


def distributions(parameters, n_distributions):
    """Weights, means and deviations in float64."""
    log_weights, *sizes = (
        np.asarray(one, np.float64) for one in split_parameters(parameters, N_FACTORS, n_distributions)
    )
    return np.exp(log_weights), *sizes


def make_model(n_distributions):
    parameters = keras.Input((count_parameters(N_FACTORS, n_distributions),))
    network = keras.Model(parameters, keras.layers.Activation("linear", name="factors")(parameters))
    return add_moments(network, N_FACTORS, n_distributions)


@N_DISTRIBUTIONS
def test_the_loss_is_scipys_log_likelihood(n_distributions):
    parameters = draw_parameters(n_distributions)
    targets = np.random.default_rng(1).normal(size=(50, N_FACTORS)).astype(np.float32)
    weights, means, deviations = distributions(parameters, n_distributions)
    by_component = scipy.stats.norm.logpdf(targets[:, np.newaxis], means, deviations).sum(axis=2)
    expected = -scipy.special.logsumexp(by_component, axis=1, b=weights) / N_FACTORS
    found = negative_log_likelihood(N_FACTORS, n_distributions).fn(targets, parameters)
    np.testing.assert_allclose(found, expected, rtol=1e-4)  # float32


@N_DISTRIBUTIONS
def test_the_loss_is_finite_for_extreme_parameters_and_exact_targets(n_distributions):
    parameters = draw_parameters(n_distributions)
    for scale in (1e-3, 1e3, 1e6):
        targets = parameters[:, :N_FACTORS]
        found = negative_log_likelihood(N_FACTORS, n_distributions).fn(targets, scale * parameters)
        assert np.isfinite(found).all()


@N_DISTRIBUTIONS
def test_mean_and_deviation_are_those_of_draws_from_the_distributions(n_distributions):
    parameters, random, n = draw_parameters(n_distributions, 5), np.random.default_rng(2), 200_000
    weights, means, deviations = distributions(parameters, n_distributions)
    model = make_model(n_distributions)
    mean, deviation = split_moments(moments_model(model)(parameters).numpy(), N_FACTORS)
    assert np.array_equal(model(parameters).numpy(), mean)
    for track in range(5):
        chosen = random.choice(n_distributions, n, p=weights[track] / weights[track].sum())
        drawn = random.normal(means[track][chosen], deviations[track][chosen])
        np.testing.assert_allclose(mean[track], drawn.mean(axis=0), atol=0.02)  # some 4 standard errors
        np.testing.assert_allclose(deviation[track], drawn.std(axis=0), rtol=0.02)


def test_moments_averaged_over_sequences_are_those_of_the_mixture():
    """The law of total variance: the mean of the variances plus the variance of the means."""
    parameters = draw_parameters(1, 6)
    _, means, deviations = distributions(parameters, 1)
    outputs = moments_model(make_model(1))(parameters).numpy().mean(axis=0, keepdims=True)
    mean, deviation = split_moments(outputs, N_FACTORS)
    np.testing.assert_allclose(mean[0], means[:, 0].mean(axis=0), rtol=1e-5, atol=1e-6)
    total = np.square(deviations[:, 0]).mean(axis=0) + means[:, 0].var(axis=0)
    np.testing.assert_allclose(np.square(deviation[0]), total, rtol=1e-5)


def test_a_deviation_is_at_least_the_floor_whatever_rounding_does():
    values = np.full((1, N_FACTORS), 100, np.float32)
    _, deviation = split_moments(np.hstack([values, np.square(values) - 1]), N_FACTORS)
    assert deviation.tolist() == [[np.float32(MIN_DEVIATION)] * N_FACTORS]


def test_a_network_without_distributions_stays_as_it_is():
    inputs = keras.Input((2,))
    network = keras.Model(inputs, keras.layers.Dense(N_FACTORS, name="factors")(inputs))
    assert add_moments(network, N_FACTORS, 0) is trained_part(network) is moments_model(network) is network
    outputs = np.zeros((3, N_FACTORS), np.float32)
    assert split_moments(outputs, N_FACTORS)[1] is None


@pytest.mark.parametrize("n_distributions", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_network_recovers_the_noise_of_each_group_of_tracks(n_distributions):
    """Factors are a linear map of two features and noise, whose deviation depends on the track's group."""
    keras.utils.set_random_seed(0)
    random, n, noise = np.random.default_rng(0), 3000, np.array([0.2, 0.5, 1.0])
    group, features = random.integers(0, 3, 2 * n), random.normal(size=(2 * n, 2))
    inputs = np.hstack([features, np.eye(3)[group]]).astype(np.float32)
    true = features @ random.normal(size=(2, N_FACTORS))
    targets = (true + noise[group, np.newaxis] * random.normal(size=true.shape)).astype(np.float32)

    x = keras.Input((5,))
    hidden = keras.layers.Dense(32, "elu", kernel_initializer="he_normal")(x)
    n_parameters = count_parameters(N_FACTORS, n_distributions)
    parameters = keras.layers.Dense(n_parameters, kernel_initializer="zeros", name="factors")(hidden)
    model = add_moments(keras.Model(x, parameters), N_FACTORS, n_distributions)
    trained = trained_part(model)
    trained.compile(keras.optimizers.Adam(0.01), negative_log_likelihood(N_FACTORS, n_distributions))
    trained.fit(inputs[:n], targets[:n], 150, epochs=30, verbose=0)

    outputs = moments_model(model).predict(inputs[n:], n, verbose=0)
    mean, deviation = split_moments(outputs, N_FACTORS)
    for number, size in enumerate(noise):
        assert np.median(deviation[group[n:] == number]) == pytest.approx(size, rel=0.1)
    errors = np.abs(mean - targets[n:]) / deviation
    levels = np.arange(0.1, 1, 0.1)
    coverage = [(errors <= limit).mean() for limit in scipy.stats.norm.ppf((1 + levels) / 2)]
    assert np.abs(coverage - levels).mean() < 0.05
