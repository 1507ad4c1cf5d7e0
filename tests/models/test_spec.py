import re
from pathlib import Path

import keras
import numpy as np
import pytest

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import ConfigError
from cs_keras.models import REGISTRY, get_baseline, model_module
from cs_keras.models.blocks import TIME_POOLING, dense_head, pool_over_time
from cs_keras.models.bot import Config as BotConfig
from cs_keras.models.choi_features import Config as ChoiFeaturesConfig
from cs_keras.models.cnn import Config as CnnConfig
from cs_keras.models.cnn1d import Config as Cnn1dConfig
from cs_keras.models.dieleman import Config as DielemanConfig
from cs_keras.models.lstm import Config as LstmConfig
from cs_keras.models.spec import TrainingConfig, architecture, trainable_parameters
from cs_keras.models.triplet import Config as TripletConfig
from cs_keras.models.xception import Config as XceptionConfig


def test_an_unknown_key_lists_the_models_there_are():
    for get in (get_baseline, model_module):
        with pytest.raises(ConfigError, match=f"no model 'resnet'. Models: {', '.join(REGISTRY)}"):
            get("resnet")


def test_the_table_of_models_names_every_model():
    """A name that ends in an ellipsis stands for all keys that begin with it."""
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    table = page.partition("| key | model |")[2].partition("\n\n")[0]
    first_cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("|")]
    names = re.findall(r"`([^`]+)`", " ".join(first_cells))
    prefixes = tuple(name.removesuffix("…") for name in names if name.endswith("…"))
    assert [key for key in REGISTRY if key not in names and not key.startswith(prefixes)] == []
    assert {name for name in names if not name.endswith("…")} <= set(REGISTRY)


