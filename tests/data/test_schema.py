import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.schema import (
    DatasetInfo,
    ExcludedTrack,
    make_tracks,
    read_info,
    read_tracks,
    write_dataset,
)
from cs_keras.errors import ConfigError, DataError, StorageError
from tests.data.small import change_document, track_row

INFO = DatasetInfo(
    AudioConfig(sample_rate=16_000, window="hamming"),
    "float32",
    "track",
    "round-robin by track",
    (ExcludedTrack("ç", "is silent"), ExcludedTrack("x", "is empty")),
)


def rows():
    return [
        track_row("a", fold=0, genres=["Rock", "Jazz"], artist="Sigur Rós"),
        track_row("b", fold=7, first_frame=1),
        track_row("c", fold=9, first_frame=2, isrc=None),
    ]


def test_written_values_are_read_back(tmp_path):
    write_dataset(tmp_path, INFO, make_tracks(rows()))
    assert read_info(tmp_path) == INFO
    tracks = read_tracks(tmp_path)
    assert tracks.table.equals(make_tracks(rows()).table)
    assert tracks.ids.tolist() == ["a", "b", "c"]
    assert tracks.strings("isrc") == ["", "", ""]
    assert tracks.numbers("fold").tolist() == [0, 7, 9]
    assert tracks.in_split("train").tolist() == [True, False, False]
    assert tracks.in_split("validation").tolist() == [False, True, False]
    assert tracks.in_split("test").tolist() == [False, False, True]


@pytest.mark.parametrize("value", ["hash", "given", "round-robin by artist", "round-robin by track"])
def test_datasets_of_the_release_before_can_be_read(value, tmp_path):
    write_dataset(tmp_path, INFO, make_tracks(rows()))
    old = value.replace("round-robin", "".join(("de", "alt")))
    change_document(tmp_path, fold_assignment=..., dealing=old)
    assert read_info(tmp_path) == dataclasses.replace(INFO, fold_assignment=value)


def test_a_dataset_without_tracks_can_be_written_and_read(tmp_path):
    write_dataset(tmp_path, DatasetInfo(), make_tracks([]))
    assert len(read_tracks(tmp_path)) == 0


