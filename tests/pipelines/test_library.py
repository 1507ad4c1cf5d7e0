"""The public API does what the commands do, on the same files."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import cs_keras as cs
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.schema import make_tracks, write_dataset
from cs_keras.errors import ConfigError, CsKerasError, DataError, StorageError
from cs_keras.factors.arrays import read_arrays
from cs_keras.models import REGISTRY, get_baseline, own
from pipelines.factors.open import open_factors
from pipelines.inference import trained_run
from pipelines.inference.trained_run import read_run
from tests.command_line import run
from tests.conftest import TrainDemo


@pytest.fixture(scope="module")
def trained(train_demo: TrainDemo) -> Path:
    return train_demo("bot")


def test_a_run_predicts_as_the_command(trained: Path, demo: Path, tmp_path: Path) -> None:
    loaded = cs.load_run(trained)
    assert run("predict", trained, demo, "--split", "test", "--out", tmp_path / "test.npz") == 0
    expected = read_arrays(tmp_path / "test.npz")
    found = loaded.predict(demo, split="test")
    np.testing.assert_array_equal(found.track_ids, expected["track_ids"])
    np.testing.assert_array_equal(found.factors, expected["factors"])
    audio = tmp_path / "audio"
    audio.mkdir()
    shutil.copy(next((demo / "source" / "audio").rglob("*.wav")), audio / "one.wav")
    (audio / "broken.wav").write_bytes(b"no audio " * 100)
    recordings = loaded.predict([audio])
    assert recordings.track_ids.tolist() == ["one"] and list(recordings.left_out) == ["broken"]


def test_a_run_loads_its_model_once(
    trained: Path, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Any] = []
    monkeypatch.setattr(trained_run, "load_model", lambda path: loads.append(path) or cs.load_model(path))
    loaded = cs.load_run(trained)
    assert not loads
    first, second = (loaded.predict(demo, split=split) for split in ("test", "validation"))
    assert loaded.model is loaded.model and len(loads) == 1
    assert not set(first.track_ids) & set(second.track_ids)
    # The model of `model` is the one that predicts.
    loaded.model.set_weights([0 * weight for weight in loaded.model.get_weights()])
    offset = read_run(trained).signature.scaler.offset
    np.testing.assert_allclose(loaded.predict(demo, split="test").factors, [offset] * len(first.factors))


def test_a_run_recommends_and_has_its_model_and_evaluation(trained: Path, demo: Path) -> None:
    loaded = cs.load_run(str(trained))
    assert loaded.settings["key"] == "bot" == loaded.evaluation.model
    seed = str(cs.open_dataset(demo).tracks.ids[0])
    tracks = loaded.recommend(seed, dataset=demo, k=3)
    assert len(tracks) == 3 and seed not in [track.entry.track_id for track in tracks]
    assert tracks[0].explanation is None
    (explained,) = loaded.recommend(seed, dataset=demo, k=1, predicted=True, explain=True)
    assert explained.explanation is not None
    assert explained.explanation.factors.sum() == pytest.approx(explained.score, abs=1e-6)
    assert tracks[0].score >= tracks[1].score >= tracks[2].score
    n_factors = loaded.evaluation.factors.n_factors
    assert (
        loaded.model.output_shape == cs.load_model(trained / "model.keras").output_shape == (None, n_factors)
    )
    assert repr(loaded) == f"Run({str(trained)!r})"


@pytest.mark.slow
@pytest.mark.parametrize("imports", ["import cs_keras, keras", "import keras, cs_keras"])
def test_keras_loads_models_of_runs_after_the_import(
    imports: str, trained: Path, demo: Path, tmp_path: Path
) -> None:
    """In a fresh process, without notes of TensorFlow unless that was imported before."""
    np.save(tmp_path / "frames.npy", cs.open_dataset(demo).read_track(3)[None])
    code = (
        f"{imports}, numpy, sys; assert not {{'kapre', 'cs_keras.layers.front_end'}} & set(sys.modules); "
        "model = keras.models.load_model(sys.argv[1]); "
        "numpy.save('factors', model(numpy.load('frames.npy')))"
    )
    command = [sys.executable, "-c", code, trained / "model.keras"]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, stderr=subprocess.PIPE, text=True
    )
    assert not done.stderr or imports.startswith("import keras")
    scaled = np.load(tmp_path / "factors.npy")
    factors = read_run(trained).signature.scaler.inverse(scaled)
    np.testing.assert_allclose(
        cs.load_run(trained).predict(demo).factors[3], factors[0], rtol=1e-6, atol=1e-7
    )


def test_finished_runs_are_reused_and_failures_are_raised(
    train_demo: TrainDemo, demo: Path, tmp_path: Path
) -> None:
    trained = train_demo("bot")
    small = {"n_centroids": 50, "dense": [16]}
    settings = {"models": {"bot": {"model": small, "training": {"epochs": 3, "batch_size": 16}}}}
    (found,) = cs.run_baselines(demo, "bot", trained.parent, settings=settings)
    assert found.folder == trained
    settings = {"models": {"choi": {"model": {"weights": "missing.h5"}}}}
    with pytest.raises(CsKerasError, match="missing.h5"):
        cs.run_baselines(demo, ["choi"], tmp_path, settings=settings)


def test_the_example_of_the_readme_runs(
    trained: Path, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first statement trains; here a trained run takes its place."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    code = readme.partition("```python\n")[2].partition("```")[0]
    first = next(line for line in code.splitlines() if line.startswith("(run,) = cs.run_baselines("))
    code = code.replace(first, "run = cs.load_run(trained)")
    recording = next((demo / "source" / "audio").rglob("*.wav"))
    (tmp_path / "new-releases").mkdir()
    shutil.copy(recording, tmp_path / "new-releases" / "one.wav")
    shutil.copy(recording, tmp_path / "new-release.mp3")
    (tmp_path / "demo").symlink_to(demo)
    monkeypatch.chdir(tmp_path)
    reference = np.random.default_rng(0).normal(size=(50, 4))
    names = {"trained": trained, "reference": reference, "predicted": reference, "artists": range(50)}
    exec(code, names)
    assert names["new"].track_ids.tolist() == ["one"]  # type: ignore[attr-defined]


def test_what_is_no_run_or_cannot_be_predicted_is_refused(trained: Path, demo: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is not a finished run"):
        cs.load_run(tmp_path)
    with pytest.raises(ConfigError, match="--split needs a dataset"):
        cs.load_run(trained).predict(tmp_path, split="test")


def test_the_import_is_quick_and_names_are_listed() -> None:
    code = (
        "import sys, cs_keras as cs; assert set(cs.__all__) <= set(dir(cs)); "
        "assert not {'numpy', 'tensorflow', 'click'} & set(sys.modules); cs.evaluate; "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = cs.train  # type: ignore[attr-defined]


def tiny(mel, n_factors):  # type: ignore[no-untyped-def]
    """One dense layer on the mean spectrum."""
    return keras.layers.Dense(n_factors)(keras.layers.GlobalAveragePooling1D()(keras.ops.squeeze(mel, -1)))


def wide(mel, n_factors):  # type: ignore[no-untyped-def]
    """Return one output too many."""
    return keras.layers.Dense(n_factors + 1)(keras.layers.GlobalAveragePooling2D()(mel))


def _of_width(n: int) -> Callable[[Any, int], Any]:
    def network(mel: Any, n_factors: int) -> Any:
        return tiny(keras.layers.Conv2D(n, 3)(mel), n_factors)

    return network


def test_what_a_network_refers_to_is_part_of_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    def source_of(width: int) -> str:
        cs.register_baseline("tiny", _of_width(width))
        return get_baseline("tiny").model.source

    monkeypatch.setitem(REGISTRY, "tiny", REGISTRY["bot"])
    monkeypatch.delitem(REGISTRY, "tiny")
    assert source_of(8) == source_of(8) != source_of(16)


def whole(n_outputs: int) -> keras.Model:
    front_end = cs.build_front_end(frames=64, n_mels=40)
    x = keras.ops.squeeze(front_end.output, -1)
    outputs = keras.layers.Dense(n_outputs)(keras.layers.GlobalAveragePooling1D()(x))
    return keras.Model(front_end.input, outputs, name="whole")


class Repeat(keras.layers.Layer):
    """A layer that Keras cannot copy: its number of repetitions is not in its settings."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def call(self, x: Any) -> Any:
        return keras.ops.repeat(x, self.n, axis=1)


