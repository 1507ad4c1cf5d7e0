"""Every bad input gets one clear sentence and exit status 1, and leaves what was there as it was."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from tests.command_line import SMALL, run
from tests.data.small import change_table

RATE = 22050


def tone(seconds: float = 2.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * RATE)) / RATE)


def write_audio(folder: Path, n: int = 4) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(n):
        soundfile.write(folder / f"good-{i}.wav", tone(), RATE)
    return folder


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


Case = Callable[[Path, Path], tuple[list[object], list[str]]]


def ingest_case(text: str | bytes, *expected: str) -> Case:
    """An ingest of a tracks.csv with this content."""

    def case(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
        write_audio(tmp / "audio")
        return ["ingest", "--tracks", write(tmp / "tracks.csv", text), "--out", tmp / "out"], list(expected)

    return case


def interactions_case(text: str | bytes, *expected: str, options: tuple[str, ...] = ()) -> Case:
    """Factors from an interactions file with this content."""

    def case(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
        return ["factors", write(tmp / "listening.csv", text), dataset, *options], list(expected)

    return case


def given_case(expected: str, **arrays: np.ndarray) -> Case:
    """Ready-made factors with these arrays."""

    def case(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
        np.savez(tmp / "given.npz", **arrays)
        return ["factors", "--from-npz", tmp / "given.npz", dataset], ["given", expected]

    return case


def baselines_case(
    *expected: str, options: tuple[str, ...] = (), spoil: Callable[[Path], object] = lambda d: None
) -> Case:
    """A training run on a dataset that was spoilt, or with these options."""

    def case(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
        spoil(dataset)
        arguments = ["run-baselines", dataset, "--models", "cnn-bn", "--out", tmp / "runs", *options]
        return arguments, list(expected)

    return case


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def first_shard(dataset: Path) -> Path:
    return sorted(dataset.glob("shards/*/*.h5"))[0]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def spoil_shard(dataset: Path, **attributes: object) -> None:
    with h5py.File(first_shard(dataset), "r+") as file:
        file.attrs.update(attributes)


def chunk_shard(dataset: Path) -> None:
    path = first_shard(dataset)
    with h5py.File(path, "r+") as file:
        data = file["magnitude"][()]
        del file["magnitude"]
        file.create_dataset("magnitude", data=data, chunks=(16, 513))


def occupied_dataset(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
    return ["ingest", write_audio(tmp / "audio"), "--out", dataset], ["--append", "already holds"]


def other_settings(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
    return (
        ["ingest", write_audio(tmp / "audio"), "--out", dataset, "--append", "--hop-length", 256],
        ["hop_length=512", "hop_length=256"],
    )


def two_tracks(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
    return ["ingest", write_audio(tmp / "audio", 2), "--out", tmp / "out"], ["at least 3 usable tracks"]


def only_garbage(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
    for i in range(4):
        write(tmp / f"{i}.mp3", b"not sound")
    return ["ingest", tmp, "--out", tmp / "out"], ["at least 3 usable tracks"]


def no_audio(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
    (tmp / "empty").mkdir()
    return ["ingest", tmp / "empty", "--out", tmp / "out"], ["no audio in", "empty"]


def out_is_file(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
    return ["ingest", write_audio(tmp / "audio"), "--out", write(tmp / "out", "x")], ["out"]


def unfinished_runs(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
    (tmp / "runs" / "2026-01-01-bot-0123456789.partial").mkdir(parents=True)
    return ["report", tmp / "runs"], ["no finished run", "1"]


def broken_evaluation(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
    folder = tmp / "runs" / "2026-01-01-bot-0123456789"
    folder.mkdir(parents=True)
    (folder / "DONE").touch()
    for name in ("config.json", "evaluation.json"):
        write(folder / name, "{")
    return ["report", tmp / "runs"], ["bot-0123456789", "JSON"]


def unfinished_run(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
    folder = tmp / "2026-01-01-bot-0123456789.partial"
    folder.mkdir()
    return ["predict", folder, dataset, "--out", tmp / "out.npz"], ["not a finished run", "DONE"]


def predict_case(*arguments: object, expected: tuple[str, ...]) -> Case:
    """A prediction by a run whose settings are cut short; invalid arguments are reported before that."""

    def case(tmp: Path, dataset: Path) -> tuple[list[object], list[str]]:
        (tmp / "DONE").touch()
        write(tmp / "config.json", "{")
        given = [dataset if argument == "DATASET" else argument for argument in arguments]
        return ["predict", tmp, *given, "--out", tmp / "out.npz"], list(expected)

    return case


GOOD_ID = np.array(["demo00000"])
CASES: dict[str, Case] = {
    # ingest
    "nothing to ingest": lambda tmp, d: (["ingest", "--out", tmp / "out"], ["nothing to ingest", "--tracks"]),
    "missing audio": lambda tmp, d: (["ingest", tmp / "no.mp3", "--out", tmp / "out"], ["no.mp3"]),
    "folder without audio": no_audio,
    "too few tracks": two_tracks,
    "nothing decodable": only_garbage,
    "dataset in the way": occupied_dataset,
    "other audio settings": other_settings,
    "out is a file": out_is_file,
    "hop longer than window": lambda tmp, d: (
        ["ingest", write_audio(tmp / "a"), "--out", tmp / "o", "--hop-length", 2048],
        ["audio.hop_length", "2048"],
    ),
    "sample rate of zero": lambda tmp, d: (
        ["ingest", write_audio(tmp / "a"), "--out", tmp / "o", "--sample-rate", 0],
        ["audio.sample_rate", "0"],
    ),
    "missing tracks.csv": lambda tmp, d: (
        ["ingest", "--tracks", tmp / "no.csv", "--out", tmp / "out"],
        ["no.csv", "No such file"],
    ),
    "empty tracks.csv": ingest_case("", "tracks.csv", "is empty"),
    "tracks.csv with a header alone": ingest_case("path,artist\n", "lists no recordings"),
    "tracks.csv without paths": ingest_case("artist,title\na,b\n", "no column 'path'", "artist, title"),
    "ragged tracks.csv": ingest_case("path,artist\naudio/good-0.wav\n", "line 2", "1 values"),
    "empty path": ingest_case("path,artist\n,somebody\n", "line 2", "'path' is empty"),
    "duplicated id": ingest_case("path,track_id\na.wav,x\nb.wav,x\n", "'x' occurs twice"),
    "duplicated file": ingest_case("path,track_id\na.wav,x\na.wav,y\n", "a.wav", "occurs twice"),
    "latin-1 tracks.csv": ingest_case(
        "path,artist\na.wav,Bj\xf6rk\n".encode("latin-1"), "--encoding latin-1"
    ),
    # factors
    "missing interactions": lambda tmp, d: (["factors", tmp / "no.csv", d], ["no.csv"]),
    "empty interactions": interactions_case("", "listening.csv", "empty"),
    "interactions with a header alone": interactions_case(
        "playlist_id,track_id\n", "listening.csv", "no rows"
    ),
    "interactions without tracks": interactions_case("playlist_id,colour\np,red\n", "colour", "track"),
    "negative count": interactions_case("playlist_id,track_id,count\np,demo00000,-1\n", "row 1", "-1"),
    "count that is no number": interactions_case(
        "playlist_id,track_id,count\np,demo00000,often\n", "row 1", "often"
    ),
    "infinite count": interactions_case("playlist_id,track_id,count\np,demo00000,inf\n", "row 1", "inf"),
    "ragged interactions": interactions_case("playlist_id,track_id,count\np,demo00000\n", "listening.csv"),
    "latin-1 interactions": interactions_case(
        "playlist_id,track_id\nM\xfcnchen,x\n".encode("latin-1"), "--encoding latin-1"
    ),
    "unknown tracks only": interactions_case("playlist_id,track_id\np,unheard\n", "unheard"),
    "unknown column given": interactions_case(
        "playlist_id,track_id\np,x\n", "'who'", "playlist_id", options=("--playlist-column", "who")
    ),
    "zero factors": interactions_case(
        "playlist_id,track_id\np,demo00000\n", "factors", "0", options=("--n-factors", "0")
    ),
    "factors' name with a slash": interactions_case(
        "playlist_id,track_id\n", "../x", options=("--name", "../x")
    ),
    "factors of a folder that is no dataset": lambda tmp, d: (
        ["factors", write(tmp / "l.csv", "playlist_id,track_id\np,x\n"), tmp],
        ["not a cs-keras dataset"],
    ),
    "given factors without ids": given_case("ids", item_factors=np.ones((1, 2))),
    "given factors of another length": given_case("item_factors", ids=GOOD_ID, item_factors=np.ones((2, 2))),
    "given factors not finite": given_case("item_factors", ids=GOOD_ID, item_factors=np.full((1, 2), np.nan)),
    "given factors of no known track": given_case(
        "no track in common", ids=np.array(["x"]), item_factors=np.ones((1, 2))
    ),
    "pickled factors": given_case(
        "ids", ids=np.array(["demo00000"], dtype=object), item_factors=np.ones((1, 2))
    ),
    "given factors that are no npz": lambda tmp, d: (
        ["factors", "--from-npz", write(tmp / "given.npz", "nonsense"), d],
        ["given.npz"],
    ),
    # run-baselines
    "unknown model": lambda tmp, d: (["run-baselines", d, "--models", "resnet"], ["'resnet'", "cnn-bn"]),
    "missing dataset": lambda tmp, d: (["run-baselines", tmp / "no"], ["no", "not a cs-keras dataset"]),
    "unknown setting": baselines_case(
        "model.droput", "Did you mean model.dropout", options=("--set", "model.droput=1")
    ),
    "setting out of range": baselines_case(
        "model.dropout", "0 to 0.95", options=("--set", "model.dropout=2")
    ),
    "setting of the wrong type": baselines_case(
        "training.epochs", "a whole number", options=("--set", "training.epochs=many")
    ),
    "setting without a value": baselines_case("NAME=VALUE", options=("--set", "training.epochs")),
    "no epochs": baselines_case("training.epochs", "at least 1", options=("--epochs", "0")),
    "fraction of nothing": baselines_case("train_fraction", options=("--train-fraction", "0")),
    "unknown number format": baselines_case(
        "execution.dtype_policy",
        "mixed_float16",
        "'float8'",
        options=("--set", "execution.dtype_policy=float8"),
    ),
    "no devices": baselines_case("execution.devices", "at least 1", options=("--devices", "0")),
    "more devices than there are": baselines_case(
        "execution.devices must be at most 1", "999", options=("--devices", "999")
    ),
    "XLA on two devices": baselines_case("execution.devices must be 1", options=("--jit", "--devices", "2")),
    "XLA that is neither on nor off": baselines_case(
        "execution.jit", "true or false", options=("--set", "execution.jit=1")
    ),
    "missing settings file": baselines_case("no.toml", options=("--config", "no.toml")),
    "unknown factors": baselines_case("'mine'", "wmf", options=("--factors", "mine")),
    "no factors": baselines_case("no factors", spoil=lambda d: shutil.rmtree(d / "factors")),
    "truncated factors": baselines_case("wmf.npz", spoil=lambda d: truncate(d / "factors" / "wmf.npz")),
    "newer dataset": baselines_case(
        "schema version 99", spoil=lambda d: change_json(d / "dataset.json", schema_version=99)
    ),
    "dataset.json that is no JSON": baselines_case(
        "dataset.json", "JSON", spoil=lambda d: write(d / "dataset.json", "{")
    ),
    "missing track table": baselines_case("tracks.parquet", spoil=lambda d: (d / "tracks.parquet").unlink()),
    "truncated track table": baselines_case("tracks.parquet", spoil=lambda d: truncate(d / "tracks.parquet")),
    "track twice in the table": baselines_case(
        "occurs twice", spoil=lambda d: change_table(d, lambda rows: rows.append(rows[0]))
    ),
    "impossible fold": baselines_case(
        "fold 12", spoil=lambda d: change_table(d, lambda rows: rows[0].update(fold=12))
    ),
    "factors of other tracks": baselines_case(
        "not of the tracks", spoil=lambda d: change_table(d, lambda rows: rows.pop())
    ),
    "frames beyond the shard": baselines_case(
        "does not fit the track table",
        spoil=lambda d: change_table(d, lambda rows: [row.update(first_frame=10**6) for row in rows]),
    ),
    "missing shard": baselines_case(
        "lacks its shard", "part-00000.h5", spoil=lambda d: first_shard(d).unlink()
    ),
    "truncated shard": baselines_case("part-00000.h5", spoil=lambda d: truncate(first_shard(d))),
    "shard that is no HDF5": baselines_case(
        "part-00000.h5", spoil=lambda d: write(first_shard(d), "nonsense")
    ),
    "newer shard": baselines_case("shard version 99", spoil=lambda d: spoil_shard(d, schema_version=99)),
    "chunked shard": baselines_case("one contiguous block", spoil=chunk_shard),
    # predict
    "prediction by a missing run": lambda tmp, d: (
        ["predict", tmp / "no", d, "--out", tmp / "out.npz"],
        ["no is not a finished run"],
    ),
    "prediction by an unfinished run": unfinished_run,
    "prediction by a damaged run": predict_case("DATASET", expected=("config.json", "JSON")),
    "two datasets to predict": predict_case("DATASET", "DATASET", expected=("one dataset", "2 names")),
    "split of recordings": predict_case("x.wav", "--split", "test", expected=("--split", "x.wav is not one")),
    "recordings behind a URL": predict_case(
        "memory://x/y.mp3", expected=("memory://x/y.mp3", "not a cs-keras dataset", "this machine's paths")
    ),
    "runner named twice": lambda tmp, d: (
        ["predict", tmp, d, "--out", "x", "--runner", "DirectRunner", "--", "--runner=SparkRunner"],
        ["runner once"],
    ),
    "workers of two kinds": lambda tmp, d: (
        ["ingest", write_audio(tmp / "a"), "--out", tmp / "o", "--workers", 2, "--runner", "DirectRunner"],
        ["--workers", "--runner"],
    ),
    "recordings after Beam's dashes": lambda tmp, d: (
        ["ingest", "--out", tmp / "o", "--runner", "DirectRunner", "--", write_audio(tmp / "a")],
        ["nothing to ingest"],
    ),
    # report
    "missing runs": lambda tmp, d: (["report", tmp / "no"], ["no"]),
    "unfinished runs": unfinished_runs,
    "broken evaluation": broken_evaluation,
    "a folder of studies": lambda tmp, d: (
        ["report", write(made(tmp / "studies/bot") / "study.json", "{}").parents[1]],
        ["contains studies", "name one, such as", "studies/bot"],
    ),
    "outliers as a playlist": lambda tmp, d: (
        ["outliers", tmp, d, "--out", tmp / "o.txt"],
        ["--out must end in .csv or .json"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_one_sentence(
    name: str, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments, expected = CASES[name](tmp_path, dataset)
    factors = {path: path.read_bytes() for path in dataset.glob("factors/*.npz")}
    capfd.readouterr()

    status = run(*arguments)

    message = capfd.readouterr().err
    assert status == 1, message
    assert "Traceback" not in message
    last = message.strip().splitlines()[-1]
    assert last.startswith("Error: ") or ": failed: " in message, message
    for fragment in expected:
        assert fragment in message
    assert factors == {path: path.read_bytes() for path in dataset.glob("factors/*.npz")}


def test_full_disk_stops_training_with_one_sentence_and_loses_nothing(
    demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["run-baselines", demo, "--models", "cnn-bn", "--out", tmp_path, *SMALL]
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        assert run(*arguments) == 1
    assert "the disk is full" in capfd.readouterr().err
    assert run(*arguments) == 0
