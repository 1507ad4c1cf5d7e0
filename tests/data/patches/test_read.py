"""Patches cut from known frames must give those frames back, in every layout, chunking and file system."""

import h5py
import numpy as np
import pytest

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.patches import layout as patch_survey
from cs_keras.data.patches import read as patches
from cs_keras.data.patches.layout import survey
from cs_keras.data.patches.read import PatchFormat, open_hdf5, read_track
from cs_keras.errors import ConfigError, DataError, StorageError

AUDIO = AudioConfig(sample_rate=4000, n_fft=16, hop_length=8)  # 9 bins, 500 frames a second
BINS, PATCH = 9, 8
STORAGE = {
    "contiguous": {},
    "chunked across tracks": {"chunks": (2, 9, 8)},
    "compressed": {"chunks": (4, 3, 8), "compression": "gzip", "shuffle": True},
}


def known(seed, n_frames):
    """Magnitudes, shape (n_frames, 9), float32, none of them 0."""
    return np.random.default_rng(seed).uniform(0.1, 900, (n_frames, BINS)).astype(np.float32)


def cut(frames):
    """Cut frames into zero-padded patches, one at a time: shape (n_patches, 9, 8), as the thesis stored them."""
    out = []
    for start in range(0, len(frames), PATCH):
        patch = np.zeros((BINS, PATCH), np.float32)
        for t, frame in enumerate(frames[start : start + PATCH]):
            patch[:, t] = frame
        out.append(patch)
    return np.stack(out)


def write_thesis(path, tracks, storage=None, index=None, names=("patches", "songs")):
    """Write tracks (id to frames) as patches with an index of ids; return `path` as text."""
    cuts = [cut(frames) for frames in tracks.values()]
    ids = index if index is not None else [i for i, c in zip(tracks, cuts, strict=True) for _ in c]
    with h5py.File(path, "w") as file:
        file.create_dataset(names[0], data=np.concatenate(cuts), **(storage or {}))
        file[names[1]] = ids
    return str(path)


def read_all(url, dtype="float32", expected=None):
    source = survey(url, AUDIO, expected)
    with open_hdf5(url) as file:
        return {t.track_id: read_track(file, source, t, AUDIO, dtype) for t in source.tracks}


def same(read, expected, dtype="float32"):
    assert list(read) == list(expected)
    for track_id, frames in expected.items():
        assert read[track_id].dtype == dtype
        assert np.array_equal(read[track_id], frames.astype(dtype)), track_id


TRACKS = {"a": known(0, 30), "b": known(1, 16), "c": known(2, 41)}  # b fills its patches, the others do not


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("storage", STORAGE)
def test_patches_give_the_frames_they_were_cut_from(tmp_path, storage, dtype):
    url = write_thesis(tmp_path / "a.h5", TRACKS, STORAGE[storage])
    same(read_all(url, dtype), TRACKS, dtype)


def test_the_shapes_of_the_thesis(tmp_path):
    frames = np.random.default_rng(0).uniform(0, 9, (600, 513)).astype(np.float32)
    padded = np.zeros((768, 513), np.float32)
    padded[:600] = frames
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = padded.reshape(3, 256, 513).transpose(0, 2, 1)
        file["song_id"] = np.array([7, 7, 7])
    url = str(tmp_path / "a.h5")
    source = survey(url, AudioConfig())
    assert (source.layout, source.row_shape, source.n_rows) == ("thesis", (513, 256), 3)
    with open_hdf5(url) as file:
        assert np.array_equal(read_track(file, source, source.tracks[0], AudioConfig(), "float32"), frames)


@pytest.mark.parametrize("storage", [{}, {"chunks": (1, 7, 9), "compression": "gzip"}])
@pytest.mark.parametrize("as_text", [str, str.encode])
def test_index_and_features_one_row_a_track(tmp_path, storage, as_text):
    padded = np.zeros((3, 50, BINS), np.float32)
    for row, frames in enumerate(TRACKS.values()):
        padded[row, : len(frames)] = frames
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("features", data=padded, **storage)
        file["index"] = [as_text(i) for i in TRACKS]
    same(read_all(str(tmp_path / "a.h5")), TRACKS)
    same(read_all(str(tmp_path / "a.h5"), expected=PatchFormat("index-features")), TRACKS)


