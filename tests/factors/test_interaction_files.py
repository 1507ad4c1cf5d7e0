import gzip
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.factors.interaction_files import read_interactions

TEXT = "user_id,track_id,plays\nu2,007,3\nu1,é,1\nu2,é,2\nu2,007,4\n"


def write(tmp_path, content, name="listening.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def as_dict(interactions):
    pairs = interactions.user_items.tocoo()
    return {
        (str(interactions.playlist_ids[row]), str(interactions.track_ids[column])): float(count)
        for row, column, count in zip(pairs.row, pairs.col, pairs.data, strict=True)
    }


def test_rows_are_summed_and_ids_sorted(tmp_path):
    interactions = read_interactions(write(tmp_path, TEXT))
    assert interactions.playlist_ids.tolist() == ["u1", "u2"]
    assert interactions.track_ids.tolist() == ["007", "é"]
    assert interactions.user_items.toarray().tolist() == [[0, 1], [7, 2]]
    assert interactions.user_items.dtype == np.float32
    assert (interactions.tally.n_rows, interactions.tally.n_merged_rows) == (4, 1)


@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        (TEXT.encode("utf-8-sig"), {}),
        (TEXT.encode("utf-16"), {}),
        (TEXT.encode("utf-16-le"), {"encoding": "utf-16-le"}),
        (TEXT.encode("latin-1"), {"encoding": "latin-1"}),
        (TEXT.replace(",", "\t").encode(), {}),
        (TEXT.replace(",", ";").encode(), {}),
        (TEXT.replace(",", ":").encode(), {"delimiter": ":"}),
        (TEXT.replace("\n", "\r\n").encode(), {}),
        (TEXT.replace("\n", "\n\n").rstrip().encode(), {}),
        (TEXT.replace(",", " , ").encode(), {}),
        (TEXT.replace("é", '"é"').encode(), {}),
        (TEXT.replace("user_id", "PID").replace("track_id", "Song").encode(), {}),
        (TEXT.replace("plays", "how often").encode(), {"count_column": "How Often"}),
        (TEXT.replace("user_id", "a").encode(), {"playlist_column": "a"}),
        (TEXT.replace("\n", ',"x\ny"\n').replace('"x\ny"', "title", 1).encode(), {}),
    ],
)
def test_dialects_of_one_table(tmp_path, content, arguments):
    interactions = read_interactions(write(tmp_path, content), **arguments)
    assert as_dict(interactions) == {("u2", "007"): 7, ("u1", "é"): 1, ("u2", "é"): 2}


def test_compressed(tmp_path):
    assert read_interactions(write(tmp_path, gzip.compress(TEXT.encode()), "l.csv.gz")).tally.n_rows == 4


def test_without_counts_each_row_is_one(tmp_path):
    interactions = read_interactions(write(tmp_path, "pid,track\np,a\np,a\np,b\n"))
    assert as_dict(interactions) == {("p", "a"): 2, ("p", "b"): 1}


def test_zero_counts_are_left_out_and_counted(tmp_path):
    interactions = read_interactions(write(tmp_path, "user,item,n\nu,a,1\nv,a,0\nu,b,0.0\n"))
    assert as_dict(interactions) == {("u", "a"): 1}
    assert interactions.playlist_ids.tolist() == ["u"] and interactions.track_ids.tolist() == ["a"]
    assert (interactions.tally.n_rows, interactions.tally.n_zero_rows) == (3, 2)


def test_a_playlist_goes_before_a_user(tmp_path):
    interactions = read_interactions(write(tmp_path, "user,playlist,track\nu,p,t\n"))
    assert interactions.playlist_ids.tolist() == ["p"]


@pytest.mark.parametrize(
    "columns",
    [
        {"user": pa.array(["1", "1"]), "track": pa.array([7, 8]), "plays": pa.array([1, 2])},
        {
            "user": pa.array([1, 1], pa.int32()),
            "track": pa.array(["7", "8"], pa.large_string()),
            "plays": [1.0, 2.0],
        },
        {
            "user": pa.array(["1", "1"]).dictionary_encode(),
            "track": ["7", "8"],
            "plays": pa.array(["1", "2"]).dictionary_encode(),
        },
    ],
)
def test_parquet(tmp_path, columns):
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "l.parquet", row_group_size=1)
    assert as_dict(read_interactions(tmp_path / "l.parquet")) == {("1", "7"): 1, ("1", "8"): 2}


