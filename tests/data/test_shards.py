import json
import zlib

import h5py
import numpy as np
import pytest

from cs_keras.data.shards import BLOCK_FRAMES, blocks_of, first_altered, read_shard, verify_track, write_shard
from cs_keras.errors import DataError, StorageError
from tests.data.small import AUDIO, magnitudes, read_block


def tracks(*lengths):
    return [(f"t{row}", magnitudes(row, n)) for row, n in enumerate(lengths)]


def written(folder, *lengths, dtype="float16", **more):
    write_shard(folder / "a.h5", tracks(*lengths), AUDIO, dtype, **more)
    return folder / "a.h5"


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_written_values_are_read_back(tmp_path, dtype):
    shard = read_shard(written(tmp_path, 3, 1, 5, dtype=dtype))
    assert (shard.shape, shard.dtype) == ((9, 9), np.dtype(dtype))
    assert [(t.track_id, t.first_frame, t.n_frames) for t in shard.tracks] == [
        ("t0", 0, 3),
        ("t1", 3, 1),
        ("t2", 4, 5),
    ]
    expected = np.concatenate([frames for _, frames in tracks(3, 1, 5)]).astype(dtype)
    assert np.array_equal(read_block(shard), expected)
    assert all(
        verify_track(t, read_block(shard)[t.first_frame : t.first_frame + t.n_frames]) for t in shard.tracks
    )


def test_the_header_has_the_audio_settings(tmp_path):
    shard = read_shard(written(tmp_path, 3, attributes={"plan": "é"}))
    assert shard.attributes["schema_version"] == 2
    assert json.loads(shard.attributes["audio"])["hop_length"] == AUDIO.hop_length
    assert shard.attributes["plan"] == "é"


def test_any_window_is_one_byte_range_of_what_hdf5_reads(tmp_path):
    path = written(tmp_path, 7, 4)
    shard = read_shard(path)
    with h5py.File(path) as file:
        assert file["magnitude"].chunks is None and file["magnitude"].compression is None
        whole = file["magnitude"][:]
    block = read_block(shard)
    assert np.array_equal(block, whole)
    window = np.frombuffer(path.read_bytes()[shard.offset + 2 * 9 * 2 :][: 3 * 9 * 2], "<f2").reshape(3, 9)
    assert np.array_equal(window, whole[2:5])  # rows of 9 bins of 2 bytes: a window is one byte range


def test_the_same_tracks_give_the_same_bytes(tmp_path):
    first = written(tmp_path, 3, 5, attributes={"plan": "x"}).read_bytes()
    assert written(tmp_path, 3, 5, attributes={"plan": "x"}).read_bytes() == first
    assert written(tmp_path, 3, 6, attributes={"plan": "x"}).read_bytes() != first


def test_ids_in_any_script_survive(tmp_path):
    ids = ["a/b", "Björk – Jóga", "音楽", "x" * 300]
    write_shard(tmp_path / "a.h5", [(i, magnitudes(0, 1)) for i in ids], AUDIO)
    assert [track.track_id for track in read_shard(tmp_path / "a.h5").tracks] == ids


def test_a_shard_without_tracks_is_a_shard(tmp_path):
    shard = read_shard(written(tmp_path))
    assert (shard.offset, shard.shape, shard.tracks) == (None, (0, 9), ())
    assert read_block(shard).shape == (0, 9)


def test_a_track_is_verified_by_its_own_bytes(tmp_path):
    shard = read_shard(written(tmp_path, 3, 4))
    block = read_block(shard)
    assert shard.tracks[1].crc32 == zlib.crc32(block[3:7].tobytes())
    block[4, 2] += 1
    assert verify_track(shard.tracks[0], block[0:3])
    assert not verify_track(shard.tracks[1], block[3:7])


@pytest.mark.parametrize("lengths", [(), (1,), (31, 1), (32,), (33,), (20, 20, 60), (64, 1), (5, 0, 40)])
def test_every_32_frames_have_a_checksum_across_tracks(tmp_path, lengths):
    shard = read_shard(written(tmp_path, *lengths))
    block = read_block(shard)
    parts = [block[i : i + BLOCK_FRAMES] for i in range(0, len(block), BLOCK_FRAMES)]
    assert shard.block_crc32.tolist() == [zlib.crc32(part.tobytes()) for part in parts]
    assert first_altered(shard, 0, block) is None
    for frame in range(len(block)):
        changed = block.copy()
        changed[frame, 3] += 1
        assert first_altered(shard, 0, changed) == frame // BLOCK_FRAMES


def test_blocks_of_frames():
    assert [blocks_of(*where) for where in ((0, 1), (0, 32), (31, 2), (32, 32), (40, 100))] == [
        (0, 1),
        (0, 1),
        (0, 2),
        (1, 2),
        (1, 5),
    ]