def test_the_same_tracks_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_dataset(tmp_path / name, INFO, make_tracks(rows()))
    for name in ("dataset.json", "tracks.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_folder_without_json_is_no_dataset(tmp_path, monkeypatch):
    write_dataset(tmp_path, INFO, make_tracks(rows()))
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(StorageError, match="is not a cs-keras dataset: expected a folder with dataset.json"):
        read_info(tmp_path)


@pytest.mark.parametrize(
    ("twice", "message"),
    [
        (["a", "a"], "track_id 'a' occurs twice"),
        (["a", ""], "row 2 has no track_id"),
        ([None], "row 1 has no track_id"),
    ],
)
def test_ids_must_be_there_and_unique(twice, message):
    with pytest.raises(DataError, match=f"tracks.parquet: {message}"):
        make_tracks(track_row(track_id) for track_id in twice)


class TestAlteredTable:
    def refuse(self, folder, message, **changes):
        table = make_tracks(rows()).table
        for name, values in changes.items():
            position = table.column_names.index(name)
            table = table.remove_column(position)
            if values is not None:
                table = table.add_column(position, name, pa.array(values))
        pq.write_table(table, folder / "tracks.parquet")
        with pytest.raises(DataError, match=f"tracks.parquet.*{message}"):
            read_tracks(folder)

    def test_an_id_that_occurs_twice(self, tmp_path):
        self.refuse(tmp_path, "track_id 'a' occurs twice", track_id=["a", "b", "a"])

    @pytest.mark.parametrize("fold", [-1, 10])
    def test_an_unknown_fold(self, tmp_path, fold):
        self.refuse(tmp_path, f"track 'b' is in fold {fold}; folds are 0 to 9", fold=[0, fold, 9])

    def test_columns_that_are_missing(self, tmp_path):
        self.refuse(tmp_path, "lacks columns: expected artist, isrc; it has track_id", artist=None, isrc=None)

    def test_a_column_of_another_type(self, tmp_path):
        self.refuse(tmp_path, "column of the wrong type", n_frames=["many", "few", "none"])

    @pytest.mark.parametrize("n_frames", [0, -1])
    def test_a_track_without_frames(self, tmp_path, n_frames):
        self.refuse(tmp_path, "a track without frames", n_frames=[1, n_frames, 1])

    def test_a_negative_position(self, tmp_path):
        self.refuse(tmp_path, "a negative position", first_frame=[0, -1, 1])

    @pytest.mark.parametrize("name", ["fold", "first_frame", "n_frames"])
    def test_an_empty_cell(self, tmp_path, name):
        self.refuse(tmp_path, f"column '{name}' has empty cells", **{name: [1, None, 1]})

    def test_other_columns_are_ignored(self, tmp_path):
        table = make_tracks(rows()).table.append_column("mood", pa.array(["a", "b", "c"]))
        pq.write_table(table, tmp_path / "tracks.parquet")
        assert read_tracks(tmp_path).table.equals(make_tracks(rows()).table)

    def test_other_widths_of_numbers_are_understood(self, tmp_path):
        table = make_tracks(rows()).table
        table = table.set_column(7, "fold", pa.array([0, 7, 9], pa.int64()))
        pq.write_table(table, tmp_path / "tracks.parquet")
        assert read_tracks(tmp_path).numbers("fold").dtype == np.int32


@pytest.mark.parametrize("content", [b"", b"PAR1", b"track_id,artist\n"])
def test_a_table_that_is_not_parquet_is_reported(tmp_path, content):
    (tmp_path / "tracks.parquet").write_bytes(content)
    with pytest.raises(StorageError, match=r"tracks\.parquet is damaged or not a Parquet file"):
        read_tracks(tmp_path)


def test_a_table_that_is_missing_is_reported(tmp_path):
    with pytest.raises(StorageError, match=r"There is no track table .*tracks\.parquet"):
        read_tracks(tmp_path)


class TestAlteredInfo:
    def altered(self, folder, **changes):
        write_dataset(folder, INFO, make_tracks(rows()))
        change_document(folder, **changes)
        return folder

    def test_unknown_fields_are_ignored(self, tmp_path):
        assert read_info(self.altered(tmp_path, licence="CC0")) == INFO

    @pytest.mark.parametrize("version", [0, 1, "2", None])
    def test_another_schema_version(self, tmp_path, version):
        with pytest.raises(DataError, match=f"schema version {version!r}; this release reads 2"):
            read_info(self.altered(tmp_path, schema_version=version))

    @pytest.mark.parametrize(
        "changes",
        [
            {"audio": ...},
            {"left_out": ...},
            {"audio": {"n_fft": -1}},
            {"audio": {"n_fftt": 1024}},
            {"audio": 3},
            {"dtype": "int8"},
            {"fold_by": "album"},
            {"left_out": [{"id": "x"}]},
            {"left_out": 3},
        ],
    )
    def test_settings_that_are_not_valid(self, tmp_path, changes):
        with pytest.raises(DataError, match=r"dataset\.json is not a file of `cs-keras ingest`, or damaged"):
            read_info(self.altered(tmp_path, **changes))

    @pytest.mark.parametrize("content", ["[]", "3", "null"])
    def test_json_of_other_content(self, tmp_path, content):
        (tmp_path / "dataset.json").write_text(content)
        with pytest.raises(DataError, match="schema version None"):
            read_info(tmp_path)

    def test_a_dtype_that_cannot_be_stored(self):
        with pytest.raises(ConfigError, match="dtype must be one of float16, float32. Received: 'int8'"):
            dataclasses.replace(INFO, dtype="int8")
