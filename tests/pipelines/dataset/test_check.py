"""Defects of a dataset are found and named; tables are rebuilt from shards."""

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.folds import hash_fold
from cs_keras.data.integrity.checks import is_finite_magnitude
from cs_keras.data.schema import (
    DATASET_FILE,
    TRACKS_FILE,
    DatasetInfo,
    ExcludedTrack,
    Tracks,
    make_tracks,
    read_info,
    read_tracks,
    write_dataset,
)
from cs_keras.data.shards import INDEX, index_checksum, read_shard, write_shard
from cs_keras.factors.interactions import Interactions, RowCounts, save_interactions
from cs_keras.factors.scaling import Scaler
from cs_keras.factors.store import Factors, load_factors, save_factors
from pipelines.dataset.check import CheckResult, check_dataset
from pipelines.dataset.repair import ingest_command, repair_dataset
from tests.command_line import run
from tests.data.small import change_document, track_row

AUDIO = AudioConfig()
N_FRAMES = 100  # 84 words of a fingerprint: enough to compare
FOLDS = {0: ("a0", "a1"), 3: ("b0", "b1"), 7: ("c0", "c1"), 8: ("d0", "d1")}
FIRST = "shards/fold-00/part-00000.h5"


def sound(seed: int) -> np.ndarray:
    """Noise, shape (N_FRAMES, 513), that no other seed resembles."""
    return np.random.default_rng(seed).random((N_FRAMES, AUDIO.n_bins)).astype(np.float16)


def shard_name(fold: int) -> str:
    return f"shards/fold-{fold:02d}/part-00000.h5"


def write_factors(folder: Path, ids: list[str], name: str = "wmf", protocol: str = "strict") -> None:
    n = len(ids)
    factors = Factors(
        name=name,
        track_ids=np.array(ids),
        item_factors=np.ones((n, 2), np.float32),
        has_factors=np.ones(n, bool),
        playlist_ids=np.array(["p"]),
        playlist_factors=np.ones((1, 2), np.float32),
        scaler=Scaler("none", np.zeros(2, np.float32), np.ones(2, np.float32)),
        protocol=protocol,  # type: ignore[arg-type]
        config={"factors": 2},
        quality={},
    )
    save_factors(folder / "factors" / f"{name}.npz", factors)


def write_interactions(folder: Path, ids: list[str]) -> None:
    counts = scipy.sparse.csr_matrix(np.ones((1, len(ids)), np.float32))
    save_interactions(
        folder / "interactions.npz", Interactions(np.array(["p"]), np.array(ids), counts, RowCounts(1))
    )


def make_dataset(folder: Path) -> Path:
    """Two tracks a shard, a shard and an artist a fold."""
    rows = []
    for fold, ids in FOLDS.items():
        name = shard_name(fold)
        tracks = [(track_id, sound(10 * fold + i)) for i, track_id in enumerate(ids)]
        write_shard(folder / name, tracks, AUDIO, left_out={"bad": "it is silent."} if fold == 0 else {})
        for track in read_shard(folder / name).tracks:
            rows.append(
                track_row(
                    track.track_id,
                    artist=track.track_id[0],
                    album="Best",
                    fold=fold,
                    shard=name,
                    first_frame=track.first_frame,
                    n_frames=track.n_frames,
                )
            )
    info = DatasetInfo(
        fold_assignment="round-robin by artist", left_out=(ExcludedTrack("bad", "it is silent."),)
    )
    write_dataset(folder, info, make_tracks(rows))
    ids = [row["track_id"] for row in rows]
    write_factors(folder, ids)
    write_interactions(folder, ids)
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("clean") / "dataset")


@pytest.fixture
def folder(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "dataset"))


def errors(result: CheckResult) -> list[str]:
    return [str(finding) for finding in result.errors]


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x01
    path.write_bytes(content)


def edit_rows(folder: Path, change: Callable[[list[dict]], object]) -> None:
    rows = read_tracks(folder).table.to_pylist()
    change(rows)
    write_dataset(folder, read_info(folder), make_tracks(rows))


def rewrite_shard(folder: Path, fold: int, sounds: list[np.ndarray], **settings: object) -> None:
    tracks = list(zip(FOLDS[fold], sounds, strict=True))
    write_shard(folder / shard_name(fold), tracks, **{"audio": AUDIO, **settings})  # type: ignore[arg-type]


