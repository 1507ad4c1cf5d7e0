"""Predictions by a stored model: those of its run, in any process, alone or together with other tracks."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from upath import UPath

import pipelines.inference.predict
import pipelines.inference.prediction_blocks
from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.dataset import Dataset
from cs_keras.data.schema import DatasetInfo
from cs_keras.errors import DataError, StorageError
from cs_keras.factors.scaling import Scaler
from cs_keras.models import load_model
from cs_keras.run_files.names import SIGNATURE_FILE
from cs_keras.storage.location import Location, list_files, locate, write_bytes
from pipelines.factors.open import open_factors
from pipelines.inference.predict import Predicted, predict_dataset
from pipelines.inference.predict_recordings import predict_recordings
from pipelines.inference.prediction_blocks import DatasetTracks, OpenSource, read_ahead
from pipelines.inference.trained_run import TrainedRun, read_run
from pipelines.training.run_artifacts import read_signature, write_signature
from tests.command_line import SMALL, drop_checksums, run
from tests.conftest import TrainDemo
from tests.pipelines.beam.test_beam import BY_BEAM
from tests.pipelines.test_kill import kill_when
from tests.storage.servers import BUCKET, emulator, reached_through

MODELS = ("bot", "cnn-bn", "lstm", "triplet", "choi-features")
RATE = 22050


@pytest.fixture(scope="module")
def runs(train_demo: TrainDemo) -> dict[str, Path]:
    return {model: train_demo(model) for model in MODELS}


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def assert_same_numbers(table: pa.Table, arrays: dict[str, np.ndarray]) -> None:
    """Compare a Parquet table with an npz, bit for bit."""
    assert table.column_names == ["track_id", "factors", "scaled_factors"]
    assert table["track_id"].type == pa.string()
    assert table["track_id"].to_pylist() == arrays["track_ids"].tolist()
    for name in ("factors", "scaled_factors"):
        assert table[name].type == pa.list_(pa.float32(), arrays[name].shape[1])
        rows = np.array(table[name].to_pylist(), np.float32)
        assert rows.tobytes() == arrays[name].tobytes()


def tone(path: Path, pitch: float = 440.0, seconds: float = 8.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * RATE)) / RATE), RATE)
    return path


@pytest.fixture
def memory() -> Iterator[UPath]:
    """A folder behind a URL."""
    folder = UPath("memory://predict-test")
    yield folder
    folder.fs.rm("/predict-test", recursive=True)


def upload(folder: Path, to: UPath) -> UPath:
    to.fs.put(str(folder), to.path, recursive=True)
    return to


@pytest.mark.parametrize("model", MODELS)
def test_predictions_are_those_of_the_run(
    model: str, runs: dict[str, Path], demo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "all.npz"
    assert run("predict", runs[model], demo, "--out", out) == 0
    predicted, stored = load(out), load(runs[model] / "predictions.npz")
    tracks = Dataset(demo).tracks
    assert list(predicted) == ["track_ids", "factors", "scaled_factors"] == list(stored)
    assert predicted["track_ids"].tolist() == tracks.ids.tolist()
    row_of = {track_id: row for row, track_id in enumerate(predicted["track_ids"].tolist())}
    rows = [row_of[track_id] for track_id in stored["track_ids"].tolist()]
    for name in ("factors", "scaled_factors"):
        assert predicted[name].dtype == np.float32
        # The run's batches hold sequences of several tracks, these of one: float32 sums in another order.
        scale = np.abs(stored[name]).max()
        np.testing.assert_allclose(predicted[name][rows], stored[name], rtol=1e-5, atol=1e-6 * scale)
    scaler = open_factors(demo, tracks).scaler
    assert np.array_equal(predicted["factors"], scaler.inverse(predicted["scaled_factors"]))
    assert not (tmp_path / "all.npz.parts").exists()


@pytest.mark.parametrize("model", MODELS)
def test_a_track_is_predicted_alike_whatever_else_is_predicted(
    model: str, runs: dict[str, Path], demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = read_run(runs[model])
    predict_dataset(trained, DatasetTracks(demo), "all", tmp_path / "all.npz")
    predict_dataset(trained, DatasetTracks(demo), "test", tmp_path / "test.npz")
    everything, test = load(tmp_path / "all.npz"), load(tmp_path / "test.npz")
    inside = Dataset(demo).tracks.in_split("test")
    assert 0 < inside.sum() < len(inside)
    for name in test:
        assert np.array_equal(test[name], everything[name][inside])
    monkeypatch.setattr(TrainedRun, "block_tracks", 7)
    predict_dataset(trained, DatasetTracks(demo), "all", tmp_path / "sevens.npz")
    assert (tmp_path / "sevens.npz").read_bytes() == (tmp_path / "all.npz").read_bytes()


def test_a_recording_is_predicted_as_the_dataset_made_of_it(
    runs: dict[str, Path], demo: Path, tmp_path: Path
) -> None:
    trained = read_run(runs["cnn-bn"])
    predict_dataset(trained, DatasetTracks(demo), "all", tmp_path / "dataset.npz")
    result = predict_recordings(trained, [demo / "source" / "audio"], "auto", tmp_path / "audio.npz")
    of_dataset, of_audio = load(tmp_path / "dataset.npz"), load(tmp_path / "audio.npz")
    assert result == Predicted(60, 32, {})
    assert of_audio["track_ids"].tolist() == sorted(of_dataset["track_ids"].tolist())
    order = np.argsort(of_dataset["track_ids"])
    assert np.array_equal(of_audio["factors"], of_dataset["factors"][order])


def test_unusable_recordings_are_left_out_and_named(
    runs: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    audio = tmp_path / "audio"
    tone(audio / "good.wav")
    tone(audio / "below" / "short.wav", seconds=3.0)  # than a sequence: what is missing is silence
    (audio / "broken.mp3").write_bytes(b"not sound")
    out = tmp_path / "out.npz"
    assert run("predict", runs["lstm"], audio, "--out", out) == 0
    printed = capfd.readouterr()
    assert printed.out == f"{out}: factors of 2 tracks in 32 dimensions, 1 left out.\n"
    assert "left out broken: " in printed.err
    assert load(out)["track_ids"].tolist() == ["below/short", "good"]

    (audio / "good.wav").write_bytes(b"not sound either")
    shutil.rmtree(audio / "below")
    before = out.read_bytes()
    assert run("predict", runs["lstm"], audio, "--out", out) == 1
    assert "None of the 2 tracks can be used" in capfd.readouterr().err
    assert out.read_bytes() == before and not (tmp_path / "out.npz.parts").exists()


def test_what_an_interruption_left_is_kept_and_damage_is_not(
    runs: dict[str, Path], demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, out = read_run(runs["cnn-bn"]), tmp_path / "out.npz"
    predict_dataset(trained, DatasetTracks(demo), "all", tmp_path / "expected.npz")
    monkeypatch.setattr(TrainedRun, "block_tracks", 10)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(pipelines.inference.predict, "_gather", interrupt)
        with pytest.raises(KeyboardInterrupt):
            predict_dataset(trained, DatasetTracks(demo), "all", out)
    parts = sorted((tmp_path / "out.npz.parts").iterdir())
    assert len(parts) == 6
    parts[1].unlink()
    parts[4].write_bytes(parts[4].read_bytes()[:-100])
    made: list[str] = []
    write = pipelines.inference.prediction_blocks.write_arrays
    monkeypatch.setattr(
        pipelines.inference.prediction_blocks,
        "write_arrays",
        lambda path, *rest: (made.append(path.name), write(path, *rest)),
    )
    predict_dataset(trained, DatasetTracks(demo), "all", out)
    assert made == [parts[1].name, parts[4].name]
    assert out.read_bytes() == (tmp_path / "expected.npz").read_bytes()


def interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_parts_of_another_model_or_of_altered_sound_are_not_taken(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tone(tmp_path / "a" / "x.wav"), tmp_path / "out.npz"

    def names(model: str) -> set[str]:
        with monkeypatch.context() as interrupted:
            interrupted.setattr(pipelines.inference.predict, "_gather", interrupt)
            with pytest.raises(KeyboardInterrupt):
                predict_recordings(read_run(runs[model]), [path], "auto", out)
        return {part.name for part in (tmp_path / "out.npz.parts").iterdir()}

    assert len(names("cnn-bn")) == 1
    assert len(names("cnn-bn")) == 1
    assert len(names("lstm")) == 2
    tone(path, pitch=330.0)
    assert len(names("lstm")) == 3
    predict_recordings(read_run(runs["lstm"]), [path], "auto", out)
    assert not (tmp_path / "out.npz.parts").exists()


def test_everything_may_be_behind_urls(
    runs: dict[str, Path], demo: Path, tmp_path: Path, memory: UPath
) -> None:
    predict_dataset(read_run(runs["cnn-bn"]), DatasetTracks(demo), "test", tmp_path / "local.npz")
    trained = read_run(upload(runs["cnn-bn"], memory / "run"))
    dataset: Location = upload(demo, memory / "dataset")
    predict_dataset(trained, DatasetTracks(dataset), "test", memory / "out.npz")
    assert (memory / "out.npz").read_bytes() == (tmp_path / "local.npz").read_bytes()
    assert not [name for name in memory.fs.find("/predict-test") if "parts" in name]


def test_a_table_holds_what_the_arrays_do(
    runs: dict[str, Path], demo: Path, tmp_path: Path, memory: UPath, capfd: pytest.CaptureFixture[str]
) -> None:
    arrays, table = tmp_path / "out.npz", tmp_path / "out.parquet"
    for out in (arrays, table):
        assert run("predict", runs["bot"], demo, "--split", "test", "--out", out) == 0
        assert f"{out}: factors of " in capfd.readouterr().out
    assert_same_numbers(pq.read_table(table), load(arrays))
    predict_dataset(read_run(runs["bot"]), DatasetTracks(demo), "test", memory / "out.parquet")
    assert (memory / "out.parquet").read_bytes() == table.read_bytes()


@pytest.mark.parametrize("name", ["out.csv", "out", "out.npz.gz", "memory://predict-test/out.h5"])
def test_files_of_other_kinds_are_refused_before_anything_is_read(
    name: str, demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = name if "://" in name else str(tmp_path / name)
    assert run("predict", tmp_path / "missing-run", demo, "--out", out) == 1
    error = capfd.readouterr().err
    assert error == f"Error: The output file must end in .npz or .parquet. Received: {out}.\n"


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_table_takes_up_the_parts_of_an_interruption(
    suffix: str, runs: dict[str, Path], demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, out = read_run(runs["cnn-bn"]), tmp_path / f"out{suffix}"
    predict_dataset(trained, DatasetTracks(demo), "test", tmp_path / f"expected{suffix}")
    with monkeypatch.context() as interrupted:
        interrupted.setattr(pipelines.inference.predict, "_gather", interrupt)
        with pytest.raises(KeyboardInterrupt):
            predict_dataset(trained, DatasetTracks(demo), "test", out)
    assert list((tmp_path / f"out{suffix}.parts").iterdir())
    monkeypatch.setattr(
        pipelines.inference.prediction_blocks, "write_arrays", interrupt
    )  # nothing is predicted again
    predict_dataset(trained, DatasetTracks(demo), "test", out)
    assert out.read_bytes() == (tmp_path / f"expected{suffix}").read_bytes()


@pytest.mark.slow
def test_prediction_by_beam_gives_the_same_bytes(
    runs: dict[str, Path],
    demo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(TrainedRun, "block_tracks", 8)
    audio = tmp_path / "audio"
    shutil.copytree(demo / "source" / "audio", audio)
    (audio / "broken.mp3").write_bytes(b"not sound")
    for name, model, source in (("dataset", "cnn-bn", demo), ("audio", "bot", audio)):
        assert run("predict", runs[model], source, "--out", tmp_path / f"{name}-local.npz") == 0
        said = capfd.readouterr()
        assert run("predict", runs[model], source, "--out", tmp_path / f"{name}-beam.npz", *BY_BEAM) == 0
        by_beam = capfd.readouterr()
        assert by_beam.out == said.out.replace("-local", "-beam")
        assert ("left out broken: " in by_beam.err) == (name == "audio")
        local, beam = (tmp_path / f"{name}-{where}.npz" for where in ("local", "beam"))
        assert local.read_bytes() == beam.read_bytes()


@pytest.mark.slow
def test_beams_workers_read_and_write_a_bucket(
    runs: dict[str, Path], demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainedRun, "block_tracks", 8)
    assert run("predict", runs["cnn-bn"], demo, "--out", tmp_path / "local.npz") == 0
    with emulator() as port, reached_through(port):
        place = locate(f"gs://{BUCKET}/beam")
        for file in runs["cnn-bn"].iterdir():
            if file.is_file():
                write_bytes(place / "run" / file.name, file.read_bytes())
        tracks, dataset = demo / "source" / "tracks.csv", place / "dataset"
        assert run("ingest", "--tracks", tracks, "--out", dataset, *BY_BEAM) == 0
        ingested = list_files(dataset)
        assert {"dataset.json", "tracks.parquet"} < set(ingested)
        assert all((dataset / name).read_bytes() == (demo / name).read_bytes() for name in ingested)
        out = place / "predicted" / "out.npz"
        assert run("predict", place / "run", dataset, "--out", out, *BY_BEAM) == 0
        assert out.read_bytes() == (tmp_path / "local.npz").read_bytes()
        assert list_files(place / "predicted") == ["out.npz"]


@pytest.mark.slow
def test_killed_prediction_resumes(runs: dict[str, Path], demo: Path, tmp_path: Path) -> None:
    arguments = ["predict", runs["cnn-bn"], demo, "--out"]
    assert run(*arguments, tmp_path / "expected.npz") == 0
    out, parts = tmp_path / "out.npz", tmp_path / "out.npz.parts"
    kill_when(lambda: list(parts.glob("part-*.npz")), *arguments, out)
    assert parts.exists() and not out.exists()
    assert run(*arguments, out) == 0
    assert out.read_bytes() == (tmp_path / "expected.npz").read_bytes()
    assert not parts.exists()


def test_a_signature_is_read_as_it_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    offset, scale = (rng.standard_normal(5).astype(np.float32) for _ in range(2))
    info = DatasetInfo(AudioConfig(hop_length=256, mixdown="sum"), "float32")
    write_signature(tmp_path, info, Scaler("standardize", offset, scale))
    signature = read_signature(tmp_path)
    assert (signature.audio, signature.dtype) == (info.audio, "float32")
    assert signature.scaler.kind == "standardize"
    assert np.array_equal(signature.scaler.offset, offset) and np.array_equal(signature.scaler.scale, scale)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema_version": 9}, "expected schema_version 1. Received: 9"),
        ({"audio": {"hop": 1}}, "not as .* writes it: Unknown setting"),
        ({"scaler": {"kind": "none", "offset": [0.0], "scale": []}}, "offset and scale have 1 and 0 values"),
        ({"scaler": {}}, "lacks scaler.kind"),
        ({"dtype": "float17"}, "not as .* writes it"),
    ],
)
def test_a_signature_that_is_not_valid_is_reported(
    change: dict[str, object], expected: str, tmp_path: Path
) -> None:
    write_signature(tmp_path, DatasetInfo(), Scaler("none", np.zeros(2, np.float32), np.ones(2, np.float32)))
    path = tmp_path / SIGNATURE_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=expected):
        read_signature(tmp_path)


def test_a_run_of_an_earlier_release_gets_its_signature_when_repeated(
    runs: dict[str, Path], demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / runs["cnn-bn"].name
    drop_checksums(Path(shutil.copytree(runs["cnn-bn"], folder)))
    signature = (folder / SIGNATURE_FILE).read_bytes()
    (folder / SIGNATURE_FILE).unlink()
    assert run("predict", folder, demo, "--out", tmp_path / "out.npz") == 1
    assert "has no signature.json" in capfd.readouterr().err
    assert run("run-baselines", demo, "--models", "cnn-bn", "--out", folder.parent, *SMALL) == 0
    assert "done before" in capfd.readouterr().err
    assert (folder / SIGNATURE_FILE).read_bytes() == signature


def test_a_dataset_of_other_audio_settings_is_refused(
    runs: dict[str, Path], demo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    drop_checksums(Path(shutil.copytree(runs["cnn-bn"], folder)))
    path = folder / SIGNATURE_FILE
    audio = config.to_dict(AudioConfig(hop_length=256))
    path.write_text(json.dumps({**json.loads(path.read_text()), "audio": audio}))
    with pytest.raises(DataError, match=r"expected hop_length = 256\. Received: 512"):
        predict_dataset(read_run(folder), DatasetTracks(demo), "all", tmp_path / "out.npz")


def test_a_model_of_another_run_is_refused(runs: dict[str, Path], demo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    drop_checksums(Path(shutil.copytree(runs["cnn-bn"], folder)))
    path = folder / SIGNATURE_FILE
    scaler = {"kind": "none", "offset": [0.0], "scale": [1.0]}
    path.write_text(json.dumps({**json.loads(path.read_text()), "scaler": scaler}))
    with pytest.raises(DataError, match="from different runs: they have 32 and 1 factors"):
        predict_dataset(read_run(folder), DatasetTracks(demo), "all", tmp_path / "out.npz")


def test_recordings_of_one_name_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    paths = [tone(tmp_path / folder / "x.wav") for folder in ("a", "b")]
    with pytest.raises(DataError, match="Two recordings have the id 'x'"):
        predict_recordings(read_run(runs["cnn-bn"]), paths, "auto", tmp_path / "out.npz")
    result = predict_recordings(read_run(runs["cnn-bn"]), [paths[0], paths[0]], "auto", tmp_path / "out.npz")
    assert result.n_tracks == 1


@pytest.mark.parametrize(
    ("source", "expected"), [("missing.wav", "no file or folder"), ("empty", "no audio in")]
)
def test_audio_that_is_not_there_is_reported(
    source: str, expected: str, runs: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run("predict", runs["cnn-bn"], tmp_path / source, "--out", tmp_path / "out.npz") == 1
    error = capfd.readouterr().err
    assert expected in error and "Traceback" not in error


def test_a_folder_is_no_file_to_write(runs: dict[str, Path], demo: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is a folder"):
        predict_dataset(read_run(runs["cnn-bn"]), DatasetTracks(demo), "all", tmp_path)


def test_a_changed_digit_in_a_finished_run_is_refused(
    runs: dict[str, Path], demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(runs["cnn-bn"], tmp_path / "runs" / runs["cnn-bn"].name))
    path = folder / SIGNATURE_FILE
    content = path.read_text()
    position = content.rindex("1")
    path.write_text(content[:position] + "2" + content[position + 1 :])
    with pytest.raises(StorageError, match=r"signature\.json was changed or damaged"):
        read_run(folder)
    assert run("run-baselines", demo, "--models", "cnn-bn", "--out", folder.parent, *SMALL) == 1
    printed = capfd.readouterr()
    assert "signature.json was changed or damaged" in printed.err and "Overlap" not in printed.out
    assert not (folder / "failure.json").exists()


@pytest.mark.parametrize("number", ["NaN", "1e400", "1e300", "null"])
def test_numbers_that_are_not_finite_are_refused(number: str, runs: dict[str, Path], tmp_path: Path) -> None:
    folder = drop_checksums(Path(shutil.copytree(runs["cnn-bn"], tmp_path / "run")))
    signature = json.loads((folder / SIGNATURE_FILE).read_text())
    text = json.dumps({**signature, "scaler": {**signature["scaler"], "offset": ["X"] * 32}})
    (folder / SIGNATURE_FILE).write_text(text.replace('"X"', number))
    with pytest.raises(DataError, match=r"signature\.json"):
        read_run(folder)


def test_weights_and_batch_sizes_without_meaning_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    folder = drop_checksums(Path(shutil.copytree(runs["cnn-bn"], tmp_path / "run")))
    model = load_model(folder / "model.keras")
    model.weights[0].assign(model.weights[0] * np.nan)
    model.save(folder / "model.keras")
    with pytest.raises(StorageError, match="expected finite weights"):
        load_model(folder / "model.keras")
    settings = json.loads((folder / "config.json").read_text())
    settings["training"]["batch_size"] = -1
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(DataError, match="batch_size must be at least 1"):
        read_run(folder)


def test_an_interruption_ends_the_threads_that_read_ahead() -> None:
    source = OpenSource(lambda items: [], lambda item: np.full((1, 1), item, np.float32))
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), read_ahead(source, range(100), 2) as outcomes:
        assert [next(outcomes).item() for _ in range(3)] == [0, 1, 2]
        assert threading.active_count() == before + 2
        raise KeyboardInterrupt
    assert threading.active_count() == before