def test_all_but_the_magnitudes_comes_first(tmp_path):
    path = tmp_path / "a.h5"
    write_shard(path, [(f"track-{i}", magnitudes(0, 40)) for i in range(300)], AUDIO)
    offset = read_shard(path).offset
    assert path.stat().st_size == offset + 300 * 40 * 9 * 2


@pytest.mark.parametrize("name", ["tracks/n_frames", "tracks/crc32", "block_crc32"])
def test_an_altered_index_is_reported(tmp_path, name):
    path = written(tmp_path, 3, 5)
    with h5py.File(path, "a") as file:
        file[name][0] += 1
    with pytest.raises(StorageError, match=r"a\.h5: the checksum of its index does not match"):
        read_shard(path)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((3, 8)), r"must have shape \(n_frames, 9\). Received: \(3, 8\)"),
        (np.zeros(9), "must have shape"),
        (np.full((3, 9), np.nan), "must be finite and not negative"),
        (np.full((3, 9), np.inf), "must be finite and not negative"),
        (np.full((3, 9), -1e-9), "must be finite and not negative"),
        (np.full((3, 9), 65_520.0), "reach 65520, more than float16 can hold; store them as float32"),
    ],
)
def test_magnitudes_that_cannot_be_stored_name_their_track(tmp_path, frames, message):
    with pytest.raises(DataError, match=f"Magnitudes of track 'bad' {message}"):
        write_shard(tmp_path / "a.h5", [*tracks(3), ("bad", frames)], AUDIO)
    assert not list(tmp_path.iterdir())


def test_float32_holds_what_float16_does_not(tmp_path):
    write_shard(tmp_path / "a.h5", [("loud", np.full((3, 9), 1e6))], AUDIO, "float32")
    assert read_block(read_shard(tmp_path / "a.h5")).max() == 1e6


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"There is no shard .*a\.h5"):
        read_shard(tmp_path / "a.h5")


def test_every_truncation_is_reported(tmp_path):
    path = written(tmp_path, 3, 5)
    whole = path.read_bytes()
    for n in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:n])
        with pytest.raises(StorageError, match=r"a\.h5 is (damaged or not an HDF5 file|truncated)"):
            read_shard(path)


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all" * 100, b"PK\x03\x04"])
def test_what_is_not_hdf5_is_reported(tmp_path, content):
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(StorageError, match=r"a\.h5 is damaged or not an HDF5 file"):
        read_shard(tmp_path / "a.h5")


def test_a_shard_of_another_version_is_reported(tmp_path):
    path = written(tmp_path, 3)
    with h5py.File(path, "a") as file:
        file.attrs["schema_version"] = 1
    with pytest.raises(DataError, match=r"a\.h5 has shard version 1; this release reads 2"):
        read_shard(path)


def test_hdf5_of_other_content_is_reported(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = np.zeros(3)
    with pytest.raises(DataError, match=r"a\.h5 has shard version None"):
        read_shard(tmp_path / "a.h5")


@pytest.mark.parametrize("how", [{"chunks": (2, 9)}, {"compression": "gzip"}])
def test_a_chunked_or_compressed_block_is_refused(tmp_path, how):
    path = written(tmp_path, 3)
    with h5py.File(path, "a") as file:
        block = file["magnitude"][:]
        del file["magnitude"]
        file.create_dataset("magnitude", data=block, **how)
    with pytest.raises(DataError, match=r"a\.h5: dataset 'magnitude' must be one contiguous block"):
        read_shard(path)


@pytest.mark.parametrize("name", ["magnitude", "tracks", "tracks/crc32", "block_crc32"])
def test_a_shard_without_a_part_is_reported(tmp_path, name):
    path = written(tmp_path, 3)
    with h5py.File(path, "a") as file:
        del file[name]
    with pytest.raises(DataError, match=r"a\.h5 is not a cs-keras shard"):
        read_shard(path)


def attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


def relink(name, link):
    def change(file):
        del file[name]
        file[name] = link

    return change


@pytest.mark.parametrize(
    "change",
    [
        attribute("schema_version", [2, 2]),
        attribute("checksum", np.zeros(3)),
        attribute("audio", np.zeros(3)),
        attribute("index_checksum", [1, 2]),
        lambda file: file.attrs.__delitem__("checksum"),
        relink("magnitude", h5py.SoftLink("/magnitude")),
        relink("magnitude", h5py.ExternalLink("/etc/passwd", "/x")),
        relink("tracks", h5py.SoftLink("/tracks")),
    ],
)
def test_a_crafted_shard_is_one_sentence(tmp_path, change):
    path = written(tmp_path, 40)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises((DataError, StorageError), match=r"a\.h5"):
        read_shard(path)


def test_frames_in_another_file_are_named(tmp_path):
    path = written(tmp_path, 40)
    with h5py.File(path, "r+") as file:
        del file["magnitude"]
        file.create_dataset("magnitude", (40, 9), "<f2", external=[(tmp_path / "x", 0, 720)])
    with pytest.raises(DataError, match="stored in other files"):
        read_shard(path)
