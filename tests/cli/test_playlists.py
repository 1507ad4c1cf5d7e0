"""Recommended lists and outliers: by ids, by recordings, as tables and as files."""

import csv
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.cli.test_commands import imported_by
from tests.command_line import run
from tests.conftest import TrainDemo


@pytest.fixture(scope="module")
def trained(train_demo: TrainDemo) -> Path:
    return train_demo("cnn-bn")


@pytest.fixture(scope="module")
def names(demo: Path) -> dict[str, dict[str, str]]:
    return {row["track_id"]: row for row in pq.read_table(demo / "tracks.parquet").to_pylist()}


def new_track(trained: Path) -> str:
    with np.load(trained / "predictions.npz") as stored:
        return str(stored["track_ids"][0])


def test_a_table_with_the_true_list(
    trained: Path, demo: Path, names: dict[str, dict[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("recommend", trained, new_track(trained), "--dataset", demo, "-k", 3, "--true") == 0
    printed = capfd.readouterr().out
    assert "by reference factors" in printed and re.search(r"^\s*3\s", printed, re.MULTILINE)
    assert not re.search(r"^\s*4\s", printed, re.MULTILINE)


def test_tracks_of_the_catalogue_need_no_model(trained: Path, demo: Path) -> None:
    imported = imported_by("recommend", str(trained), new_track(trained), "--dataset", str(demo))
    assert not {"tensorflow", "keras"} & imported


def test_a_playlist_file_names_files_that_play(
    trained: Path, demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, seed = demo / "source", new_track(trained)
    arguments = ["recommend", trained, seed, "--dataset", demo, "-k", 4]
    for given in (["--tracks", source / "tracks.csv"], ["--audio-root", source / "audio"]):
        out = tmp_path / "lists" / "list.m3u8"
        assert run(*arguments, "--out", out, *given) == 0
        lines = out.read_bytes().decode().removesuffix("\n").split("\n")
        assert lines[0] == "#EXTM3U" and len(lines) == 9
        for information, path in zip(lines[1::2], lines[2::2], strict=True):
            assert re.fullmatch(r"#EXTINF:\d+,[^#].* - .+", information)
            assert not os.path.isabs(path)
            assert round(soundfile.info(out.parent / path).duration) == int(information[8:].partition(",")[0])
    assert run("outliers", trained, out) == 0
    assert "list.m3u8: the least similar first" in capfd.readouterr().out


def test_what_is_exported_to_standard_output_is_that_alone(
    trained: Path, demo: Path, names: dict[str, dict[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["recommend", trained, new_track(trained), "--dataset", demo, "-k", 5, "--format"]
    capfd.readouterr()
    assert run(*arguments, "json") == 0
    document = json.loads(capfd.readouterr().out)
    assert run(*arguments, "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert [row["track_id"] for row in rows] == [track["track_id"] for track in document["tracks"]]
    assert [row["title"] for row in rows] == [names[row["track_id"]]["title"] for row in rows]
    scores = [track["score"] for track in document["tracks"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 5


def test_seeds_are_predicted_when_requested_and_scores_are_explained(
    trained: Path, demo: Path, names: dict[str, dict[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    train = next(track_id for track_id, row in names.items() if int(row["fold"]) < 7)
    arguments = ["recommend", trained, new_track(trained), train, "--dataset", demo, "-k", 2, "--explain"]
    found = {}
    for more in ((), ("--predicted",)):
        capfd.readouterr()
        assert run(*arguments, *more, "--format", "json") == 0
        found[more] = document = json.loads(capfd.readouterr().out)
        assert [seed["factors"] for seed in document["seeds"]] == [
            "predicted",
            "predicted" if more else "reference",
        ]
        for track in document["tracks"]:
            why = track["explanation"]
            assert np.float32(sum(why["factors"])) == pytest.approx(track["score"], abs=1e-7)
            assert sum(part["share"] for part in why["shares"]) == pytest.approx(track["score"], abs=1e-6)
            assert [part["name"] for part in why["shares"]] == [seed["name"] for seed in document["seeds"]]
            assert all(int(names[near["track_id"]]["fold"]) < 7 for near in why["train_tracks"])
    first, second = ([track["score"] for track in one["tracks"]] for one in found.values())
    assert first != second
    assert run(*arguments) == 0
    printed = capfd.readouterr().out
    assert "Seeds with reference factors: " in printed and printed.count("Close to both: ") == 2


def test_spotify_without_credentials_says_what_would_be_added(
    trained: Path, demo: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SPOTIPY_CLIENT_ID", raising=False)
    capfd.readouterr()
    seed = new_track(trained)
    assert run("recommend", trained, seed, "--dataset", demo, "-k", 2, "--format", "spotify") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("Nothing was added") and len(lines) == 3
    assert all(re.match(r"ZZCSK\d{7} ", line) for line in lines[1:])


def test_a_recording_is_not_recommended_to_itself(
    trained: Path, demo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seed = new_track(trained)
    capfd.readouterr()
    found = {}
    for text in (seed, str(demo / "source" / "audio" / f"{seed}.wav")):
        assert run("recommend", trained, text, "--dataset", demo, "-k", 59, "--format", "json") == 0
        found[text] = json.loads(capfd.readouterr().out)["tracks"]
    by_id, by_audio = found.values()
    assert seed not in {track["track_id"] for track in by_audio}
    assert [track["track_id"] for track in by_id] == [track["track_id"] for track in by_audio]
    scores = [[track["score"] for track in tracks] for tracks in (by_id, by_audio)]
    # A run's batches hold sequences of several tracks, a recording's its own: float32 sums in another order.
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


def test_a_train_track_of_a_table_uses_its_audio(
    trained: Path,
    demo: Path,
    names: dict[str, dict[str, str]],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    train = next(track_id for track_id, row in names.items() if int(row["fold"]) < 7)
    with np.load(trained / "predictions.npz") as stored:
        ids = [train, *stored["track_ids"][:4].tolist()]
    table, out = tmp_path / "list.csv", tmp_path / "outliers.csv"
    table.write_text("\n".join(["track_id", *ids]))
    assert run("outliers", trained, table, "--dataset", demo, "--out", out) == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert {row["track_id"] for row in rows} == set(ids)
    distances = [float(row["distance"]) for row in rows]
    assert distances == sorted(distances, reverse=True)
    capfd.readouterr()
    assert run("outliers", trained, table) == 1
    assert f"1 of 5 tracks, the first of them '{train}'" in capfd.readouterr().err


WRONG = {
    "nothing requested": ([], 2, "TRACK"),
    "two questions": (["SEED", "--playlist", "x"], 2, "TRACK"),
    "no such track": (["nonsense"], 1, "neither an audio file nor"),
    "no such playlist": (["--playlist", "nobody"], 1, "no playlist 'nobody'"),
    "suffix": (["SEED", "--out", "list.txt"], 1, "must end in .m3u8, .xspf, .jspf, .csv, .json"),
    "file for Spotify": (["SEED", "--format", "spotify", "--out", "x"], 1, "writes none"),
    "true list in a file": (["SEED", "--format", "csv", "--true"], 1, "--true is shown in the table"),
    "explanations in a list": (["SEED", "--format", "csv", "--explain"], 1, "add --format json, or --out"),
    "explanations of other scores": (
        ["SEED", "--explain", "--hubness-reduction", "csls"],
        1,
        "splits a cosine or a dot product",
    ),
    "predictions of a playlist": (["--playlist", "x", "--predicted"], 1, "is for tracks as seeds"),
    "files without m3u8": (["SEED", "--audio-root", "."], 1, "add --format m3u8, xspf or jspf"),
    "two places of files": (
        ["SEED", "--format", "m3u8", "--audio-root", ".", "--tracks", "x"],
        1,
        "not both",
    ),
    "no files": (["SEED", "--format", "m3u8"], 1, "--audio-root DIR"),
    "k": (["SEED", "-k", "0"], 1, "k must be at least 1"),
    "diversity": (["SEED", "--diversity", "2"], 1, "diversity must be 0 to 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_gets_one_sentence(
    name: str, trained: Path, demo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments, status, expected = WRONG[name]
    given = [new_track(trained) if argument == "SEED" else argument for argument in arguments]
    capfd.readouterr()
    assert run("recommend", trained, *given, "--dataset", demo) == status
    error = capfd.readouterr().err
    assert expected in error and "Traceback" not in error


def test_unusable_recordings_are_reported(
    trained: Path, demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"not sound")
    capfd.readouterr()
    assert run("recommend", trained, broken, "--dataset", demo) == 1
    assert "cannot be decoded" in capfd.readouterr().err
    assert run("outliers", trained, broken, demo / "source" / "audio") == 0
    assert "left out" in capfd.readouterr().err
    assert run("outliers", trained, broken, *sorted((demo / "source" / "audio").iterdir())[:2]) == 1
    assert "only among 3 tracks or more. Received: 2" in capfd.readouterr().err


@pytest.mark.slow
def test_lists_for_real_recordings(
    recordings: Path, trained: Path, demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ogg = sorted(recordings.glob("*.ogg"))
    assert len(ogg) >= 4
    out = tmp_path / "list.m3u8"
    given = ["--tracks", demo / "source" / "tracks.csv", "--diversity", 0.3, "--max-per-artist", 1]
    assert run("recommend", trained, *ogg[:2], "--dataset", demo, "-k", 5, "--out", out, *given) == 0
    assert out.read_text("utf-8").count("#EXTINF:") == 5
    capfd.readouterr()
    assert run("outliers", trained, *ogg, "--out", tmp_path / "outliers.csv") == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "outliers.csv").read_text())))
    assert len(rows) == len(ogg)
    assert "Traceback" not in capfd.readouterr().err