def test_index_and_features_one_row_a_frame_keep_silence(tmp_path):
    tracks = dict(TRACKS) | {"b": np.concatenate([known(1, 16), np.zeros((3, BINS), np.float32)])}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = np.concatenate(list(tracks.values()))
        file["index"] = np.array([i.encode() for i, frames in tracks.items() for _ in frames])
    same(read_all(str(tmp_path / "a.h5")), tracks)


@pytest.mark.parametrize("ids", [[3, 1, 2], ["é", "音", "x" * 300], [b"a", b"bb", b"c"]])
def test_ids_are_numbers_or_text_of_any_length(tmp_path, ids):
    index = [i for i, frames in zip(ids, TRACKS.values(), strict=True) for _ in cut(frames)]
    source = survey(write_thesis(tmp_path / "a.h5", TRACKS, index=index), AUDIO)
    assert [t.track_id for t in source.tracks] == [
        i.decode() if isinstance(i, bytes) else str(i) for i in ids
    ]


def test_a_long_index_is_read_in_blocks(tmp_path, monkeypatch):
    url = write_thesis(tmp_path / "a.h5", TRACKS)
    whole = survey(url, AUDIO)
    for n in range(1, 8):  # with borders everywhere, also inside tracks
        monkeypatch.setattr(patch_survey, "INDEX_BLOCK", n)
        assert survey(url, AUDIO) == whole


def test_silence_inside_a_track_stays_and_at_the_end_of_the_last_patch_goes(tmp_path):
    frames = known(0, 40)
    frames[3:20] = 0  # a whole patch and parts of two
    frames[37:] = 0
    same(read_all(write_thesis(tmp_path / "a.h5", {"a": frames})), {"a": frames[:37]})
    frames[32:] = 0  # the whole last patch: no more than that is dropped
    frames[30:32] = 0
    same(read_all(write_thesis(tmp_path / "b.h5", {"a": frames})), {"a": frames[:32]})


def test_padding_is_detected_before_rounding(tmp_path):
    frames = known(0, 21)
    frames[-1] = 1e-9  # 0 in float16
    assert len(read_all(write_thesis(tmp_path / "a.h5", {"a": frames}), "float16")["a"]) == 21


def test_never_more_than_a_block_is_read(tmp_path, monkeypatch):
    url = write_thesis(tmp_path / "a.h5", {"a": known(0, 800), "b": known(1, 100)}, STORAGE["compressed"])
    monkeypatch.setattr(patches, "BLOCK_BYTES", 3 * BINS * PATCH * 4 + 5)
    sizes = []
    getitem = h5py.Dataset.__getitem__

    def counted(self, key):
        rows = getitem(self, key)
        sizes.append((self.name, len(rows)))
        return rows

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    source = survey(url, AUDIO)
    assert {name for name, _ in sizes} == {"/songs"}  # a survey reads no patch
    sizes.clear()
    with open_hdf5(url) as file:
        read = {t.track_id: read_track(file, source, t, AUDIO, "float32") for t in source.tracks}
    assert max(n for _, n in sizes) == 3
    assert sum(n for _, n in sizes) == source.n_rows  # and each once
    same(read, {"a": known(0, 800), "b": known(1, 100)})


