"""New recordings for models on a table of an encoder: the same numbers as from the vectors of the recordings."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cs_keras.data.dataset import Dataset
from cs_keras.encoders.pooling import pool
from cs_keras.errors import StorageError
from cs_keras.runs import read_json, read_npz
from tests.command_line import run
from tests.pipelines.planted_evidence import AUDIO, write_evidence

N_TRACKS, RECORDINGS = 300, ("new/a", "new/b", "new/c")
POOLING = ("mean", "std")
TABLES = ("levels", "expert", "other")
ABOUT = {"encoder": "levels", "weights": "levels.h5", "digest": "abc", "pooling": POOLING, "hop": 400}
QUICK = [
    "evaluation.n_permutations=9",
    "evaluation.ks=[10]",
    "models.fusion.model.branches=['cnn-bn', 'attributes@levels', 'attributes@expert', 'genre-label']",
    "models.attributes-kernel@levels+other.model.fit_validation=true",
    "models.fusion.model.dense=[8]",
    "models.attributes@levels.model.dense=[8]",
    "models.attributes@expert.model.dense=[8]",
    "models.genre-label.model.dense=[8]",
    "models.cnn-bn.model.filters=4",
    "models.cnn-bn.model.pool_frames=[1]",
    "models.cnn-bn.model.pool_mels=[1]",
    "models.cnn-bn.model.dense=[8]",
    "models.cnn-bn.front_end.n_mels=8",
    "models.cnn-bn.front_end.f_max=1000.0",
    "models.cnn-bn.sequence.frames=4",
    "training.epochs=1",
]


class Levels:
    """Log magnitudes of four bands of a recording, a frame for each tenth of a second."""

    sample_rate, n_features = AUDIO.sample_rate, 4

    def __init__(self, digest: str) -> None:
        self.digest = digest

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        frames = waveform[: len(waveform) // 400 * 400].reshape(-1, 400)
        bands = np.abs(np.fft.rfft(frames))[:, 1:].reshape(len(frames), 4, 50)
        return np.log(bands.mean(axis=2) + 1e-9).astype(np.float32)


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """Names and weights of the encoders that were opened."""
    found: list[tuple[str, str | None]] = []

    def open_encoder(name: str, weights: str | None = None) -> Levels:
        found.append((name, weights))
        if weights == "missing.h5":
            raise StorageError("There is no missing.h5.")
        return Levels("other" if weights == "other.h5" else "abc")

    monkeypatch.setattr("pipelines.inference.embedded.open_encoder", open_encoder)
    return found


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on a table of an encoder and another one, three recordings, and tables of their vectors."""
    folder = tmp_path_factory.mktemp("embedded")
    planted, rng = write_evidence(folder / "dataset", N_TRACKS), np.random.default_rng(1)
    vectors = rng.standard_normal((N_TRACKS, 8)).astype(np.float32)
    about = np.array(json.dumps(ABOUT))
    np.savez(folder / "levels.npz", track_ids=planted.ids, features=vectors, encoder=about)
    np.savez(folder / "expert.npz", track_ids=planted.ids, features=planted.attributes, encoder="not JSON")
    np.savez(folder / "other.npz", track_ids=planted.ids, features=vectors[:, ::-1], encoder=about)
    train(folder, "attributes-linear@levels,attributes-linear@expert,attributes-kernel@levels+other", TABLES)
    (folder / "audio" / "new").mkdir(parents=True)
    found = []
    for number, name in enumerate(RECORDINGS):
        samples = (0.05 * (number + 1) * rng.standard_normal(12_000)).astype(np.float32)
        soundfile.write(folder / "audio" / f"{name}.wav", samples, AUDIO.sample_rate, subtype="FLOAT")
        found.append(pool(Levels("abc").encode(samples), POOLING))
    np.savez(folder / "new.npz", track_ids=RECORDINGS, features=np.stack(found))
    np.savez(folder / "new-expert.npz", track_ids=RECORDINGS[:1], features=np.ones((1, 4)))
    return folder


def train(folder: Path, models: str, names: tuple[str, ...]) -> None:
    """Train `models` on the tables of an encoder and of an expert."""
    tables = [f"--features={name}={folder / name}.npz" for name in names]
    out = ["--models", models, "--out", folder / "runs"]
    assert run("run-baselines", folder / "dataset", *tables, *out, *(f"--set={one}" for one in QUICK)) == 0


@pytest.fixture(scope="module")
def fused(work: Path) -> Path:
    train(work, "fusion", TABLES[:2])
    return finished(work, "fusion")


def finished(work: Path, model: str) -> Path:
    (folder,) = (work / "runs").glob(f"*-{model}-*")
    return folder


def predicted(work: Path, *arguments: object) -> dict[str, np.ndarray]:
    """Predict, and return factors by id."""
    assert run("predict", *arguments, "--out", work / "out.npz") == 0
    arrays = read_npz(work / "out.npz", "track_ids", "factors")
    return dict(zip(arrays["track_ids"].tolist(), arrays["factors"], strict=True))


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, factors in expected.items():
        np.testing.assert_allclose(found[name], factors, rtol=1e-5, atol=1e-6)