def test_every_variant_of_every_file_is_registered_under_its_own_key():
    for file_name in {entry.module for entry in REGISTRY.values()}:
        keys = [key for key, entry in REGISTRY.items() if entry.module == file_name]
        variants = model_module(keys[0]).VARIANTS
        assert sorted(variants) == sorted(keys)
        assert all(baseline.key == key for key, baseline in variants.items())


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        (
            TrainingConfig,
            {"loss": "mae"},
            "training.loss must be one of mse, unit_mse, cosine, binary_crossentropy, wpe",
        ),
        (TrainingConfig, {"optimizer": "sgd"}, "training.optimizer must be one of adam, nesterov"),
        (TrainingConfig, {"momentum": 1.0}, "training.momentum must be at least 0 and below 1"),
        (TrainingConfig, {"batch_size": 0}, "training.batch_size must be at least 1"),
        (TrainingConfig, {"epochs": 0}, "training.epochs must be at least 1"),
        (TrainingConfig, {"patience": -1}, "training.patience must be at least 0"),
        (TrainingConfig, {"decay": -1.0}, "training.decay must be at least 0"),
        (TrainingConfig, {"learning_rate": 0.0}, "training.learning_rate must be a finite number above 0"),
        (
            TrainingConfig,
            {"learning_rate": float("nan")},
            "training.learning_rate must be a finite number above 0",
        ),
        (
            TrainingConfig,
            {"schedule": "linear"},
            "training.schedule must be one of inverse_time, constant, cosine",
        ),
        (TrainingConfig, {"warmup": 1.0}, "training.warmup must be at least 0 and below 1"),
        (TrainingConfig, {"ema": -0.1}, "training.ema must be at least 0 and below 1"),
        (TrainingConfig, {"l2": -1.0}, "training.l2 must be at least 0"),
        (TrainingConfig, {"step_epochs": 0}, "training.step_epochs must be at least 1"),
        (TrainingConfig, {"step_factor": 0.0}, "training.step_factor must be a finite number above 0"),
        (CnnConfig, {"filters": 0}, "model.filters must be at least 1"),
        (CnnConfig, {"pool_frames": (2, 2)}, "must name one pool for each block"),
        (CnnConfig, {"pool_frames": (), "pool_mels": ()}, "must name one pool for each block"),
        (CnnConfig, {"kernel_size": (5, 3)}, "one number of at least 1, or 3 of them, one per block"),
        (CnnConfig, {"kernel_size": (0,)}, "one number of at least 1, or 3 of them, one per block"),
        (CnnConfig, {"dense": (0,)}, "must be at least 1"),
        (CnnConfig, {"dropout": 1.0}, "model.dropout must be 0 to 0.95"),
        (Cnn1dConfig, {"span": "both"}, "model.span must be one of mels, frames"),
        (Cnn1dConfig, {"pools": ()}, "the number of model.pools must be at least 1"),
        (XceptionConfig, {"filters": (0,)}, "model.filters and model.dense must be at least 1"),
        (ChoiFeaturesConfig, {"dropout": 1.0}, "model.dropout must be 0 to 0.95"),
        (TripletConfig, {"mining": "easy"}, "model.mining must be one of offline, semi_hard, batch_hard"),
        (TripletConfig, {"margin": 0.0}, "model.margin must be above 0 and at most 4"),
        (TripletConfig, {"margin": float("nan")}, "model.margin must be above 0 and at most 4"),
        (TripletConfig, {"pool_mels": (2,)}, "must name one pool for each block"),
        (TripletConfig, {"n_nearest": 0}, "model.n_nearest must be at least 1"),
        (LstmConfig, {"units": (64, 0)}, "model.units and model.dense must be at least 1"),
        (LstmConfig, {"dropout": -0.1}, "model.dropout must be 0 to 0.95"),
        (DielemanConfig, {"activation": "elu"}, "model.activation must be one of relu, maxout"),
        (DielemanConfig, {"pooling": "mean"}, "model.pooling must be one of max, stochastic"),
        (DielemanConfig, {"pools": (4, 2)}, "must name one pool for each of model.filters but the last"),
        (DielemanConfig, {"filters": (), "pools": ()}, "must name one pool for each of model.filters"),
        (DielemanConfig, {"dense": (0,)}, "model.filters, model.pools and model.dense must be at least 1"),
        (
            DielemanConfig,
            {"activation": "maxout", "pooling": "stochastic"},
            "model.pooling = stochastic needs model.activation = relu",
        ),
        (BotConfig, {"deltas": 3}, "model.deltas must be one of 0, 1, 2"),
        (BotConfig, {"n_centroids": 1}, "model.n_centroids must be at least 2"),
        (BotConfig, {"dense": (0,)}, "model.dense must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, changes, message):
    with pytest.raises(ConfigError, match=message):
        settings(**changes)


@pytest.mark.parametrize(("given", "sizes"), [([5], [5, 5, 5]), ([7, 5, 3], [7, 5, 3])])
def test_kernels_of_a_cnn_have_the_size_of_their_block(given, sizes):
    baseline = config.replace(get_baseline("cnn-bn"), {"model": {"kernel_size": given, "filters": 2}})
    model = model_module("cnn-bn").build(baseline, 4, AudioConfig())
    assert [model.get_layer(f"conv_{number}").kernel.shape[:2] for number in (1, 2, 3)] == [
        (size, size) for size in sizes
    ]
    assert model.output_shape == (None, 4)


def test_the_head_starts_at_the_mean_of_scaled_factors_and_is_counted_by_hand():
    x = keras.Input((5,))
    model = keras.Model(x, dense_head(x, (7, 3), 2, dropout=0.5))
    assert trainable_parameters(model) == (5 + 1) * 7 + (7 + 1) * 3 + (3 + 1) * 2
    assert not model(np.ones((4, 5), np.float32)).numpy().any()
    assert sum(isinstance(layer, keras.layers.Dropout) for layer in model.layers) == 2


def test_without_hidden_layers_the_head_is_linear():
    x = keras.Input((5,))
    assert trainable_parameters(keras.Model(x, dense_head(x, (), 2))) == (5 + 1) * 2


def test_an_architecture_is_the_baseline_without_weights_from_elsewhere():
    assert get_baseline("xception").model.weights == "imagenet"
    assert architecture(get_baseline("xception")).model.weights is None
    assert architecture(get_baseline("xception")).model.frozen
    for key in ("cnn", "choi"):
        assert architecture(get_baseline(key)) == get_baseline(key)


def test_weights_can_be_set_to_none_and_to_a_path():
    for text, expected in (("none", None), ("weights.h5", "weights.h5")):
        changed = config.replace(get_baseline("xception"), config.parse_overrides([f"model.weights={text}"]))
        assert changed.model.weights == expected


@pytest.mark.parametrize("kind", TIME_POOLING)
def test_pooling_over_time_against_numpy(kind):
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    steps = keras.Input((5, 3))
    output = keras.Model(steps, pool_over_time(steps, kind))(x)
    pooled = np.concatenate([x.mean(axis=1), x.max(axis=1)], axis=1)
    np.testing.assert_allclose(output, x.reshape(2, 15) if kind == "flatten" else pooled, atol=1e-6)