def test_clean_dataset_has_no_findings(clean: Path) -> None:
    result = check_dataset(clean)
    assert result.findings == ()
    assert (result.n_tracks, result.n_shards, result.n_frames) == (8, 4, 8 * N_FRAMES)
    assert result.factors == ("wmf",)
    assert all(shared.artists == () and shared.duplicates == 0 for shared in result.leakage)


@pytest.mark.parametrize("track", [0, 1])
def test_flipped_byte_of_the_block_names_the_track(track: int, folder: Path) -> None:
    shard = read_shard(folder / FIRST)
    assert shard.offset
    flip(folder / FIRST, shard.offset + track * N_FRAMES * AUDIO.n_bins * 2 + 1000)
    result = check_dataset(folder)
    assert [FIRST in e and f"'a{track}' was altered" in e for e in errors(result)] == [True]
    assert result.damaged == (FIRST,)


def test_flipped_byte_of_the_header_is_found_or_changes_nothing(folder: Path) -> None:
    for fold in (3, 7, 8):  # so that only the first shard is read
        (folder / shard_name(fold)).unlink()
    whole = (folder / FIRST).read_bytes()
    shard = read_shard(folder / FIRST)
    assert shard.offset
    end = shard.offset + shard.shape[0] * shard.shape[1] * 2
    outside = [*range(shard.offset), *range(end, len(whole))]
    unnoticed = 0
    for position in outside[::23]:
        (folder / FIRST).write_bytes(whole)
        flip(folder / FIRST, position)
        if not any(FIRST in error for error in errors(check_dataset(folder, audio_duplicates=False))):
            unnoticed += 1
            now = read_shard(folder / FIRST)
            kept = {"left_out": shard.left_out, "rest_checksum": shard.rest_checksum}
            assert dataclasses.replace(now, **kept) == shard, (
                position
            )  # space that HDF5 leaves unused, or a copy
    assert unnoticed < len(outside[::23])


