"""Values inside a network, against Keras's own layers, and their figures."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.models import get_baseline, model_module
from cs_keras.run_files.inspection import NetworkView, read_inspection, write_inspection
from cs_keras.training.network_view import view_network
from reports.formats.network_figures import activations_figure, values_figure, weights_figure
from tests.reports.html.runs_made import keep_inspection

AUDIO = AudioConfig()


@pytest.fixture(scope="module")
def network() -> keras.Model:
    settings = {"model": {"filters": 6, "dense": (5,)}, "sequence": {"frames": 48}}
    return model_module("cnn-bn").build(config.replace(get_baseline("cnn-bn"), settings), 2, AUDIO)


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    return np.random.default_rng(0).lognormal(size=(3, 48, AUDIO.n_bins)).astype(np.float32)


@pytest.fixture(scope="module")
def view(network: keras.Model, windows: np.ndarray) -> NetworkView:
    return view_network(network, windows, 1)


def output(network: keras.Model, name: str, windows: np.ndarray) -> np.ndarray:
    return np.asarray(keras.Model(network.input, network.get_layer(name).output)(windows, training=False))


def test_values_are_those_of_the_front_end(
    view: NetworkView, network: keras.Model, windows: np.ndarray
) -> None:
    assert list(view.values) == ["decibel", "mel"]
    for name, values in view.values.items():
        expected = output(network, name, windows)
        assert len(values) >= 20_000 and np.isin(values, expected).mean() > 0.99  # rounding of other kernels
        assert values.mean() == pytest.approx(expected.mean(), abs=float(0.05 * expected.std()))


def test_activations_are_the_maps_that_vary_most(
    view: NetworkView, network: keras.Model, windows: np.ndarray
) -> None:
    assert list(view.activations) == ["decibel", "mel", "elu_1", "elu_2", "elu_3", "dense_1"]
    expected = output(network, "elu_2", windows)[1]
    chosen = sorted(np.argsort(-expected.var(axis=(0, 1)))[:4])
    np.testing.assert_allclose(view.activations["elu_2"], expected[..., chosen], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        view.activations["dense_1"], output(network, "dense_1", windows)[1], rtol=1e-4, atol=1e-5
    )


def test_weights_are_the_kernels_and_are_drawn_as_filters_by_channels(
    view: NetworkView, network: keras.Model
) -> None:
    for name, kernels in view.weights.items():
        kernel = network.get_layer(name).get_weights()[0]
        np.testing.assert_array_equal(kernels, np.moveaxis(kernel, (3, 2), (0, 1)))
    (image,) = weights_figure(view.weights["conv_2"]).axes[0].images
    table = np.asarray(image.get_array().filled(np.nan))[::-1]  # from top to bottom
    drawn = table[4 * 2 : 4 * 2 + 4, 4 * 5 : 4 * 5 + 3]  # filter 3, channel 6, above a gap
    np.testing.assert_array_equal(drawn[:3], view.weights["conv_2"][2, 5].T[::-1])
    assert np.isnan(drawn[3]).all()


def test_many_filters_are_reduced_to_those_of_the_largest_norms() -> None:
    inputs = keras.Input((8, 8, 20))
    model = keras.Model(inputs, keras.layers.Dense(2, name="factors")(keras.layers.Conv2D(40, 3)(inputs)))
    kernel = model.layers[1].get_weights()[0]
    (kernels,) = view_network(model, np.zeros((1, 8, 8, 20), np.float32), 0).weights.values()
    filters = np.sort(np.argsort(-np.linalg.norm(kernel.reshape(-1, 40), axis=0))[:16])
    assert kernels.shape == (16, 16, 3, 3)
    norms = np.sqrt((kernel[..., filters] ** 2).sum(axis=(0, 1, 3)))
    channels = np.sort(np.argsort(-norms)[:16])
    np.testing.assert_array_equal(kernels, kernel[..., filters][:, :, channels].transpose(3, 2, 0, 1))


def test_figures_have_a_panel_for_each_layer_and_map(view: NetworkView) -> None:
    assert [axes.get_title() for axes in values_figure(view.values).axes] == ["decibel", "mel"]
    assert len(activations_figure(view.activations).axes) == 1 + 1 + 4 + 4 + 4 + 1


def test_a_view_is_saved_with_an_inspection(view: NetworkView, tmp_path: Path) -> None:
    keep_inspection(tmp_path, None)
    earlier = read_inspection(tmp_path)
    assert earlier and not earlier.network.values  # a file of the first version
    write_inspection(tmp_path, "d", replace(earlier, network=view))
    found = read_inspection(tmp_path)
    assert found
    for part in ("values", "weights", "activations"):
        saved, expected = getattr(found.network, part), getattr(view, part)
        assert list(saved) == list(expected)
        assert all(np.array_equal(saved[name], expected[name]) for name in expected)