def test_models_that_are_built_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their weights are part of the settings; copies are trained; functions do not refer to them."""
    monkeypatch.setitem(REGISTRY, "whole", REGISTRY["bot"])
    monkeypatch.delitem(REGISTRY, "whole")
    model, audio = whole(8), AudioConfig()
    cs.register_baseline("whole", model, {"sequence": {"frames": 64}})
    baseline = get_baseline("whole")
    first = baseline.model.source
    built = own.build(baseline, 8, audio)
    x = np.abs(np.random.default_rng(0).normal(size=(2, 64, audio.n_bins)))
    np.testing.assert_array_equal(built(x), model(x))
    before = model.get_weights()[-1].copy()
    built.trainable_weights[-1].assign(before + 1)
    np.testing.assert_array_equal(model.get_weights()[-1], before)
    np.testing.assert_array_equal(own.build(baseline, 8, audio)(x), model(x))
    cs.register_baseline("whole", model)
    assert get_baseline("whole").model.source == first
    model.trainable_weights[-1].assign(before + 1)
    cs.register_baseline("whole", model)
    assert get_baseline("whole").model.source != first
    with pytest.raises(ConfigError, match=r"cannot take shape \(None, 256, 513\)"):
        own.build(get_baseline("whole"), 8, audio)
    with pytest.raises(ConfigError, match="refers to the layer or model model"):
        cs.register_baseline("whole", lambda mel, n: model(mel))
    layers = {"last": [model.layers[-1]]}
    with pytest.raises(ConfigError, match="refers to the layer or model layers"):
        cs.register_baseline("whole", lambda mel, n: layers["last"][0](mel))
    with pytest.raises(ConfigError, match="is not built"):
        cs.register_baseline("whole", keras.Sequential([keras.layers.Dense(8)]))
    with pytest.raises(ConfigError, match=r"cannot be copied: .*'Repeat'"):
        cs.register_baseline("whole", keras.Sequential([keras.Input((64, 128, 1)), Repeat(2)]))
    flat = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8)])
    cs.register_baseline("whole", flat)
    with pytest.raises(ConfigError, match=r"cannot take shape .*: Input .* is incompatible with the layer"):
        own.build(get_baseline("whole"), 8, audio)
    mel = keras.Input((64, 128, 1))
    cs.register_baseline(
        "whole", keras.Model(mel, [keras.layers.Flatten()(mel)] * 2), {"sequence": {"frames": 64}}
    )
    with pytest.raises(ConfigError, match=r"must return shape \(None, 8\). Received: list"):
        own.build(get_baseline("whole"), 8, audio)
    with pytest.raises(ConfigError, match="frames must be at least 1"):
        cs.build_front_end(frames=0)
    with pytest.raises(ConfigError, match="normalize needs statistics"):
        cs.build_front_end(normalize=True)


class Twice(keras.layers.Layer):
    """A layer that Keras does not know by its name."""

    def call(self, x: Any) -> Any:
        return 2 * x


def by_twice(mel: Any, n_factors: int) -> Any:
    return keras.layers.Dense(n_factors)(Twice()(keras.layers.Flatten()(mel)))


def by_lambda(mel: Any, n_factors: int) -> Any:
    return keras.layers.Dense(n_factors)(keras.layers.Lambda(lambda x: 2 * x)(keras.layers.Flatten()(mel)))


def test_what_keras_would_not_load_is_refused_before_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "whole", REGISTRY["bot"])
    monkeypatch.delitem(REGISTRY, "whole")
    for network, named in (
        (by_twice, "class 'Twice'"),
        (by_lambda, "Requested the deserialization of a `Lambda`"),
    ):
        cs.register_baseline("whole", network, {"sequence": {"frames": 64}})
        with pytest.raises(ConfigError, match=f"cannot be loaded once it is saved: .*serializable.*{named}"):
            own.build(get_baseline("whole"), 8, AudioConfig())
        mel = keras.Input((64, 128, 1))
        with pytest.raises(ConfigError, match=f"cannot be loaded once it is saved: .*serializable.*{named}"):
            cs.register_baseline("whole", keras.Model(mel, network(mel, 8)))
    keras.saving.register_keras_serializable()(Twice)
    try:
        cs.register_baseline("whole", by_twice, {"sequence": {"frames": 64}})
        own.build(get_baseline("whole"), 8, AudioConfig())
    finally:
        keras.saving.get_custom_objects().pop("Custom>Twice")


def test_batches_hold_frames_and_factors_of_a_split(demo: Path) -> None:
    dataset = cs.open_dataset(demo)
    batches = cs.make_training_batches(dataset, split="validation", frames=32, batch_size=4, seed=2)
    factors = open_factors(demo, dataset.tracks)
    rows = np.flatnonzero(dataset.tracks.in_split("validation") & factors.has_factors)
    seen = set()
    for frames, targets in batches.from_epoch(0).take(batches.steps_per_epoch):
        assert frames.shape[1:] == (32, 513) and len(frames) == len(targets)
        for window, target in zip(frames.numpy(), targets.numpy(), strict=True):
            (row,) = rows[(factors.item_factors[rows] == target).all(axis=1)]
            seen.add(row)
            track = dataset.read_track(row)
            starts = np.flatnonzero((track[: len(track) - 31] == window[0]).all(axis=1))
            assert any(np.array_equal(track[start : start + 32], window) for start in starts)
    assert seen == set(rows)
    with pytest.raises(ConfigError, match="batch_size must be at least 1"):
        cs.make_training_batches(dataset, batch_size=0)
    with pytest.raises(ConfigError, match="seed must be at least 0"):
        cs.make_training_batches(dataset, seed=-1)


def test_batches_leave_out_tracks_without_audio(demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo, tmp_path / "demo")
    dataset = cs.open_dataset(tmp_path / "demo")
    silent = np.flatnonzero(dataset.tracks.in_split("validation"))[::2]
    rows = dataset.tracks.table.to_pylist()
    for row in silent:
        rows[row] |= {"shard": "", "first_frame": 0, "n_frames": 0}
    write_dataset(tmp_path / "demo", dataset.info, make_tracks(rows))
    batches = cs.make_training_batches(
        cs.open_dataset(tmp_path / "demo"), split="validation", frames=32, batch_size=4
    )
    taken = batches.from_epoch(0).take(batches.steps_per_epoch)
    targets = {row.tobytes() for _, factors in taken for row in factors.numpy()}
    factors = open_factors(demo, dataset.tracks).item_factors
    assert targets and not targets & {factors[row].tobytes() for row in silent}
    for row in rows:
        row |= {"shard": "", "first_frame": 0, "n_frames": 0}
    write_dataset(tmp_path / "demo", dataset.info, make_tracks(rows))
    with pytest.raises(DataError, match="No train track of .* has audio and factors 'wmf'"):
        cs.make_training_batches(cs.open_dataset(tmp_path / "demo"))


@pytest.mark.slow
def test_a_network_of_ones_own_is_trained_as_a_baseline(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("tiny", "wide", "whole"):
        monkeypatch.setitem(REGISTRY, key, REGISTRY["bot"])  # and removes what is registered below
        monkeypatch.delitem(REGISTRY, key)
    cs.register_baseline("tiny", tiny, {"training": {"epochs": 1}, "sequence": {"frames": 64}})
    (found,) = cs.run_baselines(demo, "tiny", tmp_path, seed=3)
    n_factors = found.evaluation.factors.n_factors
    assert found.evaluation.model == "tiny" and found.settings["training"]["epochs"] == 1
    assert found.model.count_params() == 128 * n_factors + n_factors  # the front end is not trained
    ids = cs.open_dataset(demo).tracks.ids
    assert found.predict(demo).factors.shape == (len(ids), n_factors)
    (again,) = cs.run_baselines(demo, "tiny", tmp_path, seed=3)
    assert again.folder == found.folder
    cs.register_baseline("whole", whole(n_factors), {"training": {"epochs": 1}, "sequence": {"frames": 64}})
    (found,) = cs.run_baselines(demo, "whole", tmp_path)
    assert found.predict(demo).factors.shape == (len(ids), n_factors)
    cs.register_baseline("wide", wide)
    with pytest.raises(CsKerasError, match=r"must return shape \(None, "):
        cs.run_baselines(demo, "wide", tmp_path)
    with pytest.raises(ConfigError, match="There is a model 'cnn' already"):
        cs.register_baseline("cnn", tiny)
    with pytest.raises(ConfigError, match="lower-case letters"):
        cs.register_baseline("A b", tiny)
    with pytest.raises(ConfigError, match="source of .* cannot be read"):
        cs.register_baseline("made", eval("lambda mel, n: mel"))