ids = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters='"'), min_size=1, max_size=4)
rows = st.lists(st.tuples(ids, ids, st.floats(0.01, 100)), min_size=1, max_size=20)


@given(rows=rows, data=st.data())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_ids_in_any_order(tmp_path, rows, data):
    def read(lines):
        text = "".join(f'"{playlist}","{track}",{count!r}\n' for playlist, track, count in lines)
        return read_interactions(write(tmp_path, "user,track,count\n" + text))

    interactions = read(rows)
    expected = Counter()
    for playlist, track, count in rows:
        expected[playlist, track] += count
    assert as_dict(interactions) == pytest.approx(expected, rel=1e-6)  # float32
    assert interactions.playlist_ids.tolist() == sorted({row[0] for row in rows})
    assert interactions.track_ids.tolist() == sorted({row[1] for row in rows})
    again = read(data.draw(st.permutations(rows)))
    assert np.array_equal(again.user_items.data, interactions.user_items.data)
    assert np.array_equal(again.user_items.indices, interactions.user_items.indices)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("user,track", "holds no rows, only a header"),
        ("user,track,count\n", "holds no rows, only a header"),
        (
            "who,track\na,b\n",
            "no playlist column: expected one of playlist, .*user_id.* Received: who, track",
        ),
        ("user,what\na,b\n", "no track column: expected one of track, .* Received: user, what"),
        ("user,track,track\na,b,c\n", "the track column 'track' must be unique"),
        ("user,track,n\na,b,1\na,b,-2\n", "row 2: 'n' must be a finite number of at least 0. Received: '-2'"),
        ("user,track,n\na,b,1\n\na,b,inf\n", "row 2: 'n' must be a finite number .* Received: 'inf'"),
        ("user,track,n\na,b,nan\n", "row 1: 'n' must be a finite number .* Received: 'nan'"),
        ("user,track,n\na,b,1\na,b,often\n", "row 2: 'n' must be a finite number .* Received: 'often'"),
        ("user,track,n\na,b,\n", "row 1: 'n' must be a finite number .* Received: ''"),
        ("user,track,n\na,b,1e39\n", "row 1: 'n' must be a finite number .* Received: '1e39'"),
        ("user,track,n\na,b,0\n", "every count is 0"),
        ("user,track\na,b\na,\n", "row 2 has an empty 'track'; expected an id"),
        ("user,track\n  ,b\n", "row 1 has an empty 'user'; expected an id"),
        pytest.param(f"user,track\na,{'b' * 1001}\n", "row 1 has over 1000 characters as 'track'", id="long"),
        ("user,track\na,b\na,b,c\n", "row 2 has 3 fields; expected 2 as in the header. Received: 'a,b,c'"),
        ("user,track\na,b\na\n", "row 2 has 1 fields; expected 2"),
        ('user,track\n"a,b\nc,d\n', "row 1 has 1 fields; expected 2"),
        ("user,track\na,é\n".encode("latin-1"), "not text in utf-8; .* --encoding latin-1"),
        pytest.param(
            b"user,track\n" + b"a,b\n" * 30000 + b"a,\xe9\n",
            "not text in utf-8; .* --encoding latin-1",
            id="late",
        ),
        ("user,track\na,b\n".encode("utf-16-be"), "not text in utf-8: the header holds NUL characters"),
    ],
)
def test_bad_tables(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=rf"^{path}: .*{message}"):
        read_interactions(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user": [1.5], "track": ["a"]}, "'user' must hold ids, as text or integers. Received: double"),
        ({"user": ["a", None], "track": ["a", "b"]}, "row 2 has an empty 'user'"),
        (
            {"user": ["a"], "track": ["a"], "n": pa.array([None], pa.int64())},
            "row 1: 'n' must be .* Received: ''",
        ),
        ({"user": ["a"], "track": ["a"], "n": [[1]]}, "'n' must hold numbers. Received: list"),
        ({"user": pa.array([], pa.string()), "track": pa.array([], pa.string())}, "holds no rows"),
    ],
)
def test_bad_parquet_columns(tmp_path, columns, message):
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "l.parquet")
    with pytest.raises(DataError, match=message):
        read_interactions(tmp_path / "l.parquet")