def test_shard_cut_short(folder: Path) -> None:
    content = (folder / FIRST).read_bytes()
    for size in (0, 100, len(content) // 2, len(content) - 1):
        (folder / FIRST).write_bytes(content[:size])
        result = check_dataset(folder)
        assert result.damaged == (FIRST,), size
        assert any(FIRST in error for error in errors(result))


REMOVABLE = [DATASET_FILE, TRACKS_FILE, "interactions.npz", *map(shard_name, FOLDS)]


@pytest.mark.parametrize("name", REMOVABLE)
def test_missing_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    assert any(name in error for error in errors(check_dataset(folder)))


def test_missing_factors_are_no_error(folder: Path) -> None:
    (folder / "factors" / "wmf.npz").unlink()
    (folder / "interactions.npz").unlink()
    result = check_dataset(folder)
    assert [(finding.severity, finding.where) for finding in result.findings] == [("notice", "factors")]


@pytest.mark.parametrize("name", [DATASET_FILE, TRACKS_FILE, "interactions.npz", "factors/wmf.npz"])
def test_file_cut_short_is_named(name: str, folder: Path) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    assert any(name in error for error in errors(check_dataset(folder)))


def test_swapped_shards(folder: Path) -> None:
    one, other = folder / shard_name(0), folder / shard_name(8)
    one.rename(folder / "aside")
    other.rename(one)
    (folder / "aside").rename(other)
    found = errors(check_dataset(folder))
    assert any("'a0' is not in it" in error for error in found)
    assert any("'d0' is in it and not in the table" in error for error in found)


def test_near_duplicates_across_splits_are_errors_and_within_one_notices(folder: Path) -> None:
    rewrite_shard(folder, 8, [sound(0) * np.float16(0.5), sound(81)])  # as a0, 6 dB softer
    rewrite_shard(folder, 3, [sound(1), sound(31)])  # as a1, also in train
    result = check_dataset(folder)
    assert [(f.severity, "'a0' (train) and 'd0' (test)" in f.message) for f in result.findings] == [
        ("error", True),
        ("notice", False),
    ]
    assert {shared.splits: shared.duplicates for shared in result.leakage}["train", "test"] == 1
    assert check_dataset(folder, audio_duplicates=False).findings == ()


def test_artist_in_two_folds(folder: Path) -> None:
    edit_rows(folder, lambda rows: rows[-1].update(artist=" A"))  # spelled otherwise, the artist of fold 0
    result = check_dataset(folder)
    assert any("artist 'a' has tracks in folds 0, 8" in error for error in errors(result))
    train_test = next(shared for shared in result.leakage if shared.splits == ("train", "test"))
    assert (train_test.artists, train_test.albums) == (("a",), ("a: best",))


def test_unknown_artists_are_counted_and_share_nothing(folder: Path) -> None:
    edit_rows(folder, lambda rows: [row.update(artist="", artist_from_folder=None) for row in rows[1:]])
    result = check_dataset(folder, audio_duplicates=False)
    n_unknown = len(read_tracks(folder)) - 1
    (notice,) = (f.message for f in result.findings if f.severity == "notice")
    assert notice.startswith(f"the artist of {n_unknown} of {n_unknown + 1} tracks is unknown (such as ")
    shared = next(one for one in result.leakage if one.splits == ("train", "test"))
    assert (shared.artists, shared.albums, shared.n_known_artists, shared.duplicates) == ((), (), 1, None)
    assert shared.n_known_albums == 1 < shared.n_tracks


def test_a_table_of_an_earlier_release_has_no_column_of_where_artists_come_from(folder: Path) -> None:
    before, info = read_tracks(folder), read_info(folder)
    write_dataset(folder, info, Tracks(before.table.drop_columns(["artist_from_folder"])))
    assert read_tracks(folder).ids.tolist() == before.ids.tolist()
    assert errors(check_dataset(folder, audio_duplicates=False)) == []


def test_folds_by_track_may_share_artists(folder: Path) -> None:
    edit_rows(folder, lambda rows: rows[-1].update(artist="a"))
    info = DatasetInfo(fold_by="track", fold_assignment="round-robin by track")
    write_dataset(folder, info, read_tracks(folder))
    result = check_dataset(folder)
    assert errors(result) == []
    assert any(shared.artists for shared in result.leakage)


def test_hashed_folds_are_the_hash(folder: Path) -> None:
    write_dataset(folder, DatasetInfo(fold_assignment="hash"), read_tracks(folder))
    wrong = [artist for artist, fold in zip("abcd", FOLDS, strict=True) if hash_fold(artist) != fold]
    found = errors(check_dataset(folder))
    assert [f"artist '{artist}' is in fold" in error for artist, error in zip(wrong, found, strict=True)]


def test_empty_split(folder: Path) -> None:
    edit_rows(folder, lambda rows: [row.update(fold=0) for row in rows if row["fold"] == 7])
    assert any("no track is in the validation folds (7)" in error for error in errors(check_dataset(folder)))


def overwrite(folder: Path, track: int, value: float) -> None:
    """Set a magnitude in the file itself, which `write_shard` would refuse."""
    rewrite_shard(folder, 0, [sound(0), sound(1)])
    with h5py.File(folder / FIRST, "r+") as file:
        file["magnitude"][track * N_FRAMES + 3, 5] = value


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_impossible_magnitude_names_the_track(value: float, folder: Path) -> None:
    overwrite(folder, 1, value)
    assert any("'a1' has" in e and ("not finite" in e) for e in errors(check_dataset(folder)))


def test_silent_track_is_named(folder: Path) -> None:
    rewrite_shard(folder, 0, [np.zeros_like(sound(0)), sound(1)])
    assert [("'a0' is silent" in error) for error in errors(check_dataset(folder))] == [True]


def test_other_audio_settings_and_dtype(folder: Path) -> None:
    rewrite_shard(folder, 0, [sound(0), sound(1)], audio=AudioConfig(hop_length=256), dtype="float32")
    found = errors(check_dataset(folder))
    assert any("'hop_length': 256" in error for error in found)
    assert any("513 bins as float32; expected 513 as float16" in error for error in found)


def test_shard_that_is_not_the_recorded_one(folder: Path) -> None:
    checksum = read_shard(folder / FIRST).attributes["checksum"]
    info = dataclasses.replace(read_info(folder), shards={FIRST: checksum})
    write_dataset(folder, info, read_tracks(folder))
    assert check_dataset(folder).findings == ()
    rewrite_shard(folder, 0, [sound(1), sound(0)])
    assert ["not the one that was ingested" in error for error in errors(check_dataset(folder))] == [True]


def test_positions_that_do_not_fit(folder: Path) -> None:
    edit_rows(folder, lambda rows: rows[1].update(first_frame=N_FRAMES - 1))
    assert any("'a1' is 100 frames from frame 100; the table has" in e for e in errors(check_dataset(folder)))


def test_overlapping_tracks_and_frames_without_track(folder: Path) -> None:
    with h5py.File(folder / FIRST, "r+") as file:
        file["tracks/first_frame"][:] = [10, N_FRAMES]
        file.attrs["index_checksum"] = index_checksum({name: file[name][()] for name in INDEX})
    found = errors(check_dataset(folder))
    assert any("tracks 'a0' and 'a1' overlap from frame 100 on" in error for error in found)
    assert any("frames 0 to 9 belong to no track" in error for error in found)


def test_factors_and_interactions_of_other_tracks(folder: Path) -> None:
    write_factors(folder, ["x", "y"], "foreign")
    write_interactions(folder, ["x", "y"])
    found = errors(check_dataset(folder))
    assert [error.split(":")[0] for error in found] == ["factors/foreign.npz", "interactions.npz"]


def test_factors_of_zeros(folder: Path) -> None:
    load_factors(folder / "factors/wmf.npz").item_factors[2] = 0  # a copy: the file stays
    factors = load_factors(folder / "factors/wmf.npz")
    factors.item_factors[2] = 0
    save_factors(folder / "factors/wmf.npz", factors)
    assert ["all factors of track 'b0' are 0" in error for error in errors(check_dataset(folder))] == [True]


def test_unnamed_shards_and_temporaries_are_notices(folder: Path) -> None:
    write_shard(folder / "shards/fold-01/part-00000.h5", [("new", sound(99))], AUDIO)
    write_shard(folder / "shards/fold-01/part-00001.h5", [], AUDIO)  # of recordings that were all unusable
    (folder / ".tracks.parquet.01234567.tmp").touch()
    result = check_dataset(folder)
    assert errors(result) == []
    assert [f.where for f in result.findings] == [
        ".tracks.parquet.01234567.tmp",
        "shards/fold-01/part-00000.h5",
    ]


def test_tables_written_at_different_times(folder: Path) -> None:
    change_document(folder, n_tracks=7)
    assert any("written for 7 tracks; the table holds 8" in error for error in errors(check_dataset(folder)))
    repair_dataset(folder)
    assert check_dataset(folder).findings == ()


def test_repair_of_positions_keeps_descriptions(folder: Path) -> None:
    before = read_tracks(folder).table
    edit_rows(folder, lambda rows: rows[1].update(first_frame=3, shard=shard_name(8)))
    assert any("1 track moved" in sentence for sentence in repair_dataset(folder))
    assert read_tracks(folder).table.equals(before)
    assert (folder / f"{TRACKS_FILE}.old").exists()
    assert repair_dataset(folder) == []


def test_repair_of_a_lost_table_keeps_the_order_of_the_factors(folder: Path) -> None:
    ids = list(reversed([track_id for pair in FOLDS.values() for track_id in pair]))
    write_factors(folder, ids)
    write_interactions(folder, ids)
    (folder / TRACKS_FILE).unlink()
    assert any("8 tracks added" in sentence for sentence in repair_dataset(folder))
    assert read_tracks(folder).ids.tolist() == ids
    assert errors(check_dataset(folder)) == []


def test_repair_of_an_invalid_table_keeps_descriptions(folder: Path) -> None:
    """An id twice and a fold that there is not: the rows can be read all the same."""
    before = read_tracks(folder).table
    rows = before.to_pylist()
    broken = [{**rows[0], "fold": 77}, *rows[1:], rows[3]]
    pq.write_table(pa.Table.from_pylist(broken, schema=before.schema), folder / TRACKS_FILE)
    assert any("its checksum is not the one in dataset.json" in e for e in errors(check_dataset(folder)))
    repair_dataset(folder)
    assert read_tracks(folder).table.equals(before)
    assert check_dataset(folder).findings == ()


def test_repair_of_a_lost_document(folder: Path) -> None:
    before = read_info(folder)
    (folder / DATASET_FILE).write_text("{")
    repair_dataset(folder)
    checksums = {
        shard_name(fold): read_shard(folder / shard_name(fold)).attributes["checksum"] for fold in FOLDS
    }
    headers = {shard_name(fold): read_shard(folder / shard_name(fold)).rest_checksum for fold in FOLDS}
    assert read_info(folder) == dataclasses.replace(before, shards=checksums, headers=headers)
    assert check_dataset(folder).findings == ()


def test_repair_keeps_rows_of_shards_to_be_rewritten(folder: Path) -> None:
    before = read_tracks(folder).table
    (folder / FIRST).unlink()
    assert repair_dataset(folder) == []
    assert read_tracks(folder).table.equals(before)


def test_repair_touches_no_shard_and_no_left_out_list(folder: Path) -> None:
    write_shard(folder / "shards/fold-01/part-00000.h5", [("new", sound(99))], AUDIO)
    (folder / ".x.h5.01234567.tmp").touch()
    flip(folder / FIRST, 5)
    shards = {path: path.read_bytes() for path in folder.rglob("*.h5")}
    assert repair_dataset(folder) == ["removed 1 temporary file of killed writers"]
    assert {path: path.read_bytes() for path in folder.rglob("*.h5")} == shards
    assert read_info(folder).left_out == (ExcludedTrack("bad", "it is silent."),)


def test_ingest_command_names_settings_that_are_not_defaults(folder: Path) -> None:
    assert ingest_command(folder) == f"cs-keras ingest --tracks tracks.csv --out {folder}"
    info = DatasetInfo(AudioConfig(hop_length=256), "float32", "track", "round-robin by track")
    write_dataset(folder, info, read_tracks(folder))
    assert ingest_command(folder).endswith(" --hop-length 256 --dtype float32 --folds track")


@pytest.mark.parametrize("dtype", ["<f2", "<f4"])
def test_is_finite_magnitude_agrees_with_numpy(dtype: str) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    for value in (0.0, -0.0, 1.0, tiny, -tiny, np.finfo(dtype).max, np.inf, -np.inf, np.nan, -np.nan, -1.0):
        frames = np.array([[0.5, value]], dtype)
        assert is_finite_magnitude(frames) == bool((np.isfinite(frames) & (frames >= 0)).all()), value


def test_command_on_the_demo(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", demo) == 0
    printed = capsys.readouterr().out
    assert "is intact: 60 tracks" in printed
    assert (
        "train and validation share: 0 artists (known for 48 of 48 tracks), 0 albums (known for 48 of 48 "
        in printed
    )


def test_command_names_what_makes_a_damaged_shard_again(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = Path(shutil.copytree(demo, tmp_path / "dataset"))
    name = read_tracks(dataset).strings("shard")[0]
    flip(dataset / name, (dataset / name).stat().st_size // 2)
    assert run("check", dataset, "--no-audio-duplicates") == 1
    printed, failed = capsys.readouterr()
    assert f"{name}: track 'demo" in printed and f"--out {dataset}" in printed
    assert failed.splitlines()[-1] == f"Error: {dataset} has 1 problem."
    (dataset / name).unlink()
    assert run("ingest", "--tracks", dataset / "source/tracks.csv", "--out", dataset) == 0
    assert run("factors", dataset / "source/listening.csv", dataset, "--n-factors", 8) == 0
    assert run("check", dataset, "--repair", "--no-audio-duplicates") == 0


def test_command_without_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", tmp_path / "none") == 1
    assert "There is no folder" in capsys.readouterr().err
    assert run("check", tmp_path) == 1
    assert "is not a cs-keras dataset" in capsys.readouterr().out


def test_check_needs_no_tensorflow() -> None:
    code = "import sys, cs_keras.cli.check, pipelines.dataset.repair; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_any_flipped_byte_of_a_recorded_dataset_names_its_file(folder: Path) -> None:
    """Also where it changes nothing that is read: in space that HDF5 and zip leave unused."""
    shards = {shard_name(fold): read_shard(folder / shard_name(fold)) for fold in FOLDS}
    info = dataclasses.replace(
        read_info(folder),
        shards={name: str(shard.attributes["checksum"]) for name, shard in shards.items()},
        headers={name: shard.rest_checksum for name, shard in shards.items()},
    )
    write_dataset(folder, info, read_tracks(folder))
    assert check_dataset(folder).findings == ()
    for name in (DATASET_FILE, TRACKS_FILE, "interactions.npz", "factors/wmf.npz", FIRST):
        content = (folder / name).read_bytes()
        for position in {0, len(content) - 1, *range(len(content) // 29, len(content), len(content) // 29)}:
            flip(folder / name, position)
            assert any(name in e for e in errors(check_dataset(folder, audio_duplicates=False))), position
            (folder / name).write_bytes(content)


def test_a_table_without_rows_beside_full_shards_is_not_whole(folder: Path) -> None:
    write_dataset(folder, read_info(folder), make_tracks([]))
    assert any(
        "the track table has no rows; --repair adds" in error for error in errors(check_dataset(folder))
    )


def test_what_was_not_checked_is_said(folder: Path, clean: Path) -> None:
    assert check_dataset(clean).not_checked == ()
    (folder / "tracks.parquet").write_bytes(b"nonsense")
    (folder / FIRST).write_bytes(b"nonsense")
    leakage, positions, frames = check_dataset(folder).not_checked
    assert leakage.startswith(
        "leakage, factors, interactions and near-duplicates: tracks.parquet cannot be read"
    )
    assert positions.startswith("positions of tracks") and frames == f"frames of {FIRST}: unreadable"
