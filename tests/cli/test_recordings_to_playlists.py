"""Recordings that no model has seen become lists in every form, of tracks whose names do their worst."""

import csv
import io
import json
import os
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cs_keras.playlists.formats import restore
from cs_keras.playlists.read import read_ids, read_m3u
from tests.command_line import SMALL, run

pytestmark = pytest.mark.slow
FRAME_S = 512 / 22050  # hop, in seconds
N_TRACKS = 60
NAMES = [
    *("#1 hit.wav", "#EXTM3U.wav", " leading space.wav", "100% sure.wav", "%41%2F.wav", "a,b - c.wav"),
    *("http:x.wav", "-dash.wav", "=1+1.wav", "ünï 日本.wav", "e\u0301.wav", "back\\slash.wav", "q?u&a.wav"),
]
TITLES = [
    *(
        "=HYPERLINK(1)",
        "@SUM(1)",
        "[red]markup[/red]",
        "#EXTINF:1,x",
        "\u202ereversed",
        "a\u2028http://evil/b.mp3",
    ),
    *("Comma, and more", "50% off", "日本", "e\u0301tude", "./../etc"),
]
FORMS = ("m3u8", "csv", "json")


@pytest.fixture(scope="module")
def source(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's recordings under hostile names, and their table."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "music").mkdir()
    with open(demo / "source" / "tracks.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        name = NAMES[number] if number < len(NAMES) else f"plain {number}.wav"
        shutil.copy(demo / "source" / row["path"], folder / "music" / name)
        row["path"] = f"music/{name}"
        if number < len(TITLES):
            row["title"] = TITLES[number]
    with open(folder / "tracks.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def table(source: Path) -> dict[str, dict[str, str]]:
    with open(source / "tracks.csv", encoding="utf-8", newline="") as file:
        return {row["track_id"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def lists(
    recordings: Path, demo: Path, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[object], Path]:
    """The command that lists every track of a dataset for all recordings, and a folder with its files."""
    folder = tmp_path_factory.mktemp("recommend")
    dataset, runs, out = folder / "dataset", folder / "runs", folder / "lists"
    assert run("ingest", "--tracks", source / "tracks.csv", "--out", dataset) == 0
    assert run("factors", demo / "source" / "listening.csv", dataset, "--n-factors", 8) == 0
    assert run("run-baselines", dataset, "--models", "cnn-bn", "--out", runs, *SMALL) == 0
    (trained,) = runs.glob("????-*")
    playable = sorted(path for path in recordings.iterdir() if path.suffix in (".ogg", ".mp3"))
    playable = [path for path in playable if "odisea" not in path.name]  # which is silent
    assert len(playable) == 13
    command = ["recommend", trained, *playable, "--dataset", dataset, "-k", N_TRACKS]
    for form in FORMS:
        files = ["--tracks", source / "tracks.csv"] if form == "m3u8" else []
        assert run(*command, "--out", out / f"list.{form}", *files) == 0
    return command, out


def parse_m3u8(content: bytes) -> list[tuple[float, str, str]]:
    """Return duration in seconds, display and path of each entry, by the format's rules alone."""
    assert not content.startswith(b"\xef\xbb\xbf") and b"\r" not in content
    lines = content.decode("utf-8").split("\n")
    assert lines[0] == "#EXTM3U" and lines.pop() == ""
    assert len(lines) % 2 == 1
    entries = []
    for information, path in zip(lines[1::2], lines[2::2], strict=True):
        found = re.fullmatch(r"#EXTINF:(-?\d+(?:\.\d+)?),(.+)", information)
        assert found, information
        assert not path.startswith("#") and path == path.strip() and path
        for text in (information, path):  # nor what other readers would break lines at
            assert not any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text)
        entries.append((float(found[1]), found[2], path))
    return entries


def as_vlc_reads(display: str) -> tuple[str, str]:
    """Return artist and title as VLC takes them from what follows the duration's comma."""
    artist, dash, title = display.partition(" - ")
    return (artist, title) if dash else ("", display)


def test_every_form_holds_the_same_list(lists: tuple[list[object], Path], source: Path) -> None:
    _, folder = lists
    document = json.loads((folder / "list.json").read_text("utf-8"))
    ids = [track["track_id"] for track in document["tracks"]]
    assert len(set(ids)) == N_TRACKS
    assert document["title"].startswith("Tracks like ") and document["title"].endswith(" and 12 more")
    scores = [track["score"] for track in document["tracks"]]
    assert scores == sorted(scores, reverse=True) and np.abs(scores).max() <= 1 + 1e-6
    assert read_ids(folder / "list.csv") == ids
    files = [path.resolve() for path in read_m3u(folder / "list.m3u8")]
    with open(source / "tracks.csv", encoding="utf-8", newline="") as file:
        paths = {row["track_id"]: source / row["path"] for row in csv.DictReader(file)}
    assert files == [paths[track_id].resolve() for track_id in ids]


def test_the_playlist_is_what_the_format_says(
    lists: tuple[list[object], Path], table: dict[str, dict[str, str]], source: Path
) -> None:
    _, folder = lists
    entries = parse_m3u8((folder / "list.m3u8").read_bytes())
    ids = read_ids(folder / "list.csv")
    assert len(entries) == N_TRACKS
    for (duration, display, path), track_id in zip(entries, ids, strict=True):
        audio = folder / path
        assert not os.path.isabs(path) and os.path.samefile(audio, source / table[track_id]["path"])
        assert (
            abs(soundfile.info(audio).duration - duration) <= 0.5 + FRAME_S
        )  # whole seconds of whole frames
        artist, title = as_vlc_reads(display)
        assert artist == table[track_id]["artist"]
        shown = "".join(c if c.isprintable() else " " for c in table[track_id]["title"])
        assert title == unicodedata.normalize("NFC", shown).strip()


def test_the_playlist_plays_wherever_both_folders_are_moved(
    lists: tuple[list[object], Path], source: Path, tmp_path: Path
) -> None:
    command, _ = lists
    music = tmp_path / "music"
    shutil.copytree(source, music)
    out = music / "music" / "list.m3u8"
    assert run(*command, "--out", out, "--tracks", music / "tracks.csv") == 0
    moved = Path(shutil.move(music, tmp_path / "elsewhere"))
    entries = parse_m3u8((moved / "music" / "list.m3u8").read_bytes())
    assert {"./#1 hit.wav", "./#EXTM3U.wav", "./ leading space.wav", "./http:x.wav"} <= {
        path for *_, path in entries
    }
    assert {"100% sure.wav", "%41%2F.wav", "a,b - c.wav", "back\\slash.wav"} <= {path for *_, path in entries}
    for duration, _, path in entries:
        assert abs(soundfile.info(moved / "music" / path).duration - duration) <= 0.5 + FRAME_S


def test_tables_and_documents_treat_names_as_data(
    lists: tuple[list[object], Path], table: dict[str, dict[str, str]]
) -> None:
    _, folder = lists
    text = (folder / "list.csv").read_bytes().decode("utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(text.splitlines()) == len(rows) + 1  # also where only Unicode breaks lines
    tracks = json.loads((folder / "list.json").read_text("utf-8"))["tracks"]
    for row, track in zip(rows, tracks, strict=True):
        title = table[row["track_id"]]["title"]
        assert track["title"] == title
        assert not row["title"].startswith(("=", "@"))
        shown = "".join(c if c.isprintable() else " " for c in title)
        assert restore(row["title"]) == unicodedata.normalize("NFC", shown).strip()
        assert float(row["score"]) == track["score"]
        # No digits that float32 and milliseconds do not have.
        assert row["score"] == str(np.float32(row["score"])) and re.fullmatch(
            r"\d+\.\d{1,3}", row["duration_s"]
        )


def test_the_table_and_the_dry_run_show_every_track_on_a_line(
    lists: tuple[list[object], Path],
    table: dict[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    command, folder = lists
    monkeypatch.delenv("SPOTIPY_CLIENT_ID", raising=False)
    ids = read_ids(folder / "list.csv")
    capfd.readouterr()
    assert run(*command) == 0
    shown = capfd.readouterr().out
    numbered = [line for line in shown.splitlines() if re.match(r"\s*\d+\s", line)]
    assert len(numbered) == N_TRACKS
    assert "[red]markup[/red]" in shown and "\x1b" not in shown and "\u202e" not in shown
    assert run(*command, "--format", "spotify") == 0
    first, *lines = capfd.readouterr().out.splitlines()
    assert first.startswith("Nothing was added") and len(lines) == N_TRACKS
    assert [line.split()[0] for line in lines] == [table[track_id]["isrc"] for track_id in ids]
