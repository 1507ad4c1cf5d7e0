"""What is exported gives the factors of `cs-keras predict`, where neither this package nor Kapre is."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from cs_keras.audio.decode import load_mono
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.windows import SequenceConfig, prediction_windows
from cs_keras.errors import DataError, StorageError
from cs_keras.layers.bag_of_tones import InverseDocumentFrequency, SoftBagOfTones
from cs_keras.layers.kernel_regression import KernelRegression
from cs_keras.layers.plain import plain_model
from cs_keras.layers.stochastic_pooling import StochasticPooling1D
from cs_keras.models import REGISTRY, get_baseline, model_module
from cs_keras.models.spec import AugmentConfig, architecture, required_audio
from cs_keras.progress import SilentProgress
from cs_keras.run_files.names import SIGNATURE_FILE
from cs_keras.training.serving_model import window_starts
from pipelines.inference.export import export
from pipelines.inference.predict import predict_in_memory
from pipelines.inference.prediction_blocks import Recordings
from pipelines.inference.trained_run import read_run, track_function
from tests.command_line import drop_checksums, run
from tests.conftest import TrainDemo

MODELS = ("bot", "cnn-bn")
RTOL = 1e-5

ELSEWHERE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cs_keras", "kapre", "pipelines"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Absent())
import json, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np, tensorflow as tf

folder, given, out = sys.argv[1:]
arrays = np.load(given)
about = json.load(open(f"{folder}/export.json"))
saved = tf.saved_model.load(f"{folder}/saved_model")
signatures = saved.signatures
waveform, magnitude = (tf.constant(arrays[name]) for name in ("waveform", "magnitude"))
rate = tf.constant(about["audio"]["sample_rate"])
found = {
    "audio": signatures["audio"](waveform)["factors"].numpy(),
    "audio_at": signatures["audio_at"](waveform=waveform, sample_rate=rate)["factors"].numpy(),
    "frames": signatures["frames"](magnitude=magnitude)["factors"].numpy(),
    "short": signatures["frames"](magnitude=tf.constant(arrays["short"]))["factors"].numpy(),
}
other_rate, too_short = {"waveform": waveform, "sample_rate": rate + 1}, {"waveform": waveform[:5000]}
for name, wrong in (("audio_at", other_rate), ("audio", too_short)):
    try:
        signatures[name](**wrong)
    except tf.errors.InvalidArgumentError as error:
        assert "Expected" in str(error)
    else:
        raise SystemExit(f"{name} took {wrong}")
plain = keras.saving.load_model(f"{folder}/model.keras", safe_mode=True)
found["keras"] = plain(arrays["sequences"], training=False).numpy().mean(axis=0)
assert not {"cs_keras", "kapre"} & set(sys.modules)
np.savez(out, **found)
"""


@pytest.fixture(scope="module")
def runs(train_demo: TrainDemo) -> dict[str, Path]:
    return {model: train_demo(model) for model in MODELS}


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_exports_give_the_same_factors_elsewhere(
    model: str, runs: dict[str, Path], demo: Path, tmp_path: Path
) -> None:
    assert run("export", runs[model], tmp_path / "out") == 0
    path = sorted((demo / "source" / "audio").iterdir())[5]
    trained = read_run(runs[model])
    source = Recordings(trained.signature.audio, trained.signature.dtype, "auto")
    factors, _ = predict_in_memory(trained, source, {"x": path}, SilentProgress())
    magnitude = source.open().read(path).astype(np.float32)
    frames = SequenceConfig().frames
    starts = prediction_windows(
        np.zeros(1, np.int64), np.array([len(magnitude)]), SequenceConfig(), AudioConfig()
    ).start
    assert len(starts) > 1
    sequences = np.stack([magnitude[start : start + frames] for start in starts.tolist()])
    np.savez(
        tmp_path / "given.npz",
        waveform=load_mono(path, trained.signature.audio),
        magnitude=magnitude,
        short=magnitude[:100],
        sequences=magnitude[np.newaxis] if model == "bot" else sequences,
    )
    script = [
        sys.executable,
        "-c",
        ELSEWHERE,
        *map(str, (tmp_path / "out", tmp_path / "given.npz", tmp_path / "found.npz")),
    ]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        assert set(found.files) == {"audio", "audio_at", "frames", "short", "keras"}
        short = trained.signature.scaler.inverse(track_function(trained)(magnitude[:100])[np.newaxis])[0]
        for name in found.files:
            wanted = short if name == "short" else factors["x"]
            scale = float(np.abs(wanted).max())
            np.testing.assert_allclose(found[name], wanted, rtol=RTOL, atol=RTOL * scale, err_msg=name)
    about = json.loads((tmp_path / "out" / "export.json").read_text())
    assert about["audio"] == json.loads((runs[model] / SIGNATURE_FILE).read_text())["audio"]
    assert about["sequence"] is None if model == "bot" else about["sequence"]["frames"] == frames


