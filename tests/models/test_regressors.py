import keras_tuner
import numpy as np
import pytest

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import ConfigError
from cs_keras.models import get_baseline, model_module
from cs_keras.models.regressors import HEAD_SETTINGS
from tuning.space import settings_at

KEYS = pytest.mark.parametrize("key", ["bot", "bot-wide", "choi-features"])


def changed(key, **settings):
    return config.replace(get_baseline(key), {"model": settings})


@KEYS
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"regressor": "forest"},
            "model.regressor must be one of dense, mlp, ridge, ridge_gcv, kernel_ridge, svm, trees, ials. "
            "Received: 'forest'",
        ),
        ({"penalty": 0.0}, r"model.penalty must be above 0. Received: 0.0"),
        ({"C": -1.0}, r"model.C must be above 0. Received: -1.0"),
        ({"gamma": 0.0}, r"model.gamma must be above 0. Received: 0.0"),
        ({"epsilon": -0.1}, r"model.epsilon must be at least 0. Received: -0.1"),
        ({"max_examples": 1}, r"model.max_examples must be at least 2. Received: 1"),
        ({"dropout": 1.0}, r"model.dropout must be 0 to 0.95. Received: 1.0"),
        ({"dense": [0]}, r"model.dense must be at least 1. Received: 0"),
    ],
)
def test_bad_settings_are_one_sentence(key, settings, message):
    with pytest.raises(ConfigError, match=message):
        changed(key, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"assignment": "fuzzy"}, "model.assignment must be one of hard, soft. Received: 'fuzzy'"),
        ({"scaling": "sqrt"}, "model.scaling must be one of none, log, tfidf. Received: 'sqrt'"),
        ({"bandwidth": 0.0}, r"model.bandwidth must be above 0. Received: 0.0"),
        (
            {"assignment": "soft", "n_centroids": 4},
            "model.n_nearest must be 2 to 4. Received: 5",
        ),
    ],
)
def test_bad_ways_to_count_are_one_sentence(settings, message):
    with pytest.raises(ConfigError, match=message):
        changed("bot", **settings)


@KEYS
@pytest.mark.parametrize("loss", ["cosine", "wpe"])
@pytest.mark.parametrize("regressor", ["ridge", "svm"])
def test_a_solved_regressor_has_no_other_loss_than_its_own(key, regressor, loss):
    with pytest.raises(ConfigError, match=f"must be mse or unit_mse for .*Received: {loss}"):
        config.replace(get_baseline(key), {"model": {"regressor": regressor}, "training": {"loss": loss}})


@pytest.mark.parametrize("key", ["bot", "choi-features"])
@pytest.mark.parametrize("regressor", ["ridge", "svm"])
def test_a_solved_regressor_predicts_the_mean_before_it_is_solved(key, regressor):
    baseline = changed(key, regressor=regressor)
    audio = AudioConfig()
    model = model_module(key).build_regressor(baseline, 3)
    output = np.asarray(model(np.ones((2, *model.input_shape[1:]))))
    assert output.shape == (2, 3) and output.dtype == np.float32 and not output.any()
    assert model_module(key).build(baseline, 3, audio).output_shape == (None, 3)


def test_the_head_has_all_settings_of_the_regressor_and_no_others():
    assert {"regressor", "dense", "dropout", "penalty", "C", "epsilon", "gamma", "max_examples", "prior"} == {
        *HEAD_SETTINGS
    }


@KEYS
def test_a_search_varies_what_the_regressor_at_hand_has(key):
    active_of = {}
    for regressor in ("dense", "ridge", "svm"):
        point = keras_tuner.HyperParameters()
        point.values["model.regressor"] = regressor
        settings = settings_at(key, point)
        assert settings.model.regressor == regressor
        active_of[regressor] = {p.name for p in point.space if point.is_active(p)}
    dense = {"model.dense", "model.dropout", "training.learning_rate", "training.batch_size"}
    assert dense <= active_of["dense"] and not dense & (active_of["ridge"] | active_of["svm"])
    assert active_of["ridge"] - active_of["svm"] == {"model.penalty"}
    assert active_of["svm"] - active_of["ridge"] == {"model.C", "model.epsilon", "model.gamma"}


def test_a_search_of_tones_keeps_cepstra_of_decibels_and_varies_the_rest():
    space = keras_tuner.HyperParameters()
    settings_at("bot", space)
    names = {parameter.name for parameter in space.space}
    assert {f"front_end.{name}" for name in ("n_mels", "amin", "dynamic_range_db", "f_min", "f_max")} < names
    assert {f"model.{name}" for name in ("n_mfcc", "deltas", "n_centroids", "assignment", "scaling")} < names
    assert not any(name.startswith(("sequence.", "augment.")) for name in names)
    found = []
    for seed in range(40):
        point = keras_tuner.HyperParameters()
        for number, parameter in enumerate(space.space):
            point.merge([parameter])
            if point.is_active(parameter):
                point.values[parameter.name] = parameter.random_sample(100 * seed + number)
        found.append(settings_at("bot", point))
    assert {one.front_end.order for one in found} == {"mel_db"}
    assert {one.model.assignment for one in found} == {"hard", "soft"}
    assert {one.model.bandwidth for one in found if one.model.assignment == "hard"} == {5.0}
    assert len({one.model.bandwidth for one in found}) > 1


def test_a_search_from_unusual_settings_starts_there():
    unusual = {
        "regressor": "svm",
        "C": 100.0,
        "gamma": 1e-3,
        "epsilon": 0.0,
        "assignment": "soft",
        "bandwidth": 50.0,
    }
    baseline = changed("bot", **unusual)
    changes = model_module("bot").search_space(keras_tuner.HyperParameters(), baseline)
    assert config.replace(baseline, changes) == baseline
