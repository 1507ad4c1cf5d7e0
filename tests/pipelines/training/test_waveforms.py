"""A dataset of waveforms: made, checked, learnt from and predicted like one of magnitudes."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.catalogue import Recording
from cs_keras.data.dataset import Dataset
from cs_keras.data.schema import read_info
from cs_keras.data.shards import read_shard, write_shard
from cs_keras.data.windows import Windows
from cs_keras.errors import ConfigError, DataError
from pipelines.dataset.check import check_dataset
from pipelines.dataset.ingest import IngestConfig, ingest
from pipelines.dataset.repair import ingest_command
from tests.command_line import SMALL, run

RATE = 22050
AUDIO = AudioConfig(content="waveform")
SETTINGS = IngestConfig(AUDIO, fold_by="track", shard_mb=1)
TINY = [
    *SMALL,
    "--set=models.raw.training.epochs=2",
    "--set=models.raw-mel.training.epochs=2",
    *(
        f"--set=models.{key}.{setting}"
        for key in ("multiscale", "multiscale-gaussian")
        for setting in ("model.n_centroids=20", "model.n_patches=2000", "model.regressor=ridge")
    ),
]


def music(seed: int, seconds: float = 8.0) -> np.ndarray:
    """Changing tones with noise: what a fingerprint has something to say of."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    notes = np.repeat(rng.uniform(200, 2000, (3, 1 + len(time) // 4000)), 4000, axis=1)[:, : len(time)]
    tones = np.sin(2 * np.pi * np.cumsum(notes, axis=1) / RATE).sum(axis=0)
    return (0.2 * tones + 0.02 * rng.standard_normal(len(time))).astype(np.float32)


def recordings(folder: Path, n: int) -> list[Recording]:
    made = []
    for number in range(n):
        path = folder / f"t{number:02d}.wav"
        soundfile.write(path, music(number), RATE, subtype="FLOAT")
        made.append(Recording(path, path.stem, duration_s=8.0))
    return made


def test_frames_are_the_recordings_samples(tmp_path: Path) -> None:
    made = recordings(tmp_path, 6)
    ingest(made, tmp_path / "out", SETTINGS)
    dataset = Dataset(tmp_path / "out")
    assert dataset.info.audio == AUDIO
    for recording in made:
        row = dataset.tracks.ids.tolist().index(recording.track_id)
        frames, samples = dataset.read_track(row), music(int(recording.track_id[1:]))
        n = len(samples) // 512
        assert frames.dtype == np.float16 and frames.shape == (n, 512)
        assert np.array_equal(frames.ravel(), samples[: n * 512].astype(np.float16))
        assert dataset.tracks.table["duration_s"][row].as_py() == pytest.approx(n * 512 / RATE)
        window = dataset.read_windows(Windows(np.array([row]), np.array([n - 2])), 4)[0]
        assert np.array_equal(window[:2], frames[-2:]) and not window[2:].any()
    dataset.verify()
    assert dataset.n_bytes == sum(dataset.n_frames) * 512 * 2


def test_an_ingest_is_resumed_and_never_mixed(tmp_path: Path) -> None:
    made, out = recordings(tmp_path, 6), tmp_path / "out"
    ingest(made, out, SETTINGS)
    shards = {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(out.glob("shards/*/*.h5"))
    }
    lost, *kept = shards
    lost.unlink()
    (out / "dataset.json").unlink()  # as an interrupted one leaves it
    assert ingest(made, out, SETTINGS).n_tracks == 6
    assert lost.read_bytes() == shards[lost][0]
    assert [path.stat().st_mtime_ns for path in kept] == [shards[path][1] for path in kept]
    with pytest.raises(ConfigError, match="was made with audio = .*waveform"):
        ingest(made, out, IngestConfig(fold_by="track", shard_mb=1))
    assert ingest_command(out).endswith(" --waveforms --folds track")


def test_a_dataset_of_magnitudes_is_as_it_was_before_there_were_waveforms(tmp_path: Path) -> None:
    ingest(recordings(tmp_path, 6), tmp_path / "out", IngestConfig(fold_by="track"))
    assert "content" not in json.loads((tmp_path / "out" / "dataset.json").read_text())["audio"]
    name = read_info(tmp_path / "out").shards.keys().__iter__().__next__()
    shard = read_shard(tmp_path / "out" / name)
    assert "content" not in json.loads(shard.attributes["audio"]) and shard.shape[1] == 513


def test_check_finds_copies_silence_and_what_is_not_a_number(tmp_path: Path) -> None:
    made, out = recordings(tmp_path, 8), tmp_path / "out"
    softer = 0.3 * music(3)[2000:]  # another level, another start
    soundfile.write(made[5].path, softer, RATE, subtype="FLOAT")
    ingest(made, out, SETTINGS)
    found = [str(finding) for finding in check_dataset(out).findings if "near-duplicates" in str(finding)]
    assert len(found) == 1 and "'t03'" in found[0] and "'t05'" in found[0]
    table = Dataset(out).tracks
    row = int(np.flatnonzero(table.ids == "t00")[0])
    name = table.strings("shard")[row]
    inside = [track.track_id for track in read_shard(out / name).tracks]
    wrong = np.full((16, 512), 1e-7, np.float16)
    write_shard(out / name, [(track_id, wrong) for track_id in inside], AUDIO)
    silent = [str(finding) for finding in check_dataset(out).errors if "silent" in str(finding)]
    assert len(silent) == len(inside) and "no sample exceeds 1e-06" in silent[0]
    with pytest.raises(DataError, match="Samples of track 'x' must be finite"):
        write_shard(out / "x.h5", [("x", wrong * np.nan)], AUDIO)


