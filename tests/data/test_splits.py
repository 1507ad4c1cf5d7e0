"""Named splits: parts by folds and by time, their files, and what the track table answers."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cs_keras.data.folds import N_FOLDS, SPLITS
from cs_keras.data.schema import (
    TRACK_SCHEMA,
    DatasetInfo,
    dataset_digest,
    make_tracks,
    read_tracks,
    write_dataset,
)
from cs_keras.data.splits import (
    Split,
    read_split,
    rotate_folds,
    split_by_folds,
    split_by_time,
    split_names,
    write_split,
)
from cs_keras.errors import ConfigError, DataError
from tests.data.small import change_document, track_row

IDS = [f"t{i}" for i in range(12)]
PARTS = np.array(["train"] * 8 + ["validation", "test", "", "test"])


@pytest.fixture
def folder(tmp_path):
    rows = [track_row(track_id, fold=i % N_FOLDS, first_frame=i) for i, track_id in enumerate(IDS)]
    write_dataset(tmp_path, DatasetInfo(), make_tracks(rows))
    return tmp_path


def test_a_named_split_decides_what_the_track_table_answers(folder):
    write_split(folder, Split("mine", PARTS), IDS)
    assert split_names(folder) == ["mine"]
    by_folds, named = read_tracks(folder), read_tracks(folder, "mine")
    for split, folds in SPLITS.items():
        assert named.in_split(split).tolist() == (PARTS == split).tolist()
        assert by_folds.in_split(split).tolist() == [i % N_FOLDS in folds for i in range(12)]
    assert not sum(named.in_split(split)[10] for split in SPLITS)


def test_a_named_split_changes_the_digest_of_the_data_and_folds_do_not(folder):
    by_folds = read_tracks(folder)
    moved = PARTS.copy()
    moved[:2] = "test"
    for name, parts in (("a", PARTS), ("same", PARTS), ("other", moved)):
        write_split(folder, Split(name, parts), IDS)
    digests = {
        name: dataset_digest(DatasetInfo(), read_tracks(folder, name))
        for name in ("a", "same", "other", None)
    }
    assert digests["a"] == digests["same"]
    assert len(set(digests.values())) == 3
    assert digests[None] == dataset_digest(DatasetInfo(), by_folds)


def test_a_split_of_a_name_never_assigns_a_track_differently(folder):
    write_split(folder, Split("mine", PARTS), IDS)
    before = (folder / "splits/mine.parquet").read_bytes()
    write_split(folder, Split("mine", PARTS), IDS)
    with pytest.raises(ConfigError, match="exists and assigns tracks differently"):
        write_split(folder, Split("mine", PARTS[::-1]), IDS)
    assert (folder / "splits/mine.parquet").read_bytes() == before


def test_a_split_gains_the_tracks_that_were_appended_to_the_dataset(folder):
    write_split(folder, Split("mine", PARTS), IDS)
    ids, parts = ["new", *IDS], np.concatenate([["test"], PARTS])
    write_split(folder, Split("mine", parts), ids)
    assert read_split(folder, "mine", ids).parts.tolist() == parts.tolist()


def test_bad_splits_are_refused(folder):
    with pytest.raises(DataError, match="has no validation tracks"):
        write_split(folder, Split("mine", np.where(PARTS == "validation", "", PARTS)), IDS)
    with pytest.raises(ConfigError, match=r"A split's name must consist of .*letters.*Received: '\.\./x'"):
        write_split(folder, Split("../x", PARTS), IDS)
    write_split(folder, Split("mine", PARTS), IDS)
    with pytest.raises(DataError, match="has no split 'yours'; `cs-keras split` makes it. Splits: mine"):
        read_split(folder, "yours", IDS)
    pq.write_table(pa.table({"track_id": ["t0"], "split": ["dev"]}), folder / "splits/bad.parquet")
    with pytest.raises(ConfigError, match=r"bad.parquet: split must be one of .* Received: 'dev'"):
        read_split(folder, "bad", IDS)
    pq.write_table(pa.table({"track_id": ["t0"]}), folder / "splits/bad.parquet")
    with pytest.raises(DataError, match="lacks columns: expected track_id and split; it has track_id"):
        read_split(folder, "bad", IDS)


def test_a_track_table_of_an_earlier_release_has_no_release_dates(folder):
    path = folder / "tracks.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["release_date"]), path)
    change_document(folder, tracks_checksum=hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest())
    tracks = read_tracks(folder)
    assert tracks.table.schema == TRACK_SCHEMA
    assert set(tracks.strings("release_date")) == {""}


@pytest.mark.parametrize("n", [2, 5, 10])
def test_rotations_test_each_fold_once_and_never_what_they_validate(n):
    rotations = [rotate_folds(i, n) for i in range(n)]
    assert sorted(sum((test for _, test in rotations), ())) == list(range(N_FOLDS))
    assert all(not set(test) & set(validation) for validation, test in rotations)
    if n == 5:
        assert rotations[-1] == (SPLITS["validation"], SPLITS["test"])


def test_parts_by_folds():
    folds = np.array([0, 3, 7, 9], np.int32)
    assert split_by_folds(folds).tolist() == ["train", "train", "validation", "test"]
    assert split_by_folds(folds, [0], [3]).tolist() == ["validation", "test", "train", "train"]
    with pytest.raises(
        ConfigError,
        match="A fold cannot be in both the validation and the test split. Received: fold 3 in both",
    ):
        split_by_folds(folds, [3, 4], [3])
    with pytest.raises(ConfigError, match="test folds must be one of"):
        split_by_folds(folds, [3], [10])


def test_by_time_every_test_track_is_newer_than_all_others():
    times = np.random.default_rng(0).permutation(1000).astype(float)
    times[:100] = np.nan
    parts = split_by_time(times, validation_share=0.1, test_share=0.2)
    sizes = {part: int((parts == part).sum()) for part in ("train", "validation", "test", "")}
    assert sizes == {"train": 630, "validation": 90, "test": 180, "": 100}
    assert np.isnan(times[parts == ""]).all()
    assert times[parts == "train"].max() < times[parts == "validation"].min()
    assert times[parts == "validation"].max() < times[parts == "test"].min()


def test_tracks_of_one_time_stay_together():
    years = np.repeat([1990.0, 1991, 1992, 1993], [50, 30, 5, 15])
    parts = split_by_time(years, validation_share=0.1, test_share=0.2)
    assert [set(parts[years == year].tolist()) for year in np.unique(years)] == [
        {"train"},
        {"validation"},
        {"test"},
        {"test"},
    ]


def test_too_few_times_and_bad_shares_are_refused():
    with pytest.raises(DataError, match="at least 3 different times. Received: 2, of 3 of 4 tracks"):
        split_by_time(np.array([1, 1, 2, np.nan]))
    with pytest.raises(ConfigError, match="above 0 and their sum below 1. Received: 0.5 and 0.5"):
        split_by_time(np.arange(9.0), 0.5, 0.5)