def test_broken_parquet(tmp_path):
    with pytest.raises(DataError, match="not a Parquet file, though its name says so"):
        read_interactions(write(tmp_path, TEXT, "l.parquet"))
    pyarrow.parquet.write_table(pa.table({"user": ["a"], "track": ["b"]}), tmp_path / "whole.parquet")
    half = (tmp_path / "whole.parquet").read_bytes()[:-20]
    with pytest.raises(DataError, match="cannot be read as a table: .*[Pp]arquet"):
        read_interactions(write(tmp_path, half, "half.parquet"))


def test_columns_named_by_the_caller_must_be_there(tmp_path):
    path = write(tmp_path, TEXT)
    for what in ("playlist", "track", "count"):
        with pytest.raises(
            DataError, match=f"no {what} column: expected 'x'. Received: user_id, track_id, plays"
        ):
            read_interactions(path, **{f"{what}_column": "x"})


def test_missing_files_folders_and_bad_arguments(tmp_path):
    with pytest.raises(StorageError, match=r"none\.csv: there is no such file; expected CSV"):
        read_interactions(tmp_path / "none.csv")
    with pytest.raises(StorageError, match="this is a folder; expected"):
        read_interactions(tmp_path)
    with pytest.raises(StorageError, match=r"l\.csv\.gz: cannot be read"):
        read_interactions(write(tmp_path, gzip.compress(TEXT.encode())[:-12], "l.csv.gz"))
    with pytest.raises(ConfigError, match="encoding must be one that Python knows. Received: 'klingon'"):
        read_interactions(write(tmp_path, TEXT), encoding="klingon")
    with pytest.raises(ConfigError, match="delimiter must be one character. Received: '::'"):
        read_interactions(write(tmp_path, TEXT), delimiter="::")


FEEDBACK = """user,track,plays,feedback
u1,a,3,1
u1,b,2,-1
u1,c,5,
u2,a,1,0
u2,b,1,
u2,d,1,-1
u2,c,1,1
u2,c,4,-1
u1,c,0,0
u3,a,9,-1
"""


def dislikes_of(interactions):
    pairs = interactions.dislikes.tocoo()
    return {
        (str(interactions.playlist_ids[row]), str(interactions.track_ids[column]))
        for row, column in zip(pairs.row, pairs.col, strict=True)
    }


def test_dislikes_are_no_interactions_and_a_like_outweighs_them(tmp_path):
    found = read_interactions(write(tmp_path, FEEDBACK))
    assert as_dict(found) == {("u1", "a"): 3, ("u2", "b"): 1, ("u2", "c"): 5}
    # The play of u1 and c is disliked too; u3 and d have no interaction, so no factors.
    assert dislikes_of(found) == {("u1", "b"), ("u1", "c"), ("u2", "a")}
    tally = found.tally
    assert (tally.n_rows, tally.n_merged_rows, tally.n_zero_rows, tally.n_disliked_rows) == (10, 1, 0, 6)


def test_dislikes_of_many_playlists_and_tracks_are_of_their_own_pairs(tmp_path):
    """With 2^16 tracks, the pairs (p0, t0) and (p65536, t0) are 2^32 apart."""
    rows = [f"p{n},t{n % 2**16}," for n in range(2**16 + 1)]
    found = read_interactions(
        write(tmp_path, "\n".join(["user,track,feedback", *rows, "p0,t1,", "p0,t0,-1\n"]))
    )
    assert dislikes_of(found) == {("p0", "t0")} and len(found.playlist_ids) == 2**16 + 1