@pytest.fixture(scope="module")
def waveforms(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small demo dataset, of the same recordings and interactions, as waveforms."""
    folder = tmp_path_factory.mktemp("waveforms") / "demo"
    shutil.copytree(demo / "source", folder / "source")
    assert (
        run("demo-data", folder, "--n-tracks", 60, "--n-artists", 30, "--n-playlists", 200, "--waveforms")
        == 0
    )
    return folder


MODELS = ("bot", "cnn-bn", "raw", "raw-mel", "multiscale", "multiscale-gaussian")


@pytest.fixture(scope="module")
def runs(waveforms: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    assert run("run-baselines", waveforms, "--models", ",".join(MODELS), "--out", folder, *TINY) == 0
    return {key: path for key in MODELS for path in folder.glob(f"????-??-??-{key}-??????????")}


@pytest.mark.slow
@pytest.mark.parametrize("key", MODELS)
def test_a_dataset_and_its_recordings_are_predicted_as_in_training(
    key: str, runs: dict[str, Path], waveforms: Path, tmp_path: Path
) -> None:
    with np.load(runs[key] / "predictions.npz") as stored:
        expected = dict(zip(stored["track_ids"].tolist(), stored["factors"], strict=True))
    scale = max(float(np.abs(factors).max()) for factors in expected.values())
    assert run("predict", runs[key], waveforms, "--split", "test", "--out", tmp_path / "dataset.npz") == 0
    audio = [waveforms / "source" / "audio" / f"{track_id}.wav" for track_id in list(expected)[-3:]]
    assert run("predict", runs[key], *audio, "--out", tmp_path / "audio.npz") == 0
    for name in ("dataset", "audio"):
        with np.load(tmp_path / f"{name}.npz") as found:
            for track_id, factors in zip(found["track_ids"].tolist(), found["factors"], strict=True):
                np.testing.assert_allclose(factors, expected[track_id], rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.slow
@pytest.mark.parametrize("key", MODELS)
def test_exports_take_samples(key: str, runs: dict[str, Path], waveforms: Path, tmp_path: Path) -> None:
    """Both forms were compared with the model when they were written; here with what a dataset holds."""
    assert run("export", runs[key], tmp_path / "out") == 0
    about = json.loads((tmp_path / "out" / "export.json").read_text())
    assert about["audio"]["content"] == "waveform" and about["waveform_dtype"] == "float16"
    with np.load(runs[key] / "predictions.npz") as stored:
        track_id, expected = str(stored["track_ids"][0]), stored["factors"][0]
    samples, _ = soundfile.read(waveforms / "source" / "audio" / f"{track_id}.wav", dtype="float32")
    dataset = Dataset(waveforms)
    frames = dataset.read_track(dataset.tracks.ids.tolist().index(track_id)).astype(np.float32)
    signatures = tf.saved_model.load(str(tmp_path / "out" / "saved_model")).signatures
    for found in (signatures["audio"](waveform=samples), signatures["frames"](waveform=frames)):
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(found["factors"], expected, rtol=1e-3, atol=1e-3 * scale)
    plain = keras.saving.load_model(tmp_path / "out" / "model.keras")
    assert plain.input_shape[-1] == 512


@pytest.mark.slow
def test_recommendations_of_samples(runs: dict[str, Path], waveforms: Path, tmp_path: Path) -> None:
    (song, *_) = sorted((waveforms / "source" / "audio").iterdir())
    assert (
        run("recommend", runs["raw"], song, "-k", 3, "--format", "json", "--out", tmp_path / "list.json") == 0
    )
    assert (tmp_path / "list.json").stat().st_size


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("raw", "raw needs a dataset of waveforms, and this one holds magnitudes"),
        ("raw-mel", "raw-mel needs a dataset of waveforms, and this one holds magnitudes"),
        ("multiscale", "the dataset holds magnitudes of windows of 1024 samples; make one of waveforms"),
    ],
)
def test_what_needs_samples_says_so(
    key: str, sentence: str, demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("run-baselines", demo, "--models", key, "--out", tmp_path, *TINY) == 1
    printed = capfd.readouterr().err
    assert sentence in printed and "Traceback" not in printed


def test_another_content_is_refused(
    demo: Path, runs: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", runs["cnn-bn"], demo, "--out", tmp_path / "x.npz") == 1
    assert "expected content = waveform. Received: magnitude" in capfd.readouterr().err
    copy = shutil.copytree(demo, tmp_path / "demo")
    assert (
        run("demo-data", copy, "--n-tracks", 60, "--n-artists", 30, "--n-playlists", 200, "--waveforms") == 1
    )
    assert "was made with audio = " in capfd.readouterr().err