def test_names_choose_among_several_arrays(tmp_path):
    url = write_thesis(tmp_path / "a.h5", TRACKS, names=("group/left", "ids/song"))
    with h5py.File(url, "a") as file:
        file["group/right"] = file["group/left"][:]
        file["ids/fold"] = np.arange(len(file["ids/song"]))
    with pytest.raises(
        DataError, match=r"several arrays that can be the patches: '/group/left' \(12, 9, 8\)"
    ):
        survey(url, AUDIO)
    with pytest.raises(DataError, match="several arrays that can be the index: .*name one with --index-name"):
        survey(url, AUDIO, PatchFormat(patches_name="group/left"))
    same(read_all(url, expected=PatchFormat("auto", "group/left", "/ids/song")), TRACKS)


def test_a_square_patch_needs_a_layout(tmp_path):
    square = known(0, 27).reshape(3, 9, 9)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = square
        file["index"] = ["a"] * 3
    url = str(tmp_path / "a.h5")
    with pytest.raises(
        DataError, match=r"either axis of a patch, shape \(9, 9\), .*specify the layout with --layout"
    ):
        survey(url, AUDIO)
    same(read_all(url, expected=PatchFormat("index-features")), {"a": square.reshape(27, 9)})
    transposed = square.transpose(0, 2, 1).reshape(27, 9)
    same(read_all(url, expected=PatchFormat("thesis")), {"a": transposed})


PATCHES = np.ones((4, BINS, PATCH), np.float32)
BAD_FILES = {
    "no arrays": (
        {},
        r"holds no patches of 9 bins: expected .* of shape \(patches, 9, frames\), .*: nothing",
    ),
    "other bins": (
        {"x": np.ones((4, 5, 8), np.float32), "ids": [1, 1, 2, 2]},
        r"no patches of 9 bins.*It holds: '/ids' \(4,\) int64, '/x' \(4, 5, 8\) float32\.",
    ),
    "whole numbers": (
        {"x": PATCHES.astype(np.int16), "ids": [1, 1, 2, 2]},
        r"expected floating-point.*int16",
    ),
    "complex": (
        {"x": PATCHES.astype(np.complex64), "ids": [1, 1, 2, 2]},
        r"expected floating-point.*complex64",
    ),
    "no rows": ({"x": PATCHES[:0], "ids": np.zeros(0, int)}, "no patches of 9 bins"),
    "no index": (
        {"x": PATCHES},
        "holds no index: expected an id, text or a whole number, for each of the 4 rows",
    ),
    "index too short": ({"x": PATCHES, "ids": [1, 1, 2]}, r"no index.*'/ids' \(3,\) int64"),
    "index of fractions": ({"x": PATCHES, "ids": [1.0, 1.0, 2.0, 2.0]}, "no index.*float64"),
    "split track": (
        {"x": PATCHES, "ids": [5, 6, 5, 5]},
        "rows of track '5' are not consecutive: they begin at row 0 and again at row 2",
    ),
    "empty id": ({"x": PATCHES, "ids": [b"a", b"", b"b", b"c"]}, "id of row 1, .., is empty"),
    "id with a line break": ({"x": PATCHES, "ids": [b"a", b"a\nb", b"b", b"c"]}, "has control characters"),
    "id not UTF-8": ({"x": PATCHES, "ids": [b"a", b"a", b"\xff", b"b"]}, "id of row 2 is not UTF-8 text"),
    "vectors": (
        {"features": np.ones((4, BINS), np.float32), "index": [1, 2, 3, 4]},
        "every row of '/features' belongs to another track and has one frame; expected .rows, frames, 9.",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_an_invalid_file_is_reported_in_one_sentence(tmp_path, case):
    arrays, message = BAD_FILES[case]
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    with pytest.raises(DataError, match=message) as error:
        survey(str(tmp_path / "bad.h5"), AUDIO)
    assert "bad.h5" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (PatchFormat(patches_name="nope"), "holds no patches named 'nope' of 9 bins"),
        (PatchFormat(index_name="nope"), "holds no index named 'nope'"),
        (PatchFormat("index-features"), "holds no patches named 'features' of 9 bins"),
        (PatchFormat("index-features", "patches"), r"expected .* shape \(rows, frames, 9\) or \(rows, 9\)"),
    ],
)
def test_names_that_do_not_fit_are_reported(tmp_path, expected, message):
    with pytest.raises(DataError, match=message):
        survey(write_thesis(tmp_path / "a.h5", TRACKS), AUDIO, expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "not finite"),
        (np.inf, "not finite"),
        (-0.5, "negative magnitudes; expected linear magnitudes, not decibels"),
        (70_000, "reach 70000, more than float16 can hold; store them as float32"),
    ],
)
def test_a_track_with_impossible_magnitudes_is_reported(tmp_path, value, message):
    frames = known(0, 40)
    frames[17, 3] = value
    with pytest.raises(DataError, match=message):
        read_all(write_thesis(tmp_path / "a.h5", {"a": frames}), "float16")


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((40, BINS), np.float32), "It is silent"),
        (known(0, 15), "It is too short: 15 frames; expected at least 16"),
    ],
)
def test_a_silent_or_short_track_is_reported(tmp_path, frames, message):
    with pytest.raises(DataError, match=message):
        read_all(write_thesis(tmp_path / "a.h5", {"a": frames}))