def test_a_recording_is_predicted_as_its_vector(
    work: Path, opened: list[tuple[str, str | None]], capfd: pytest.CaptureFixture[str]
) -> None:
    trained = finished(work, "attributes-linear@levels")
    assert read_json(trained / "encoder.json") == json.loads(json.dumps(ABOUT))
    found = predicted(work, trained, work / "audio")
    assert opened == [("levels", "levels.h5")]
    assert_equal(found, predicted(work, trained, work / "new.npz"))
    assert list(found) == list(RECORDINGS) and np.ptp(list(found.values()), axis=0).all()
    (work / "audio" / "short.wav").write_bytes((work / "audio" / "new" / "a.wav").read_bytes()[:100])
    assert list(predicted(work, trained, work / "audio", "--weights", "moved.h5")) == list(RECORDINGS)
    (work / "audio" / "short.wav").unlink()
    assert opened[-1] == ("levels", "moved.h5")
    assert "left out short: " in capfd.readouterr().err


@pytest.mark.slow
def test_a_fusion_joins_audio_vectors_and_what_files_hold(
    work: Path, fused: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As from a dataset of the same recordings."""
    trained, dataset = fused, work / "recordings"
    audio = ["--sample-rate", AUDIO.sample_rate, "--n-fft", AUDIO.n_fft, "--hop-length", AUDIO.hop_length]
    assert run("ingest", work / "audio", "--out", dataset, *audio, "--dtype", "float32") == 0
    for expert in ([], ["--features", f"expert={work / 'new-expert.npz'}"]):
        found = predicted(work, trained, work / "audio", *expert)
        tables = ["--features", f"levels={work / 'new.npz'}", *expert]
        assert_equal(found, predicted(work, trained, dataset, *tables))
    assert "tracks are predicted without the branch attributes@expert" in capfd.readouterr().err
    assert len(predicted(work, trained, dataset)) == 3
    assert run("predict", fused, dataset, "--features", "x.npz", "--out", work / "refused.npz") == 1
    assert "takes: levels, expert. Received: one without a name." in capfd.readouterr().err


def test_tracks_are_recommended_for_a_recording(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trained, recording = finished(work, "attributes-linear@levels"), work / "audio" / "new" / "b.wav"
    factors = predicted(work, trained, recording)["b"]
    stored = read_npz(trained / "predictions.npz", "track_ids", "factors")
    cosines = stored["factors"] @ factors / np.linalg.norm(stored["factors"], axis=1)
    expected = stored["track_ids"][np.argsort(-cosines, kind="stable")[:3]].tolist()
    capfd.readouterr()
    assert run("recommend", trained, recording, "-k", 3, "--format", "csv") == 0
    lines = capfd.readouterr().out.splitlines()[1:]
    assert [next(one for one in line.split(",") if one in set(expected)) for line in lines] == expected


def test_joined_tables_run_all_encoders(
    work: Path, opened: list[tuple[str, str | None]], capfd: pytest.CaptureFixture[str]
) -> None:
    """The same as from their vectors; validation tracks, fitted too, are predicted without their fold."""
    trained, dataset = finished(work, "attributes-kernel@levels+other"), work / "dataset"
    assert set(read_json(trained / "encoder.json")) == {"levels", "other"}
    found = predicted(work, trained, work / "audio", "--weights", "other=moved.h5")
    assert opened == [("levels", "levels.h5"), ("levels", "moved.h5")] and list(found) == list(RECORDINGS)
    ids, (file,) = Dataset(dataset).tracks.ids.tolist(), [work / "rows.npz"]
    arrays = read_npz(work / "new.npz", "track_ids", "features")
    np.savez(file, track_ids=ids[: len(RECORDINGS)], features=arrays["features"])
    tables = ["--features", f"levels={file}", "--features", f"other={file}"]
    assert_equal(
        dict(zip(RECORDINGS, predicted(work, trained, dataset, *tables).values(), strict=True)), found
    )
    tables = [word for name in ("levels", "other") for word in ("--features", f"{name}={work / name}.npz")]
    fitted, stored = (
        predicted(work, trained, dataset, *tables),
        read_npz(trained / "predictions.npz", "track_ids"),
    )
    factors = read_npz(trained / "predictions.npz", "factors")["factors"]
    held_out = Dataset(dataset).tracks.in_split("validation")
    is_same = {
        track_id: np.allclose(own, fitted[track_id], atol=1e-6)
        for track_id, own in zip(stored["track_ids"].tolist(), factors, strict=True)
    }
    assert {track_id for track_id, same in is_same.items() if not same} == set(
        np.array(ids)[held_out].tolist()
    )
    for arguments, message in (
        ((trained, work / "new.npz"), "joins the tables levels, other: expected recordings"),
        ((trained, dataset, *tables[:2]), "expected --features other=FILE too. Received: levels."),
    ):
        capfd.readouterr()
        assert run("predict", *arguments, "--out", work / "refused.npz") == 1
        assert message in capfd.readouterr().err


def test_what_does_not_fit_is_refused(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    levels, expert = (finished(work, f"attributes-linear@{name}") for name in ("levels", "expert"))
    recording = work / "audio" / "new" / "a.wav"
    for arguments, message in (
        ((expert, recording), "takes attributes, not audio"),
        ((levels, recording, "--weights", "other.h5"), "expected weights of SHA-256 abc. Received: other."),
        (
            (levels, recording, "--weights", "missing.h5"),
            "name its weights by --weights: There is no missing.h5.",
        ),
        ((levels, recording, "--weights", "expert=x.h5"), "takes: levels. Received: expert."),
        ((expert, recording, "--weights", "x.h5"), "takes: none. Received: one without a name."),
    ):
        assert run("predict", *arguments, "--out", work / "refused.npz") == 1
        assert message in capfd.readouterr().err
    assert not (work / "refused.npz").exists()