def test_what_does_not_fit_is_refused_and_leaves_nothing(runs: dict[str, Path], tmp_path: Path) -> None:
    folder, out = tmp_path / "run", tmp_path / "exports" / "out"
    drop_checksums(Path(shutil.copytree(runs["cnn-bn"], folder)))
    path = folder / SIGNATURE_FILE
    signature = json.loads(path.read_text())
    path.write_text(json.dumps({**signature, "audio": {**signature["audio"], "n_fft": 2048}}))
    with pytest.raises(
        DataError, match="expected 256 frames, 1025 bins and 32 factors. Received: 256, 513, 32"
    ):
        export(read_run(folder), out)
    assert not out.parent.exists()


def test_nothing_is_written_over(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="exists already"):
        export(read_run(runs["cnn-bn"]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(StorageError, match="Cannot write .*out: .*No space left"):
        export(read_run(runs["cnn-bn"]), tmp_path / "out")
    assert not list(tmp_path.iterdir())


SHORT = SequenceConfig(frames=64)
VARIED = AugmentConfig(gain_db=6.0, time_stretch=0.1, n_time_masks=1, n_mel_masks=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "content"),
    [
        *(
            (key, "magnitude")
            for key in sorted({entry.module: key for key, entry in REGISTRY.items()}.values())
            if get_baseline(key).procedure.takes_audio  # others are not exported
        ),
        *(("bot", "waveform"), ("cnn-bn", "waveform"), ("raw-l2", "waveform"), ("multiscale", "waveform")),
    ],
)
def test_every_kind_of_model_has_a_plain_form(key: str, content: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    baseline = dataclasses.replace(architecture(get_baseline(key)), sequence=SHORT)
    if baseline.procedure.can_augment and not baseline.procedure.learns_from:
        samples = required_audio(baseline).content == "waveform"
        augment = dataclasses.replace(VARIED, time_stretch=0.0) if samples else VARIED
        baseline = dataclasses.replace(baseline, augment=augment)
    model = model_module(key).build(baseline, 8, required_audio(baseline, AudioConfig(content=content)))
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:  # the output layer starts at zero
        weight.assign_add(0.05 * rng.standard_normal(weight.shape).astype(np.float32))
    x = rng.lognormal(size=(2, *(size or 64 for size in model.input_shape[1:]))).astype(np.float32)
    expected = model(x, training=False).numpy()
    plain = plain_model(model)
    plain.save(tmp_path / "model.keras")
    found = keras.saving.load_model(tmp_path / "model.keras")(x, training=False).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (SoftBagOfTones(7, 5, 3, 0.8, name="soft"), (None, 5)),
        (InverseDocumentFrequency(5, name="idf"), (5,)),
        (KernelRegression(6, 5, 2, 0.3, name="kernels"), (5,)),
        (StochasticPooling1D(4, name="pool"), (10, 5)),
    ],
    ids=lambda given: getattr(given, "name", None),
)
def test_layers_of_variants_have_a_plain_form(
    layer: keras.layers.Layer, shape: tuple[int | None, ...], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    given = keras.Input(shape)
    model = keras.Model(given, layer(given))
    for weight in layer.weights:
        weight.assign(rng.standard_normal(weight.shape))
    x = np.abs(rng.standard_normal((4, *(size or 9 for size in shape)))).astype(np.float32)
    plain_model(model).save(tmp_path / "model.keras")
    found = keras.saving.load_model(tmp_path / "model.keras")(x, training=False).numpy()
    np.testing.assert_allclose(found, model(x, training=False).numpy(), rtol=1e-5, atol=1e-5)


def test_a_layer_without_a_plain_form_is_refused() -> None:
    @keras.saving.register_keras_serializable("cs_keras_tests")
    class Strange(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: object) -> object:
            return x

    frames = keras.Input((4, 3))
    with pytest.raises(DataError, match="a Strange, cannot be loaded by Keras alone"):
        plain_model(keras.Model(frames, Strange(name="strange")(frames)))


@pytest.mark.parametrize(
    "sequence",
    [
        SequenceConfig(),
        SequenceConfig(100, 3.3, 1.7),
        SequenceConfig(64, 0.0, 10.0),
        SequenceConfig(7, 30.0, 30.0),
        SequenceConfig(100, 3.3, 1.7, select="energy", select_from=3),
    ],
)
def test_windows_in_the_graph_are_those_of_prediction(sequence: SequenceConfig) -> None:
    starts = tf.function(lambda n: window_starts(n, sequence, AudioConfig()), reduce_retracing=True)
    for n_frames in [*range(1, 700), 1000, 2583, 2584, 2585, 2713, 12_345]:
        expected = prediction_windows(
            np.zeros(1, np.int64), np.array([n_frames]), sequence, AudioConfig()
        ).start
        assert starts(tf.constant(n_frames)).numpy().tolist() == expected.tolist(), n_frames
