"""Datasets without audio: made, extended, checked, repaired; and the audio of mixed ones."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.data.folds import hash_fold
from cs_keras.data.integrity.rebuild import infer_info
from cs_keras.data.schema import make_tracks, read_info, read_tracks, write_dataset
from cs_keras.data.windows import Windows
from cs_keras.errors import AudioError, ConfigError, CsKerasError, DataError
from pipelines.dataset.check import check_dataset
from pipelines.dataset.ingest_items import ingest_items, read_items
from pipelines.dataset.repair import repair_dataset
from tests.command_line import run
from tests.data.small import change_document, change_table, track_row, write_small

HEADER = "track_id,artist,title,genres,tempo\n"


def write(folder: Path, rows: str, name: str = "items.csv") -> Path:
    path = folder / name
    path.write_text(HEADER + rows, encoding="utf-8")
    return path


def many(first: int = 0, n: int = 60) -> str:
    return "".join(f"i{i},artist {i // 2},title {i},pop|rock,{i}\n" for i in range(first, first + n))


def digest_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_items_become_a_dataset(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, table = tmp_path / "out", write(tmp_path, many())
    assert run("ingest", "--no-audio", "--tracks", table, "--out", out) == 0
    assert "60 items without audio, 60 of them new" in capfd.readouterr().out
    tracks = read_tracks(out)
    assert tracks.ids.tolist() == [f"i{i}" for i in range(60)]
    assert tracks.table["genres"].to_pylist() == [["pop", "rock"]] * 60
    assert tracks.numbers("fold").tolist() == [hash_fold(f"artist {i // 2}") for i in range(60)]
    assert not tracks.has_audio.any() and set(tracks.strings("shard")) == {""}
    assert (read_info(out).fold_by, read_info(out).fold_assignment) == ("artist", "hash")
    assert run("check", out) == 0
    assert "is intact: 60 items without audio" in capfd.readouterr().out
    before = digest_of(out)
    assert run("ingest", "--no-audio", "--tracks", table, "--out", out) == 0
    assert digest_of(out) == before


def test_items_are_added_and_move_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ingest_items(read_items(write(tmp_path, many())), out, "artist")
    before = read_tracks(out)
    more = read_items(write(tmp_path, many(40, 40)))
    with pytest.raises(
        ConfigError, match=r"holds a dataset of 60 tracks, and 20 of the given.*'i60'.*--append"
    ):
        ingest_items(more, out, "artist")
    done = ingest_items(more, out, "artist", append=True)
    assert (done.n_tracks, done.n_new) == (80, 20)
    assert read_tracks(out).table.slice(0, 60).equals(before.table)
    with pytest.raises(ConfigError, match="made with fold_by = artist; this command has fold_by = track"):
        ingest_items(more, out, "track", append=True)


def test_items_may_be_artists(tmp_path: Path) -> None:
    path = tmp_path / "artists.csv"
    path.write_text("track_id\n" + "".join(f"artist {i}\n" for i in range(50)), encoding="utf-8")
    assert run("ingest", "--no-audio", "--tracks", path, "--out", tmp_path / "out", "--folds", "track") == 0
    folds = read_tracks(tmp_path / "out").numbers("fold").tolist()
    assert folds == [hash_fold(f"artist {i}") for i in range(50)]


def test_few_artists_are_assigned_round_robin(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = write(tmp_path, "a,x,,,\nb,y,,,\nc,z,,,\nd,z,,,\n")
    assert run("ingest", "--no-audio", "--tracks", table, "--out", tmp_path / "out") == 0
    assert "round-robin by artist" in capfd.readouterr().out
    assert not check_dataset(tmp_path / "out").errors


def test_a_typed_table_may_have_lists_and_numbers(tmp_path: Path) -> None:
    columns = {"track_id": [3, 1, 2], "genres": [["a", " b "], None, []], "artist": ["x", None, "y"]}
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    items = read_items(tmp_path / "items.parquet")
    assert [(item.track_id, item.genres, item.artist) for item in items] == [
        ("3", ("a", "b"), "x"),
        ("1", (), ""),
        ("2", (), "y"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("title\nx\n", "no column 'track_id'. Known columns: track_id, artist"),
        ("track_id\na\na\n", "track_id 'a' occurs twice"),
        ("track_id,artist\n,x\n", "track_id '' is empty or has control characters"),
        ("track_id\n", "lists no items|no rows"),
        ("", "empty"),
    ],
)
def test_bad_tables_are_one_sentence(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_items(path)


def test_two_items_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 3"):
        ingest_items(read_items(write(tmp_path, "a,,,,\nb,,,,\n")), tmp_path / "out", "artist")
    assert not (tmp_path / "out" / "dataset.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["x.wav", "--tracks", "items.csv"], "items come from a table alone"),
        ([], "items come from a table alone: name it by --tracks"),
        (["--tracks", "items.csv", "--n-fft", "512"], "--n-fft is about recordings"),
        (["--tracks", "items.csv", "--workers", "1"], "--workers is about recordings"),
    ],
)
def test_options_of_recordings_are_refused(
    options: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("ingest", "--no-audio", *options, "--out", tmp_path / "out") == 1
    assert message in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_dataset_of_recordings_is_left_alone(tmp_path: Path) -> None:
    out = write_small(tmp_path / "out", [3, 5, 2], folds=[0, 7, 9])
    before = digest_of(out)
    with pytest.raises(
        ConfigError, match="contains 3 recordings; ingest items without audio into another dataset"
    ):
        ingest_items(read_items(write(tmp_path, many())), out, "artist", append=True)
    assert digest_of(out) == before


def write_mixed(folder: Path) -> Path:
    """Two tracks with sound and one without."""
    write_small(folder, [3, 5], folds=[0, 7])
    rows = read_tracks(folder).table.to_pylist()
    rows.insert(1, track_row("silent", fold=9, shard="", n_frames=0))
    write_dataset(folder, read_info(folder), make_tracks(rows))
    return folder


def test_tracks_with_audio_of_a_mixed_dataset_are_used(tmp_path: Path) -> None:
    dataset = Dataset(write_mixed(tmp_path / "mixed"))
    assert dataset.tracks.has_audio.tolist() == [True, False, True]
    assert dataset.read_track(2)[:, 0].tolist() == [100, 101, 102, 103, 104]
    dataset.verify()
    with pytest.raises(AudioError, match="Track 'silent' of .*mixed has no audio"):
        dataset.read_track(1)
    with pytest.raises(AudioError, match="no audio for one of the tracks"):
        dataset.read_windows(Windows(np.array([0, 1]), np.array([0, 0])), 2)


def test_a_mixed_dataset_is_whole(tmp_path: Path) -> None:
    folder = write_mixed(tmp_path / "mixed")
    result = check_dataset(folder)
    wrong = [
        str(finding) for finding in result.errors if "hash" not in str(finding)
    ]  # its folds were made up
    assert not wrong and (result.n_tracks, result.n_shards, result.n_frames) == (3, 1, 8)
    assert repair_dataset(folder) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_frames": 4}, "track 'silent' has 4 frames and no shard"),
        ({"first_frame": 4}, "a track without frames that has a position: 'silent'"),
        ({"shard": "shards/fold-00/part-00000.h5"}, "a track without frames that has a position: 'silent'"),
        ({"n_frames": -1}, "a track without frames or with a negative position"),
    ],
)
def test_an_invalid_position_is_reported(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    folder = write_mixed(tmp_path / "mixed")
    change_table(folder, lambda rows: rows[1].update(changes))
    with pytest.raises(DataError, match=message):
        read_tracks(folder)


def test_a_lost_document_of_items_is_rewritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ingest_items(read_items(write(tmp_path, many())), out, "artist")
    info = read_info(out)
    assert infer_info(read_tracks(out).table.to_pylist(), {}) == info
    (out / "dataset.json").unlink()
    assert repair_dataset(out) == ["dataset.json: rebuilt from the shards"]
    assert read_info(out) == info and not check_dataset(out).errors


def test_an_altered_table_of_items_is_reported(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ingest_items(read_items(write(tmp_path, many())), out, "artist")
    change_table(out, lambda rows: rows.pop())
    assert ["written for 60 tracks" in str(finding) for finding in check_dataset(out).errors] == [True]
    change_document(out, n_tracks=59)
    assert not check_dataset(out).errors
    with pytest.raises(CsKerasError):
        change_table(out, lambda rows: rows[0].update(n_frames=1))
        Dataset(out)
