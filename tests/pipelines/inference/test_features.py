"""Features by hidden layers: what lies between them and the prediction is known, so it can be done by hand."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest

import pipelines.inference.predict
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.dataset import Dataset
from cs_keras.errors import ConfigError, DataError
from cs_keras.models import get_baseline, load_model, model_module
from cs_keras.training.hidden_layers import (
    build_hidden_model,
    choose_default_layer,
    list_hidden_layers,
    resolve_layer_name,
)
from pipelines.inference.features import at_layer
from pipelines.inference.predict import Predicted, predict_dataset
from pipelines.inference.predict_recordings import predict_recordings
from pipelines.inference.prediction_blocks import DatasetTracks
from pipelines.inference.trained_run import read_run
from tests.command_line import run
from tests.conftest import TrainDemo
from tests.pipelines.inference.test_predict import interrupt, load, tone

DEFAULTS = {
    "bot": "bot_regressor/dense_1",
    "cnn-bn": "dense_1",
    "lstm": "dense_1",
    "triplet": "triplet_regressor/dense_1",
    "choi-features": "choi-features_features/features",
}


@pytest.fixture(scope="module")
def runs(train_demo: TrainDemo) -> dict[str, Path]:
    options = {"choi-features": ["--set=models.choi-features.model.regressor=ridge"]}
    return {model: train_demo(model, *options.get(model, [])) for model in DEFAULTS}


def last_steps(model: keras.Model, features: np.ndarray) -> np.ndarray:
    """Compute factors from the last hidden layer's output, in float64, by the weights of what comes after it."""
    layers = {layer.name: layer for layer in model._flatten_layers()}
    x = features.astype(np.float64)
    if "norm_features" in layers:
        norm = layers["norm_features"]
        x = (x - np.asarray(norm.moving_mean)) / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    kernel, bias = layers["factors"].get_weights()
    return x @ kernel + bias


@pytest.mark.parametrize("key", DEFAULTS)
def test_the_last_hidden_layer_leads_to_the_prediction(
    key: str, runs: dict[str, Path], demo: Path, tmp_path: Path
) -> None:
    trained = read_run(runs[key])
    hidden = at_layer(trained)
    assert hidden.layer == DEFAULTS[key]
    predict_dataset(trained, DatasetTracks(demo), "test", tmp_path / "factors.npz")
    predict_dataset(hidden, DatasetTracks(demo), "test", tmp_path / "features.npz")
    factors, features = load(tmp_path / "factors.npz"), load(tmp_path / "features.npz")
    assert list(features) == ["track_ids", "features", "layer", "run_digest"]
    assert (str(features["layer"]), str(features["run_digest"])) == (DEFAULTS[key], trained.digest)
    assert features["track_ids"].tolist() == factors["track_ids"].tolist()
    assert features["features"].dtype == np.float32
    # What comes after is linear, so the mean over sequences may be taken before it or after; float32 rounding.
    expected = last_steps(load_model(runs[key] / "model.keras"), features["features"])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(factors["scaled_factors"], expected, rtol=1e-4, atol=1e-4 * scale)


