"""What is found inside finished runs: the numbers of Keras's own layers, kept, and never in the way of a page."""

import dataclasses
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import pipelines.inference.inspect_run
from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig, prediction_windows
from cs_keras.errors import DataError, StorageError
from cs_keras.models import load_model
from cs_keras.progress import SilentProgress
from cs_keras.run_files.inspection import Inspection, is_inspected, read_inspection, write_inspection
from cs_keras.run_files.names import INSPECTION_FILE
from pipelines.inference.inspect_run import inspect_run
from pipelines.inference.inspection_obstacle import inspection_obstacle
from tests.command_line import drop_checksums, run
from tests.conftest import TrainDemo

MODELS = ("bot", "cnn-bn", "lstm")


@pytest.fixture(scope="module")
def runs(train_demo: TrainDemo) -> dict[str, Path]:
    return {model: train_demo(model) for model in MODELS}


@pytest.fixture
def copies(runs: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Copies of the runs that were not looked into."""
    bare = shutil.ignore_patterns(INSPECTION_FILE)
    return {
        model: Path(shutil.copytree(path, tmp_path / "runs" / path.name, ignore=bare))
        for model, path in runs.items()
    }


def inspect(folder: Path, dataset: Path) -> Inspection:
    inspect_run(folder, Dataset(dataset), SilentProgress())
    found = read_inspection(folder)
    assert found
    return found


def test_filters_and_units_answer_to_the_tracks_that_their_layers_do(
    copies: dict[str, Path], demo: Path
) -> None:
    found, dataset = inspect(copies["cnn-bn"], demo), Dataset(demo)
    model = load_model(copies["cnn-bn"] / "model.keras")
    inner = keras.Model(model.input, [model.get_layer(name).output for name in ("elu_1", "dense_1")])
    rows = np.flatnonzero(~dataset.tracks.in_split("train"))
    assert found.track_ids.tolist() == dataset.tracks.ids[rows].tolist()
    most, means, units = [], [], []
    for row in rows:
        windows = prediction_windows(
            np.array([row]), dataset.n_frames[[row]], SequenceConfig(), dataset.info.audio
        )
        maps, own = inner(dataset.read_windows(windows, 256).astype(np.float32), training=False)
        maps = maps.numpy()[:, 1:-1, 1:-1]
        most.append(maps.max(axis=(0, 1, 2)))
        means.append(maps.mean(axis=(0, 1, 2)))
        units.append(own.numpy().max(axis=0))
    for received, values, tracks in (
        (found.filters.moment_value, np.array(most), found.filters.moment_track),
        (found.filters.mean_value, np.array(means), found.filters.mean_track),
        (found.units.moment_value, np.array(units), found.units.moment_track),
    ):
        expected = -np.sort(-values, axis=0)[:5].T
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4)  # float32, in other batches
        own = np.take_along_axis(values.T, tracks, axis=1)
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.kernels[1], model.get_layer("conv_1").get_weights()[0][:, :, 0, 1])
    assert (len(found.filters), len(found.units), found.n_tracks) == (4, 16, len(rows))
    example = found.example
    assert example.mel.shape == (256, 128) and example.maps.shape == (256, 128, 4)
    test = dataset.tracks.ids[np.flatnonzero(dataset.tracks.in_split("test"))]
    assert example.track_id == test[0]


def test_what_was_found_is_kept_until_the_dataset_or_the_file_is_another(
    copies: dict[str, Path], demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, digest = copies["lstm"], Dataset(demo).digest
    monkeypatch.setattr(pipelines.inference.inspect_run, "MAX_TRACKS", 5)
    found, path = inspect(folder, demo), folder / INSPECTION_FILE
    assert len(found.filters) == 0 and len(found.units) == 16 and len(found.track_ids) == 5 < found.n_tracks
    written, content = path.stat().st_mtime_ns, path.read_bytes()
    inspect(folder, demo)
    assert path.stat().st_mtime_ns == written
    write_inspection(folder, "of another dataset", found)
    assert not is_inspected(folder, digest)
    inspect(folder, demo)
    assert path.read_bytes() == content  # the same sample, and the same numbers
    path.write_bytes(content[:1000])
    assert not is_inspected(folder, digest)
    inspect(folder, demo)
    assert path.read_bytes() == content


def test_pictures_of_a_chosen_track_are_files(
    runs: dict[str, Path], demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    track = str(Dataset(demo).tracks.ids[0])
    assert run("features", runs["cnn-bn"], demo, "--track", track, "--pictures", tmp_path / "out") == 0
    names = ["activations", "values", *(f"weights-conv_{i}" for i in (1, 2, 3))]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        f"{name}.{kind}" for name in names for kind in ("png", "svg")
    ]
    assert run("features", runs["cnn-bn"], demo, "--track", "none", "--pictures", tmp_path / "out") == 1
    assert "has no track 'none' with audio" in capfd.readouterr().err
    assert run("features", runs["cnn-bn"], demo, "--track", track) == 2
    assert "--pictures and --track are given together" in capfd.readouterr().err


def test_what_cannot_be_inspected_is_refused(copies: dict[str, Path], demo: Path) -> None:
    dataset = Dataset(demo)
    assert inspection_obstacle(copies["cnn-bn"]) is None
    assert "whole tracks" in (inspection_obstacle(copies["bot"]) or "")
    with pytest.raises(DataError, match="cannot be inspected: it takes histograms of whole tracks"):
        inspect_run(copies["bot"], dataset, SilentProgress())
    (copies["lstm"] / "model.keras").unlink()
    with pytest.raises(StorageError, match="has no model.keras"):
        inspect_run(copies["lstm"], dataset, SilentProgress())
    dataset.info = dataclasses.replace(
        dataset.info, audio=dataclasses.replace(dataset.info.audio, sample_rate=16000)
    )
    with pytest.raises(DataError, match="does not fit the model .*sample_rate=22050.* Received: .*16000"):
        inspect_run(copies["cnn-bn"], dataset, SilentProgress())


def test_a_network_whose_activations_are_no_numbers_is_named(copies: dict[str, Path], demo: Path) -> None:
    model = load_model(copies["cnn-bn"] / "model.keras")
    kernel, bias = model.get_layer("conv_1").get_weights()
    model.get_layer("conv_1").set_weights([np.sign(kernel) * np.float32(3e38), bias])
    model.save(drop_checksums(copies["cnn-bn"]) / "model.keras")
    with pytest.raises(DataError, match="filters whose activations are not finite numbers"):
        inspect_run(copies["cnn-bn"], Dataset(demo), SilentProgress())


def test_the_page_shows_what_the_best_network_listens_for_or_says_why_not(
    copies: dict[str, Path], demo: Path, tmp_path: Path
) -> None:
    folder = copies["cnn-bn"].parent
    for model in ("bot", "lstm"):
        shutil.rmtree(copies[model])
    page = folder / "report" / "html" / "index.html"
    assert run("report", folder, "--format", "html", "--dataset", demo) == 0
    text = page.read_text()
    assert (
        "What activates cnn-bn" in text
        and "Genres and tracks at the ends of each factor" in text
        and "g1-inside-kernels" in text
    )
    (copies["cnn-bn"] / INSPECTION_FILE).unlink()
    (copies["cnn-bn"] / "model.keras").unlink()
    assert run("report", folder, "--format", "html", "--dataset", demo) == 0
    text = page.read_text()
    assert "What activates cnn-bn" not in text and "has no model.keras" in text and "g1-map" in text
