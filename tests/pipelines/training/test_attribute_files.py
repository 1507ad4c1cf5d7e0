"""Files of attributes, and what models take in."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cs_keras.data.attributes.table import align, align_tables
from cs_keras.data.schema import Tracks, make_tracks
from cs_keras.errors import ConfigError, CsKerasError, DataError, StorageError
from cs_keras.models import REGISTRY, get_baseline
from pipelines.training.attribute_files import parse_kinds, read_attributes
from pipelines.training.requirements import (
    DEFAULT_MODELS,
    choose_attributes,
    choose_models,
    require_input,
    require_inputs,
)
from tests.data.small import track_row

TABLE = """track_id,title,tempo,key,moods,
t1,One,120.5,C,calm|warm,x
t2,Two,,D,,y
"""
WITHOUT_AUDIO = ["attributes", "attributes-linear", "genre-label", "genre-label-linear"]


def write(folder: Path, content: str, name: str = "f.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_text_table_is_read_by_its_values(delimiter: str, tmp_path: Path) -> None:
    found = read_attributes(write(tmp_path, TABLE.replace(",", delimiter)))
    assert found.ids.tolist() == ["t1", "t2"]
    assert {name: column.kind for name, column in found.columns.items()} == {
        "tempo": "numeric",
        "key": "categorical",
        "moods": "labels",
    }
    np.testing.assert_array_equal(found.columns["tempo"].values, [[120.5], [np.nan]])
    assert found.describe() == "numeric: tempo; categorical: key; labels: moods"


def test_a_typed_table_holds_the_same(tmp_path: Path) -> None:
    columns = {
        "Track_ID": ["t1", "t2"],
        "isrc": ["a", "b"],
        "tempo": [120.5, None],
        "key": ["C", "D"],
        "moods": [["calm", "warm"], None],
        "vector": pa.array([[1.0, 2.0], None], pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    typed = read_attributes(tmp_path / "f.parquet")
    text = read_attributes(write(tmp_path, TABLE))
    ids = np.array(["t1", "t2"])
    for name in ("tempo", "key", "moods"):
        assert typed.columns[name].content() == text.columns[name].content()
    assert typed.describe().startswith("numeric: tempo, vector (2 numbers); ")
    assert align(typed, ids, "d").digest != align(text, ids, "d").digest


def test_ids_and_kinds_are_the_users_to_name(tmp_path: Path) -> None:
    path = write(tmp_path, "name,track_id,tempo\n 7 ,a,1\nx,b,2\n")
    assert read_attributes(path).ids.tolist() == ["a", "b"]
    kinds = parse_kinds(("track_id=categorical", " tempo =ignore"))
    found = read_attributes(path, kinds, "name")
    assert found.ids.tolist() == ["7", "x"] and list(found.columns) == ["track_id"]
    assert read_attributes(write(tmp_path, "song,x\n001,1\n002,2\n")).ids.tolist() == ["001", "002"]


def test_items_are_artists_where_ids_are_in_a_column_of_them(tmp_path: Path) -> None:
    path = write(tmp_path, "Artist,track_id,x\nAbba,t1,1\nBeck,t2,2\n")
    found = read_attributes(path, id_column="Artist")
    assert found.of_artists and found.describe() == "of artists: numeric: x"
    assert not read_attributes(path).of_artists  # ids are track_id by default
    np.savez(tmp_path / "f.npz", artists=["Abba", "Beck"], features=[[1.0], [2.0]])
    of_npz = read_attributes(tmp_path / "f.npz")
    assert of_npz.of_artists and of_npz.ids.tolist() == found.ids.tolist()


@pytest.mark.parametrize("ids_name", ["track_ids", "ids"])
def test_arrays_are_one_attribute_of_many_numbers(ids_name: str, tmp_path: Path) -> None:
    features = np.array([[1, 2, np.nan], [4, 5, 6]], np.float32)
    np.savez(tmp_path / "f.npz", **{ids_name: np.array(["a", "b"])}, features=features)
    found = read_attributes(tmp_path / "f.npz")
    assert found.ids.tolist() == ["a", "b"] and list(found.columns) == ["features"]
    np.testing.assert_array_equal(found.columns["features"].values, features)
    assert found.columns["features"].values.dtype == np.float32


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        ("track_id,x\na,1\na,2\n", {}, DataError, "id 'a' occurs twice"),
        ("track_id,x\n,1\n", {}, DataError, "row 1 has no track_id"),
        ("track_id,x\n", {}, DataError, "no items|no rows"),
        ("track_id,title\na,One\n", {}, DataError, "holds no attributes"),
        ("track_id,x,x\na,1,2\n", {}, DataError, "the header names column 'x' more than once"),
        ("track_id,x\na,1,2\n", {}, DataError, "row 1 has 3 fields; expected 2"),
        ("track_id,x\na,inf\n", {}, DataError, "row 1: 'x' must be finite"),
        (
            "track_id,x\na,1\n",
            {"id_column": "id"},
            ConfigError,
            "no column 'id' of ids. Received: track_id, x",
        ),
        ("track_id,x\na,1\n", {"kinds": {"y": "labels"}}, ConfigError, "no attribute 'y'. Received: x"),
        (
            "track_id,x\na,1\n",
            {"kinds": {"y": "labels"}, "only": True},
            DataError,
            "'y' that the model was trained on",
        ),
    ],
)
def test_a_bad_table_is_one_sentence(
    content: str, options: dict[str, object], error: type[CsKerasError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        read_attributes(write(tmp_path, content), **options)


IDS = np.array(["a", "b"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"track_ids": IDS},
            "expected arrays track_ids or ids or artists and features, .*. Received: track_ids",
        ),
        ({"features": np.ones((2, 3))}, "Received: features"),
        ({"ids": IDS, "features": np.ones(2)}, r"expected features of shape \(2, d\), numbers.*shape \(2,\)"),
        ({"ids": IDS, "features": np.ones((3, 2))}, r"float64 of shape \(3, 2\)"),
        ({"ids": IDS, "features": np.full((2, 2), "x")}, "Received: <U1"),
        ({"ids": IDS, "features": np.array([[1], [np.inf]])}, "row 2: 'features' must be finite"),
        ({"ids": IDS, "frames": np.ones((3, 2))}, "or frames and offsets. Received: ids, frames"),
        ({"ids": IDS, "frames": np.ones((3, 2)), "offsets": np.array([0, 4, 3])}, "expected frames of shape"),
        ({"ids": IDS, "features": np.ones((2, 0))}, "holds no attributes"),
        ({"ids": np.array([0.5, 1.5]), "features": np.ones((2, 1))}, "ids must be text or integers"),
        ({"ids": np.array(["a", "a"]), "features": np.ones((2, 1))}, "id 'a' occurs twice"),
        ({"ids": np.array(["a", "b"], object), "features": np.ones((2, 1))}, "pickled"),
    ],
)
def test_bad_arrays_are_one_sentence(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_attributes(tmp_path / "f.npz")


def test_an_invalid_file_is_reported(tmp_path: Path) -> None:
    for name in ("none.csv", "none.npz"):
        with pytest.raises(StorageError, match="there is no such file"):
            read_attributes(tmp_path / name)
    with pytest.raises(StorageError, match="npz"):
        read_attributes(write(tmp_path, "no zip", "f.npz"))


@pytest.mark.parametrize("assignment", ["key", "=labels", "key=ordinal"])
def test_invalid_kinds_are_reported(assignment: str) -> None:
    with pytest.raises(ConfigError, match="Received: "):
        parse_kinds((assignment,))


def tracks(*genres: list[str], sound: int = 0) -> Tracks:
    rows = [
        track_row(f"t{i}", genres=own, fold=i, **({} if i < sound else {"shard": "", "n_frames": 0}))
        for i, own in enumerate(genres)
    ]
    return make_tracks(rows)


def test_models_are_chosen_by_what_there_is() -> None:
    with_audio, silent = tracks(["pop"], sound=1), tracks(["pop"])
    assert choose_models(None, with_audio) == (list(DEFAULT_MODELS), [])
    assert choose_models(None, with_audio, [""]) == ([*DEFAULT_MODELS, "attributes"], [])
    able, unable = choose_models("all", with_audio)
    assert set(WITHOUT_AUDIO[:2]) <= set(unable) and {*DEFAULT_MODELS, *WITHOUT_AUDIO[2:]} <= set(able)
    assert sorted(able + unable) == sorted(REGISTRY)
    assert {*DEFAULT_MODELS, *WITHOUT_AUDIO} <= set(choose_models("all", with_audio, [""])[0])
    able, unable = choose_models(None, silent, [""])
    assert able == WITHOUT_AUDIO and {*DEFAULT_MODELS, "fusion-estimated"} <= set(unable)
    assert choose_models(None, silent)[0] == WITHOUT_AUDIO[2:]
    assert choose_models(None, tracks([]), [""])[0] == WITHOUT_AUDIO[:2]
    on_tables = [f"attributes-{name}@{table}" for name in ("kernel", "trees") for table in ("a", "b")]
    assert choose_models("best", with_audio, ["a", "b"])[0] == ["cnn-best", *on_tables, "genre-label-linear"]
    assert choose_models("best", silent)[0] == ["genre-label-linear"]
    every, unable = choose_models("all", tracks(["pop"], [], sound=1), [""])
    assert {*WITHOUT_AUDIO, "attributes-infonce"} <= set(every) and sorted(every + unable) == sorted(REGISTRY)
    message = "1 of 1 tracks of the dataset have no audio, no train track has genres"
    with pytest.raises(DataError, match=message):
        choose_models(None, tracks([]))


def test_what_cannot_run_is_refused_with_what_can(tmp_path: Path) -> None:
    mixed = tracks(["pop"], [], [], sound=2)
    given = align_tables({"": read_attributes(write(tmp_path, "id,x\nt0,1\n"))}, mixed, "d")
    baselines = {key: get_baseline(key) for key in ("cnn-bn", "attributes", "genre-label")}
    others = ", ".join(WITHOUT_AUDIO[:2])
    message = f"cnn-bn needs audio, and 1 of 3 tracks .* have no audio; models without audio: {others}"
    with pytest.raises(ConfigError, match=message):
        require_input(baselines["cnn-bn"], mixed, given)
    with pytest.raises(ConfigError, match="attributes needs a table of attributes: name one by --features"):
        require_input(baselines["attributes"], mixed, {})
    with pytest.raises(
        ConfigError, match="None of genre-label takes --features; models that do: attributes, "
    ):
        require_inputs([baselines["genre-label"]], mixed, given)
    require_inputs(list(baselines.values())[1:], mixed, given)


def test_models_learn_from_what_they_need(tmp_path: Path) -> None:
    with_audio = tracks(["pop"], [], sound=2)
    given = align_tables({"": read_attributes(write(tmp_path, "id,x\nt0,1\n"))}, with_audio, "d")
    assert choose_attributes(get_baseline("bot"), with_audio, given) is None
    assert choose_attributes(get_baseline("attributes-linear"), with_audio, given) is given[""]
    genres = choose_attributes(get_baseline("genre-label"), with_audio, given)
    assert genres is not None and genres.has.tolist() == [True, False]
