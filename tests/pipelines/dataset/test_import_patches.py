"""Imports give the known frames, resume with the same bytes, and report excluded tracks."""

import io
import os
import signal
import subprocess
import sys
import time

import fsspec
import h5py
import numpy as np
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.data.folds import assign_folds
from cs_keras.data.patches.read import PatchFormat
from cs_keras.data.schema import read_info, read_tracks
from cs_keras.data.shards import read_shard
from cs_keras.errors import ConfigError, DataError, StorageError
from pipelines.dataset import import_patches as step
from pipelines.dataset.import_patches import ImportConfig, import_patches
from pipelines.dataset.ingest_items import read_items
from tests.command_line import run
from tests.data.patches.test_read import AUDIO, STORAGE, TRACKS, known, write_thesis

SETTINGS = ImportConfig(AUDIO, fold_by="track")
OPTIONS = ["--sample-rate", 4000, "--n-fft", 16, "--hop-length", 8]


def write_files(folder, n_files=10, n_tracks=3, n_frames=37):
    """Write `n_tracks` of at least `n_frames` frames to each file; return urls and frames by id."""
    folder.mkdir(exist_ok=True)
    urls, frames = [], {}
    for i in range(n_files):
        tracks = {f"s{i}-{j}": known(100 * i + j, n_frames + 5 * j) for j in range(n_tracks)}
        urls.append(
            write_thesis(folder / f"file{i:02d}.h5", tracks, STORAGE["compressed" if i % 2 else "contiguous"])
        )
        frames |= tracks
    return urls, frames


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def holds(out, frames, dtype="float16"):
    dataset = Dataset(out)
    assert sorted(dataset.tracks.strings("track_id")) == sorted(frames)
    for row, track_id in enumerate(dataset.tracks.strings("track_id")):
        read = dataset.read_track(row)
        assert read.dtype == dtype
        assert np.array_equal(read, frames[track_id].astype(dtype)), track_id


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_dataset_of_the_frames_that_were_cut(tmp_path, dtype):
    urls, frames = write_files(tmp_path / "in")
    done = import_patches(urls, tmp_path / "out", ImportConfig(AUDIO, dtype, "track"))
    holds(tmp_path / "out", frames, dtype)
    n_patches = sum(-(-len(f) // 8) for f in frames.values())
    assert (done.n_tracks, done.n_rows, done.n_frames) == (30, n_patches, sum(map(len, frames.values())))
    assert (done.dataset.n_tracks, done.dataset.n_new, done.dataset.left_out) == (30, 30, ())
    info = read_info(tmp_path / "out")
    assert (info.audio, info.dtype, info.fold_by) == (AUDIO, dtype, "track")
    tracks = read_tracks(tmp_path / "out")
    expected = [((len(frames[i]) - 1) * 8 + 16) / 4000 for i in tracks.strings("track_id")]
    assert tracks.numbers("duration_s").tolist() == pytest.approx(expected)


@pytest.mark.parametrize("scheme", ["memory://", "file://"])
def test_urls_give_the_bytes_that_paths_give(tmp_path, scheme):
    urls, _ = write_files(tmp_path / "in", n_files=3)
    import_patches(urls, tmp_path / "local", SETTINGS)
    remote = [f"{scheme}{url}" for url in urls]
    for url, path in zip(remote, urls, strict=True):
        if scheme == "memory://":
            with fsspec.open(url, "wb") as out, open(path, "rb") as file:
                out.write(file.read())
    import_patches(remote, tmp_path / "remote", SETTINGS)
    assert content(tmp_path / "remote") == content(tmp_path / "local")


def test_folds_are_those_that_an_ingest_would_give(tmp_path):
    urls, frames = write_files(tmp_path / "in")
    artists = {track_id: f"artist {i % 12}" for i, track_id in enumerate(frames)}
    table = tmp_path / "tracks.csv"
    table.write_text(
        "track_id;Artist;title;genres\n"
        + "".join(f"{i};{a};T {i};folk|pop\n" for i, a in artists.items())
        + "other;x;y;\n"
    )
    descriptions = read_items(table)
    done = import_patches(urls, tmp_path / "out", ImportConfig(AUDIO), descriptions)
    tracks = read_tracks(tmp_path / "out")
    ids = tracks.strings("track_id")
    assert tracks.strings("artist") == [artists[i] for i in ids]
    assert tracks.table["genres"].to_pylist()[0] == ["folk", "pop"]
    assert tracks.strings("title")[0] == f"T {ids[0]}"
    expected, fold_assignment = assign_folds(list(frames), list(artists.values()))
    assert dict(zip(ids, tracks.numbers("fold").tolist(), strict=True)) == dict(
        zip(frames, expected, strict=True)
    )
    assert (done.dataset.fold_assignment, done.n_described) == (fold_assignment, 30)


def test_ten_files_can_be_the_ten_folds(tmp_path):
    urls, frames = write_files(tmp_path / "in")
    import_patches(urls, tmp_path / "out", ImportConfig(AUDIO, fold_by="file"))
    holds(tmp_path / "out", frames)
    tracks = read_tracks(tmp_path / "out")
    folds = dict(zip(tracks.strings("track_id"), tracks.numbers("fold").tolist(), strict=True))
    assert folds == {track_id: int(track_id[1]) for track_id in frames}
    with pytest.raises(ConfigError, match="Folds by file need 10 files, one per fold. Received: 9."):
        import_patches(urls[1:], tmp_path / "nine", ImportConfig(AUDIO, fold_by="file"))
    with pytest.raises(ConfigError, match="nothing can be appended to a dataset"):
        ImportConfig(AUDIO, fold_by="file", append=True)


def test_a_failed_import_resumes_with_the_same_bytes(tmp_path, monkeypatch):
    urls, _ = write_files(tmp_path / "in")
    import_patches(urls, tmp_path / "whole", SETTINGS)
    write, written = step._write, []

    def fail_at_the_third(path, *rest):
        if len(written) == 2:
            raise StorageError("gone")
        written.append(path)
        write(path, *rest)

    monkeypatch.setattr(step, "_write", fail_at_the_third)
    with pytest.raises(StorageError, match="gone"):
        import_patches(urls, tmp_path / "out", SETTINGS)
    assert sorted((tmp_path / "out").rglob("*.h5")) == sorted(written)
    before = [path.stat().st_mtime_ns for path in written]
    monkeypatch.setattr(step, "_write", write)
    import_patches(urls, tmp_path / "out", SETTINGS)
    assert [path.stat().st_mtime_ns for path in written] == before  # not made again
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    again = import_patches(urls, tmp_path / "out", SETTINGS)
    assert (again.dataset.n_tracks, again.dataset.n_new) == (30, 0)


def test_a_killed_import_resumes_with_the_same_bytes(tmp_path):
    urls, _ = write_files(tmp_path / "in", n_tracks=6, n_frames=4000)
    arguments = ["import-patches", *urls, "--folds", "file", *OPTIONS]
    assert run(*arguments, "--out", tmp_path / "whole") == 0
    out = tmp_path / "out"
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from cs_keras.cli import main; main()",
            *map(str, arguments),
            "--out",
            str(out),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while len(list(out.rglob("part-*.h5"))) < 2:
        assert process.poll() is None, "the import ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "dataset.json").exists()
    assert run(*arguments, "--out", out) == 0
    assert content(out) == content(tmp_path / "whole")


def test_a_shard_that_was_altered_before_the_end_is_rewritten(tmp_path, monkeypatch):
    urls, _ = write_files(tmp_path / "in")
    import_patches(urls, tmp_path / "whole", SETTINGS)
    import_patches(urls, tmp_path / "out", SETTINGS)
    (tmp_path / "out" / "dataset.json").unlink()
    path = next((tmp_path / "out").rglob("*.h5"))
    altered = bytearray(path.read_bytes())
    altered[read_shard(path).offset + 5] ^= 1
    path.write_bytes(altered)
    import_patches(urls, tmp_path / "out", SETTINGS)
    assert content(tmp_path / "out") == content(tmp_path / "whole")

    def forgetful(path, tracks, *rest):
        write_shard(path, tracks[1:], *rest)

    write_shard = step.write_shard
    monkeypatch.setattr(step, "write_shard", forgetful)
    with pytest.raises(
        StorageError, match="does not contain the data that were written: frames or checksums differ"
    ):
        import_patches(urls, tmp_path / "other", SETTINGS)


def test_other_content_of_a_file_makes_other_shards(tmp_path):
    urls, frames = write_files(tmp_path / "in", n_files=3)
    import_patches(urls, tmp_path / "out", SETTINGS)
    (tmp_path / "out" / "dataset.json").unlink()
    changed = {track_id: frames[track_id] + 1 for track_id in ("s0-0", "s0-1", "s0-2")}
    write_thesis(tmp_path / "in" / "file00.h5", changed)
    import_patches(urls, tmp_path / "out", SETTINGS)
    holds(tmp_path / "out", frames | changed)


MEMORY = """
import sys
from pathlib import Path
from pipelines.dataset.import_patches import ImportConfig, import_patches
from tests.data.patches.test_read import AUDIO

for path in sys.argv[1:]:
    done = import_patches([path], Path(path).with_suffix(""), ImportConfig(AUDIO, fold_by="track", shard_mb=1))
    (peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    print(done.n_frames, peak.split()[1])
"""
"""Prints frames and the peak of resident memory, in KiB, after each file; ru_maxrss starts with the parent's."""


def test_memory_does_not_grow_with_the_files(tmp_path):
    # Shards of 1 MB, 20 tracks each, all of them full: memory holds a shard, as frames and as bytes.
    paths = [tmp_path / "small.h5", tmp_path / "large.h5"]
    for path, n_tracks in zip(paths, (400, 1600), strict=True):
        with h5py.File(path, "w") as file:
            file.create_dataset("patches", (n_tracks * 340, 9, 8), np.float32, fillvalue=1)  # 39 and 157 MB
            file["index"] = np.repeat(np.arange(n_tracks), 340)
    command = [sys.executable, "-c", MEMORY, *map(str, paths)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    n_frames, peaks = printed[::2], [int(peak) for peak in printed[1::2]]
    assert n_frames == [str(400 * 2720), str(1600 * 2720)]
    # Of 118 MB more: 1,200 more tracks in the tables, 3 MB more of an index, and what malloc holds back.
    assert peaks[1] - peaks[0] < 15_000


def test_unusable_tracks_are_left_out_with_the_reason_and_stay_so(tmp_path):
    urls, frames = write_files(tmp_path / "in")
    bad = {"nan": known(1, 40), "negative": known(2, 40), "silent": known(3, 40) * 0, "short": known(4, 9)}
    bad["nan"][20, 3] = np.nan
    bad["negative"][39, 8] = -1
    bad["loud"] = known(5, 20) * 1000
    urls.append(write_thesis(tmp_path / "in" / "bad.h5", bad))
    for n_new in (30, 0):
        done = import_patches(urls, tmp_path / "out", SETTINGS)
        reasons = {entry.track_id: entry.reason for entry in done.dataset.left_out}
        assert sorted(reasons) == sorted(bad)
        assert reasons["nan"] == f"{urls[-1]}: It contains magnitudes that are not finite."
        assert "more than float16 can hold" in reasons["loud"]
        assert (done.n_tracks, done.dataset.n_tracks, done.dataset.n_new) == (35, 30, n_new)
    holds(tmp_path / "out", frames)


def test_a_track_in_two_files_is_reported(tmp_path):
    urls = [write_thesis(tmp_path / name, TRACKS) for name in ("a.h5", "b.h5")]
    with pytest.raises(
        DataError, match=r"Track 'a' is in .*a\.h5 and in .*b\.h5; expected each track once\."
    ):
        import_patches(urls, tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out").exists()


def test_more_files_can_be_appended(tmp_path):
    urls, frames = write_files(tmp_path / "in")
    import_patches(urls[:9], tmp_path / "out", SETTINGS)
    before = content(tmp_path / "out" / "shards")
    with pytest.raises(ConfigError, match="3 of the given ones are not in it .*add them with --append"):
        import_patches(urls, tmp_path / "out", SETTINGS)
    import_patches(urls[9:], tmp_path / "out", ImportConfig(AUDIO, fold_by="track", append=True))
    holds(tmp_path / "out", frames)
    assert before.items() <= content(tmp_path / "out" / "shards").items()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,artist\na,b\n",
            r"no column 'track_id'. Known columns: track_id, .* Received: path, artist",
        ),
        ("track_id,artist\na,b\na,c\n", "track_id 'a' occurs twice"),
        ("track_id,artist\na\n", "row 1 has 1 fields; expected 2"),
        ("", "the file is empty"),
    ],
)
def test_an_invalid_table_is_reported(tmp_path, text, message):
    (tmp_path / "tracks.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_items(tmp_path / "tracks.csv")


def test_the_command_line(tmp_path, capsys):
    urls, frames = write_files(tmp_path / "in")
    (tmp_path / "tracks.csv").write_text("track_id,artist\ns0-0,A\nnone,B\n")
    arguments = ["import-patches", *urls, "--out", tmp_path / "out", "--tracks", tmp_path / "tracks.csv"]
    assert run(*arguments, *OPTIONS, "--folds", "file", "--dtype", "float32") == 0
    printed = capsys.readouterr()
    assert "30 tracks of 1260 frames, 30 of them new and verified, 0 left out." in printed.out
    assert "describes 1 of the 30 tracks in the files, and 1 that are not in them" in printed.err
    assert f"fold 9: {urls[9]}" in printed.err
    holds(tmp_path / "out", frames, "float32")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{in}/nope.h5"], "Error: There is no file "),
        (["{in}/cut.h5"], "is damaged or not an HDF5 file"),
        (["{in}/file00.h5"], "holds no patches of 513 bins"),
        (["{in}/file00.h5", "--folds", "file"], "Folds by file need 10 files"),
        (["{in}/file00.h5", "--n-fft", "16", "--hop-length", "8", "--index-name", "x"], "no index named 'x'"),
        (["{in}/file00.h5", "--tracks", "{in}/nope.csv"], "there is no such file"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path, capsys, arguments, sentence):
    urls, _ = write_files(tmp_path / "in", n_files=1)
    with open(urls[0], "rb") as file:
        (tmp_path / "in" / "cut.h5").write_bytes(file.read()[:-100])
    filled = [argument.replace("{in}", str(tmp_path / "in")) for argument in arguments]
    assert run("import-patches", *filled, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_index_and_features_files_by_their_names(tmp_path):
    frames = {f"t{i}": known(i, 20 + i) for i in range(12)}
    padded = np.zeros((12, 40, 9), np.float32)
    for row, values in enumerate(frames.values()):
        padded[row, : len(values)] = values
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("features", data=padded, chunks=(5, 40, 9), compression="lzf")
        file["index"] = list(frames)
    with fsspec.open("memory://features.h5", "wb") as out:
        out.write(buffer.getvalue())
    settings = ImportConfig(AUDIO, "float32", "track", format=PatchFormat("index-features"))
    import_patches(["memory://features.h5"], tmp_path / "out", settings)
    holds(tmp_path / "out", frames, "float32")
