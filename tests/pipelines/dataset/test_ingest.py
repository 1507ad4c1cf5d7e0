"""What ingest does to a dataset that is already there: it repairs, adds and tidies, and moves nothing."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from cs_keras.data.catalogue import Recording
from cs_keras.data.dataset import Dataset
from cs_keras.data.schema import read_info
from cs_keras.errors import ConfigError, StorageError
from cs_keras.runs import locked
from pipelines.dataset.ingest import IngestConfig, ingest

RATE = 22050
BY_TRACK = IngestConfig(fold_by="track", shard_mb=1)


def recordings(folder: Path, n: int, first: int = 0) -> list[Recording]:
    """Write tones of different pitch; 20 s of each fill most of a shard of 1 MB."""
    made = []
    for i in range(first, first + n):
        path = folder / f"t{i:02d}.wav"
        times = np.arange(20 * RATE) / RATE
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * (200 + 20 * i) * times), RATE)
        made.append(Recording(path, path.stem, duration_s=20.0))
    return made


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def sounds(out: Path) -> dict[str, bytes]:
    dataset = Dataset(out)
    return {str(i): dataset.read_track(row).tobytes() for row, i in enumerate(dataset.tracks.ids)}


def test_appending_after_an_unusable_recording_overwrites_nothing(tmp_path: Path) -> None:
    made = recordings(tmp_path, 30)
    for recording in made[:15:3]:
        recording.path.write_bytes(b"not sound")
    out = tmp_path / "out"
    ingest(made[:15], out, BY_TRACK)
    before = sounds(out)
    ingest(made, out, IngestConfig(fold_by="track", shard_mb=1, append=True))
    after = sounds(out)
    assert len(after) == 25
    assert {track_id: after[track_id] for track_id in before} == before


def test_a_lost_or_altered_shard_is_rewritten(tmp_path: Path) -> None:
    made, out = recordings(tmp_path, 12), tmp_path / "out"
    ingest(made, out, BY_TRACK)
    before, folds = sounds(out), dict(zip(*map(list, _folds(out)), strict=True))
    lost, cut = sorted(out.glob("shards/*/*.h5"))[:2]
    lost.unlink()
    os.truncate(cut, cut.stat().st_size - 100)
    assert ingest(made, out, BY_TRACK).n_tracks == 12
    assert sounds(out) == before
    assert dict(zip(*map(list, _folds(out)), strict=True)) == folds
    Dataset(out).verify()


def _folds(out: Path) -> tuple[np.ndarray, np.ndarray]:
    tracks = Dataset(out).tracks
    return tracks.ids, tracks.numbers("fold")


def test_a_lost_shard_is_reported_when_its_recordings_are_not_given(tmp_path: Path) -> None:
    made, out = recordings(tmp_path, 12), tmp_path / "out"
    ingest(made, out, BY_TRACK)
    first = pq.read_table(out / "tracks.parquet").to_pylist()[0]
    (out / first["shard"]).unlink()
    others = [recording for recording in made if recording.track_id != first["track_id"]]
    with pytest.raises(StorageError, match=f"lost the shards of .*'{first['track_id']}'"):
        ingest(others, out, BY_TRACK)


def test_a_repaired_recording_is_added_with_append(tmp_path: Path) -> None:
    made, out = recordings(tmp_path, 12), tmp_path / "out"
    good = made[5].path.read_bytes()
    made[5].path.write_bytes(b"not sound")
    assert [entry.track_id for entry in ingest(made, out, BY_TRACK).left_out] == ["t05"]
    made[5].path.write_bytes(good)
    assert ingest(made, out, BY_TRACK).n_new == 0
    result = ingest(made, out, IngestConfig(fold_by="track", shard_mb=1, append=True))
    assert (result.n_tracks, result.n_new, result.left_out) == (12, 1, ())


def test_new_recordings_need_append(tmp_path: Path) -> None:
    made, out = recordings(tmp_path, 13), tmp_path / "out"
    ingest(made[:12], out, BY_TRACK)
    before = contents(out)
    with pytest.raises(ConfigError, match=r"1 of the given ones are not in it \(first: 't12'\); .* --append"):
        ingest(made, out, BY_TRACK)
    assert contents(out) == before


def test_no_shard_of_an_earlier_plan_stays(tmp_path: Path) -> None:
    made, out = recordings(tmp_path, 12), tmp_path / "out"
    ingest(made, out, BY_TRACK)
    (out / "dataset.json").unlink()  # as an interrupted one leaves it
    ingest(made, out, IngestConfig(fold_by="track", shard_mb=64))
    named = set(Dataset(out).tracks.strings("shard"))
    assert {path.relative_to(out).as_posix() for path in out.glob("shards/*/*")} == named
    assert set(read_info(out).shards) == named


def test_an_altered_track_is_named_before_training(tmp_path: Path) -> None:
    made, out = recordings(tmp_path, 12), tmp_path / "out"
    ingest(made, out, BY_TRACK)
    track = pq.read_table(out / "tracks.parquet").to_pylist()[3]
    content = bytearray((out / track["shard"]).read_bytes())
    content[len(content) // 2] ^= 1
    (out / track["shard"]).write_bytes(content)
    with pytest.raises(StorageError, match=f"Track '.*' in .*{track['shard']} has changed"):
        Dataset(out).verify()


def test_another_shard_under_the_same_name_is_reported(tmp_path: Path) -> None:
    made, out = recordings(tmp_path, 12), tmp_path / "out"
    ingest(made, out, BY_TRACK)
    first, second = sorted(out.glob("shards/*/*.h5"))[:2]
    shutil.copyfile(second, first)
    with pytest.raises(StorageError, match="has another checksum than at ingest"):
        Dataset(out).verify()


def test_left_out_ids_of_any_kind_are_kept(tmp_path: Path) -> None:
    made = recordings(tmp_path, 6)
    broken = [Recording(tmp_path / f"{i}.mp3", name) for i, name in enumerate(("a/b", "ü 🎵", "x" * 300))]
    result = ingest([*made, *broken], tmp_path / "out", BY_TRACK)
    assert {entry.track_id for entry in result.left_out} == {"a/b", "ü 🎵", "x" * 300}
    assert {entry.track_id for entry in read_info(tmp_path / "out").left_out} == {"a/b", "ü 🎵", "x" * 300}


def test_two_processes_do_not_fill_one_dataset(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"), pytest.raises(StorageError, match="Another process is working on"):
        ingest(recordings(tmp_path, 3), tmp_path / "out", IngestConfig())