def test_an_impossible_length_is_reported_before_memory_is_taken(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:  # 90 TB, of which nothing is written
        file.create_dataset("patches", (10**10, BINS, 256), np.float32, chunks=(64, BINS, 256))
    source = patches.PatchFile(
        str(tmp_path / "a.h5"), "/patches", "thesis", (BINS, 256), (patches.PatchTrack("a", 0, 10**10),)
    )
    with open_hdf5(source.url) as file, pytest.raises(DataError, match="h; expected at most 6 h"):
        read_track(file, source, source.tracks[0], AUDIO, "float16")


def test_every_truncation_is_reported(tmp_path):
    path = tmp_path / "a.h5"
    write_thesis(path, TRACKS)
    whole = path.read_bytes()
    for n in [*range(0, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:n])
        with pytest.raises(StorageError, match=r"a\.h5 is damaged or not an HDF5 file"):
            survey(str(path), AUDIO)


def test_damaged_patches_exclude_their_tracks_only(tmp_path):
    path = tmp_path / "a.h5"
    write_thesis(path, TRACKS, STORAGE["compressed"])
    with h5py.File(path) as file:
        chunk = file["patches"].id.get_chunk_info_by_coord((4, 0, 0))  # of the track in the middle
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    source = survey(str(path), AUDIO)
    with open_hdf5(str(path)) as file:
        assert np.array_equal(read_track(file, source, source.tracks[0], AUDIO, "float32"), TRACKS["a"])
        with pytest.raises(DataError, match="Its patches are damaged: Can't .*read data"):
            read_track(file, source, source.tracks[1], AUDIO, "float32")


@pytest.mark.parametrize("failure", [ConnectionError("gone"), RuntimeError("gone"), OSError("gone")])
def test_an_unreachable_file_stops_the_import(tmp_path, monkeypatch, failure):
    url = write_thesis(tmp_path / "a.h5", TRACKS)
    source = survey(url, AUDIO)
    with open_hdf5(url) as file:
        monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: (_ for _ in ()).throw(failure))
        with pytest.raises(StorageError, match=r"a\.h5: the patches of track 'a' cannot be read: gone\."):
            read_track(file, source, source.tracks[0], AUDIO, "float32")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("{tmp}/nope.h5", "There is no file .*nope.h5"),
        ("memory://nope.h5", "There is no file memory://nope.h5"),
        ("{tmp}", "Cannot open"),
        ("nowhere://a.h5", "Cannot open nowhere://a.h5: Protocol not known"),
    ],
)
def test_a_file_that_cannot_be_opened_is_reported(tmp_path, url, message):
    with pytest.raises(StorageError, match=message):
        survey(url.format(tmp=tmp_path), AUDIO)


def test_an_unknown_layout_lists_the_known_ones():
    with pytest.raises(ConfigError, match="layout must be one of auto, thesis, index-features"):
        PatchFormat("mine")