def test_maps_are_averaged_over_time_and_space(runs: dict[str, Path], demo: Path, tmp_path: Path) -> None:
    for layer in ("pool_3", "steps", "flatten"):
        predict_dataset(
            at_layer(read_run(runs["cnn-bn"]), layer), DatasetTracks(demo), "test", tmp_path / f"{layer}.npz"
        )
    maps, steps, flat = (
        load(tmp_path / f"{layer}.npz")["features"] for layer in ("pool_3", "steps", "flatten")
    )
    every = flat.reshape(len(flat), 16, 16, 4)  # time, mel, channel
    # Means of the same numbers in another order.
    np.testing.assert_allclose(maps, every.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(steps, every.mean(axis=1).reshape(len(flat), -1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("key", "layer"), [("cnn-bn", "conv_2"), ("bot", "frame_features"), ("triplet", "embedding")]
)
def test_features_depend_on_the_track_alone(
    key: str, layer: str, runs: dict[str, Path], demo: Path, tmp_path: Path
) -> None:
    hidden = at_layer(read_run(runs[key]), layer)
    predict_dataset(hidden, DatasetTracks(demo), "all", tmp_path / "all.npz")
    predict_dataset(hidden, DatasetTracks(demo), "test", tmp_path / "test.npz")
    result = predict_recordings(hidden, [demo / "source" / "audio"], "auto", tmp_path / "audio.npz")
    everything, test, from_audio = (load(tmp_path / f"{name}.npz") for name in ("all", "test", "audio"))
    tracks = Dataset(demo).tracks
    assert np.array_equal(test["features"], everything["features"][tracks.in_split("test")])
    assert np.array_equal(from_audio["features"], everything["features"][np.argsort(everything["track_ids"])])
    assert result == Predicted(60, from_audio["features"].shape[1], {})


def test_parts_of_another_layer_are_not_taken(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, path, out = read_run(runs["cnn-bn"]), tone(tmp_path / "x.wav"), tmp_path / "out.npz"

    def names(layer: str) -> int:
        with monkeypatch.context() as interrupted:
            interrupted.setattr(pipelines.inference.predict, "_gather", interrupt)
            with pytest.raises(KeyboardInterrupt):
                predict_recordings(at_layer(trained, layer), [path], "auto", out)
        return len(list((tmp_path / "out.npz.parts").iterdir()))

    assert [names("conv_1"), names("conv_2"), names("conv_1")] == [1, 2, 2]
    predict_recordings(at_layer(trained, "conv_2"), [path], "auto", out)
    assert load(out)["layer"] == "conv_2" and not (tmp_path / "out.npz.parts").exists()


def test_the_command(
    runs: dict[str, Path], demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("features", runs["triplet"], "--list") == 0
    lines = [line.split() for line in capfd.readouterr().out.splitlines()]
    assert ["triplet_embedding/embedding", "128", "(128)"] in lines
    assert ["triplet_regressor/dense_1", "16", "(16)", "*"] in lines
    assert sum(line[-1] == "*" for line in lines) == 1 and not any("factors" in line for line in lines)
    out = tmp_path / "out.parquet"
    assert (
        run("features", runs["triplet"], demo, "--split", "test", "--layer", "embedding", "--out", out) == 0
    )
    table, n = pq.read_table(out), int(Dataset(demo).tracks.in_split("test").sum())
    said = capfd.readouterr().out
    assert f"{out}: 128 features of {n} tracks from layer triplet_embedding/embedding" in said
    assert table.column_names == ["track_id", "features"] and table.num_rows == n
    assert table.schema.metadata[b"layer"] == b"triplet_embedding/embedding"
    lengths = np.linalg.norm(np.array(table["features"].to_pylist()), axis=1)
    assert (lengths <= 1 + 1e-6).all()  # means of vectors of length 1


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        ([], 2, "DATASET or AUDIO"),
        (["DEMO"], 2, "by --out"),
        (["DEMO", "--list"], 2, "RUN alone"),
        (["DEMO", "--out", "x.csv"], 1, ".npz or .parquet"),
        (["DEMO", "--out", "x.npz", "--layer", "conv_22"], 1, "Did you mean 'conv_2'"),
        (["missing.wav", "--out", "x.npz"], 1, "missing.wav"),
    ],
)
def test_wrong_use_gets_one_sentence(
    arguments: list[object],
    status: int,
    expected: str,
    runs: dict[str, Path],
    demo: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    given = [demo if argument == "DEMO" else argument for argument in arguments]
    assert run("features", runs["cnn-bn"], *given) == status
    error = capfd.readouterr().err
    assert expected in error and "Traceback" not in error


@pytest.mark.parametrize("key", ["cnn-time", "choi", "xception"])
def test_models_of_every_shape_have_a_last_hidden_layer(key: str) -> None:
    baseline = get_baseline(key)
    if key == "xception":
        baseline = dataclasses.replace(baseline, model=dataclasses.replace(baseline.model, weights=None))
    model = model_module(key).build(baseline, 3, AudioConfig())
    rng = np.random.default_rng(0)
    head = model.get_layer("factors")
    head.set_weights([rng.standard_normal(weight.shape) for weight in head.get_weights()])
    layers = list_hidden_layers(model)
    part = build_hidden_model(model, choose_default_layer(layers))
    noise = rng.lognormal(size=(2, *model.input_shape[1:])).astype(np.float32)
    expected = model(noise, training=False).numpy()
    received = last_steps(model, part(noise, training=False).numpy())
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    for layer in (layers[0], layers[len(layers) // 2]):
        features = build_hidden_model(model, layer.name)(noise, training=False)
        assert (features.shape, features.dtype) == ((2, layer.n_features), "float32")


def test_layers_are_named_by_their_last_part_where_that_is_clear() -> None:
    x = keras.Input((4,), name="x")
    parts = []
    for name in ("a", "b"):
        inside = keras.Input((4,))
        y = keras.layers.Dense(4, name="same")(inside)
        parts.append(keras.Model(inside, keras.layers.Dense(4, name=f"own_{name}")(y), name=name))
    model = keras.Model(x, keras.layers.Dense(2, name="factors")(parts[1](parts[0](x))))
    layers = list_hidden_layers(model)
    assert [layer.name for layer in layers] == ["a/same", "a/own_a", "b/same", "b/own_b"]
    assert (
        choose_default_layer(layers)
        == resolve_layer_name(layers, "own_b")
        == resolve_layer_name(layers, "b/own_b")
        == "b/own_b"
    )
    with pytest.raises(ConfigError, match="2 layers 'same': name one of a/same, b/same"):
        resolve_layer_name(layers, "same")


def test_a_model_of_another_dataset_is_refused(runs: dict[str, Path], demo: Path, tmp_path: Path) -> None:
    hidden = at_layer(read_run(runs["cnn-bn"]))
    audio = dataclasses.replace(hidden.signature.audio, hop_length=256)
    other = dataclasses.replace(hidden, signature=dataclasses.replace(hidden.signature, audio=audio))
    with pytest.raises(DataError, match="does not match the model"):
        predict_dataset(other, DatasetTracks(demo), "all", tmp_path / "out.npz")


def test_the_digest_is_that_of_an_export(runs: dict[str, Path], tmp_path: Path) -> None:
    assert run("export", runs["cnn-bn"], tmp_path / "exported") == 0
    document = json.loads((tmp_path / "exported" / "export.json").read_text())
    assert at_layer(read_run(runs["cnn-bn"])).digest == document["run_digest"]