def test_dislikes_do_not_depend_on_the_order_of_rows_or_the_name_of_their_column(tmp_path):
    expected = read_interactions(write(tmp_path, FEEDBACK))
    header, *rows = FEEDBACK.splitlines()
    text = "\n".join([header.replace("feedback", "thumb"), *rows[::-1]])
    found = read_interactions(write(tmp_path, text), feedback_column="Thumb")
    assert as_dict(found) == as_dict(expected) and dislikes_of(found) == dislikes_of(expected)
    ignored = read_interactions(write(tmp_path, text))
    assert ignored.dislikes is None and ignored.tally.n_disliked_rows == 0


def test_interactions_with_dislikes_are_those_of_a_file_without_the_disliked_pairs(tmp_path):
    header, *rows = FEEDBACK.splitlines()
    disliked = {("u1", "b"), ("u1", "c"), ("u2", "a"), ("u2", "d"), ("u3", "a")}
    kept = [row.rpartition(",")[0] for row in rows if tuple(row.split(",")[:2]) not in disliked]
    expected = read_interactions(write(tmp_path, "\n".join([header.rpartition(",")[0], *kept])))
    found = read_interactions(write(tmp_path, FEEDBACK))
    assert as_dict(found) == as_dict(expected)
    assert found.playlist_ids.tolist() == expected.playlist_ids.tolist()
    assert found.track_ids.tolist() == expected.track_ids.tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user,track,feedback\nu,a,1\nu,b,5\n", "row 2: 'feedback' must be 1 for a like, 0 or -1"),
        ("user,track,feedback\nu,a,liked\n", "Received: 'liked'."),
        (
            "user,track,feedback\nu,a,-1\n",
            "every interaction is a dislike; expected at least one like or play.",
        ),
    ],
)
def test_other_feedback_is_refused(tmp_path, content, message):
    with pytest.raises(DataError) as error:
        read_interactions(write(tmp_path, content))
    assert message in str(error.value)


def test_rows_of_many_blocks_equal_those_of_one(tmp_path):
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(300, size=200_000), rng.integers(400, size=200_000)
    text = "".join(f"{row},{column}\n" for row, column in zip(rows, columns, strict=True))
    (tmp_path / "rows.csv").write_text("uid,item_id\n" + text)  # 1.5 MB, two blocks
    table = pa.table({"uid": pa.array(rows, pa.uint32()), "item_id": pa.array(columns, pa.uint32())})
    pa.parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=30_000)
    expected = scipy.sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), (300, 400)).toarray()
    for name in ("rows.csv", "rows.parquet"):
        read = read_interactions(tmp_path / name)
        order = np.ix_(read.playlist_ids.astype(int), read.track_ids.astype(int))
        np.testing.assert_array_equal(read.user_items.toarray(), expected[order])
        assert read.tally.n_rows == len(rows)


def test_an_error_names_the_row_counted_over_all_blocks(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("uid,item_id\n" + "user-of-many-rows,10\n" * 100_000 + "user,\n")
    with pytest.raises(DataError, match=r"row 100001 has an empty 'item_id'"):
        read_interactions(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected a slice of playlists"),
        ('{"info": {}}', "missing required field `playlists`"),
        ('{"playlists": [{"pid": 0, "tracks": [{"pos": 0}]}]}', "missing required field `track_uri`"),
        ('{"playlists": [{"pid": 0, "tracks": [{"track_uri": ""}]}]}', "row 1 has an empty 'track_uri'"),
        ('{"playlists": []}', "the file holds no rows"),
    ],
)
def test_bad_slices_are_refused(tmp_path, text, message):
    path = tmp_path / "mpd.slice.0-999.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_interactions(path)


def test_slices_have_no_columns_to_name(tmp_path):
    path = tmp_path / "mpd.slice.0-999.json"
    path.write_text('{"playlists": []}', encoding="utf-8")
    with pytest.raises(ConfigError, match="JSON slices have no columns to name"):
        read_interactions(path, count_column="plays")
