import numpy as np
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.data.reader import ReadConfig
from cs_keras.data.shards import write_shard
from cs_keras.data.windows import Windows
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.storage.location import locate
from tests.data.small import AUDIO, magnitudes, write_small

LENGTHS = [5, 3, 8, 1, 4]
SHARD = "shards/fold-00/part-00001.h5"  # of tracks 2 and 3


@pytest.fixture
def dataset(tmp_path):
    return Dataset(write_small(tmp_path, LENGTHS))


def test_a_track_is_read_whole_as_stored(dataset):
    assert len(dataset) == 5
    for row, n_frames in enumerate(LENGTHS):
        frames = dataset.read_track(row)
        assert frames.dtype == np.float16
        assert np.array_equal(frames, magnitudes(row, n_frames))


def test_it_is_shown_in_one_line(dataset, tmp_path):
    (tmp_path / "factors").mkdir()
    (tmp_path / "factors" / "wmf.npz").touch()
    assert repr(dataset) == (
        f"Dataset('{dataset.folder}', n_tracks=5, track_shape=(1-8, 9), content='magnitude', dtype='float16', "
        "factors=['wmf'])"
    )
    equal = Dataset(write_small(tmp_path / "equal", [4, 4]))
    assert "track_shape=(4, 9)" in repr(equal) and "factors=[]" in repr(equal)


def test_windows_are_slices_of_tracks_in_the_given_order(dataset):
    windows = Windows(np.array([2, 0, 2, 4]), np.array([5, 1, 0, 0]))
    read = dataset.read_windows(windows, 3)
    assert (read.shape, read.dtype) == ((4, 3, 9), np.float16)
    for i, (row, start) in enumerate(zip(windows.row, windows.start, strict=True)):
        assert np.array_equal(read[i], dataset.read_track(row)[start : start + 3])


def test_a_track_that_ends_inside_its_window_is_followed_by_zeros_not_by_the_next_track(dataset):
    read = dataset.read_windows(Windows(np.array([0, 3]), np.array([3, 0])), 4)
    assert read[0, :, 0].tolist() == [3, 4, 0, 0]
    assert read[1, :, 0].tolist() == [300, 0, 0, 0]


def test_no_windows_are_an_empty_array(dataset):
    nothing = np.zeros(0, np.int64)
    assert dataset.read_windows(Windows(nothing, nothing), 4).shape == (0, 4, 9)


def test_float32_stays_float32(tmp_path):
    dataset = Dataset(write_small(tmp_path, LENGTHS, dtype="float32"))
    assert dataset.read_windows(Windows(np.array([0]), np.array([0])), 2).dtype == np.float32


def test_a_folder_that_is_not_a_dataset_is_reported(tmp_path):
    with pytest.raises(StorageError, match="is not a cs-keras dataset"):
        Dataset(tmp_path)


def test_a_missing_shard_is_reported_when_the_dataset_is_opened(tmp_path):
    (write_small(tmp_path, LENGTHS) / SHARD).unlink()
    with pytest.raises(
        StorageError, match=f"lacks its shard {SHARD}; repeat `cs-keras ingest` to write it again"
    ):
        Dataset(tmp_path)


def test_a_truncated_shard_is_reported_when_read_and_the_others_are_read(tmp_path, dataset):
    whole = (tmp_path / SHARD).read_bytes()
    (tmp_path / SHARD).write_bytes(whole[:-10])
    assert len(dataset.read_track(0)) == 5
    with pytest.raises(StorageError, match="part-00001.h5 is damaged or not an HDF5 file"):
        dataset.read_track(2)


@pytest.mark.parametrize(
    ("ids", "lengths", "dtype", "message"),
    [
        (("t2",), (8,), "float32", "expected 9 bins as float16. Received: 9 as float32"),
        (("t2",), (7,), "float16", "does not fit the track table, by which it holds track 't2', 8 frames"),
        (("x2",), (8,), "float16", "does not fit the track table, by which it holds track 't2', 8 frames"),
    ],
)
def test_a_shard_that_does_not_fit_the_dataset_is_reported(tmp_path, ids, lengths, dtype, message):
    write_small(tmp_path, LENGTHS)
    tracks = [(track_id, magnitudes(2, n)) for track_id, n in zip(ids, lengths, strict=True)]
    write_shard(tmp_path / SHARD, tracks, AUDIO, dtype)
    with pytest.raises(DataError, match=message):
        Dataset(tmp_path).read_track(2)


def test_tensorflow_io_is_refused_unsupported_datasets(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="cannot read float16"):
        Dataset(write_small(tmp_path / "a", LENGTHS), ReadConfig(reader="tfio"))
    remote = write_small(locate(f"memory://{tmp_path.name}"), LENGTHS, dtype="float32")
    with pytest.raises(ConfigError, match="would load remote shards whole"):
        Dataset(remote, ReadConfig(reader="tfio"))
    monkeypatch.setattr("cs_keras.tfio.available", lambda: False)
    with pytest.raises(ConfigError, match="The reader tfio needs tensorflow-io"):
        Dataset(write_small(tmp_path / "b", LENGTHS, dtype="float32"), ReadConfig(reader="tfio"))
