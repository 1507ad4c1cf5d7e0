"""Tables of attributes: kinds of columns, alignment with a dataset, encoding."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import MissingIndicator
from sklearn.preprocessing import MultiLabelBinarizer, OneHotEncoder, QuantileTransformer, StandardScaler

from cs_keras.data.attributes.columns import (
    LabelColumn,
    NumericColumn,
    SequenceColumn,
    read_column,
)
from cs_keras.data.attributes.encoding import MAX_DEVIATION, N_QUANTILES, fit_encoding, read_encoding
from cs_keras.data.attributes.table import align, genre_attributes, join_tables, make_table
from cs_keras.data.schema import make_tracks
from cs_keras.errors import ConfigError, DataError
from tests.data.small import track_row

NAN = np.nan


def column(values, kind=None, is_text_file=True, type_=None):
    return read_column("x", pa.chunked_array([pa.array(values, type_)]), kind, is_text_file, "f.csv")


def numbers(*values):
    return NumericColumn(np.array(values, np.float64).reshape(len(values), *np.shape(values)[1:] or (1,)))


def labels(*values, kind="labels"):
    return LabelColumn(tuple(map(tuple, values)), kind)


def table(columns, n=None):
    n = n or len(next(iter(columns.values())).is_missing)
    return make_table([f"t{i}" for i in range(n)], columns, "f.csv")


class TestKinds:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (["1", "2.5", " -3e2 "], [1, 2.5, -300]),
            (["1", "", "NA", "nan", "NULL", "n/a", None], [1, NAN, NAN, NAN, NAN, NAN, NAN]),
            ([3, None, 4], [3, NAN, 4]),
            ([True, False, None], [1, 0, NAN]),
        ],
    )
    def test_numbers(self, values, expected):
        np.testing.assert_array_equal(column(values).values[:, 0], expected)

    def test_single_precision_stays(self):
        assert column([1.5, None], type_=pa.float32()).values.dtype == np.float32
        assert column([1, 2]).values.dtype == np.float64

    @pytest.mark.parametrize(
        ("values", "kind", "expected"),
        [
            (["C", "D ", "", "na", None], "categorical", (("C",), ("D",), (), (), ())),
            (["1", "two", "1"], "categorical", (("1",), ("two",), ("1",))),
            (["a|b", "b", " | a|a"], "labels", (("a", "b"), ("b",), ("a",))),
            ([["a", "b"], [], None, ["a", "", "a"]], "labels", (("a", "b"), (), (), ("a",))),
            (["", None], "categorical", ((), ())),
        ],
    )
    def test_words(self, values, kind, expected):
        found = column(values)
        assert (found.kind, found.values) == (kind, expected)

    def test_dictionary_columns_are_decoded(self):
        data = pa.chunked_array([pa.array(["a", "b", "a"]).dictionary_encode()])
        assert read_column("x", data, None, False, "f").values == (("a",), ("b",), ("a",))

    def test_text_of_a_typed_file_stays_text(self):
        assert column(["1", "2"], is_text_file=False).values == (("1",), ("2",))

    @pytest.mark.parametrize(
        "type_", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.float32())]
    )
    def test_lists_of_numbers_are_matrices(self, type_):
        found = column([[1, 2], None, [3, None]], type_=type_).values
        np.testing.assert_array_equal(found, np.array([[1, 2], [NAN, NAN], [3, NAN]], np.float32))
        assert found.dtype == np.float32

    def test_an_option_overrules_the_values(self):
        assert column(["1", "2"], "categorical").values == (("1",), ("2",))
        assert column([1, None], "categorical").values == (("1",), ())
        assert column(["a|b"], "categorical").values == (("a|b",),)
        assert column(["a", "b"], "labels").kind == "labels"
        np.testing.assert_array_equal(column(["1", "2"], "numeric", is_text_file=False).values[:, 0], [1, 2])
        assert np.isnan(column(["", ""], "numeric").values).all()

    @pytest.mark.parametrize(
        ("values", "kind", "message"),
        [
            (["1", "-inf"], None, "f.csv: row 2: 'x' must be finite"),
            ([1.0, np.inf], None, "row 2: 'x' must be finite"),
            ([1.0, -1e101], None, r"row 2: 'x' must be finite, at most 1e\+100"),
            (["1", "", "two"], "numeric", "row 3: 'x' must be a number. Received: 'two'."),
            ([[1.0, 2.0], [1.0]], None, "row 2: 'x' has 1 numbers; expected 2, as row 1 has"),
            ([[1.0], [np.inf]], None, "row 2: 'x' must be finite"),
            (
                [[1.0]],
                "labels",
                "expected lists of text as labels, or lists of numbers as numeric. Received: labels",
            ),
            ([["a"]], "numeric", "Received: numeric"),
            ([{"a": 1}], None, "must hold numbers, text or lists of either.*--attribute x=ignore"),
        ],
    )
    def test_unsupported_types_are_reported(self, values, kind, message):
        with pytest.raises(DataError, match=message):
            column(values, kind)

    def test_unknown_kinds(self):
        with pytest.raises(
            ConfigError, match="The kind of attribute 'x' must be one of numeric, categorical, labels"
        ):
            column(["1"], "ordinal")


class TestTable:
    @pytest.mark.parametrize(
        ("ids", "message"),
        [(["a", "a"], "id 'a' occurs twice"), (["a", ""], "row 2 has no track_id"), ([], "no items")],
    )
    def test_ids_must_be_there_and_unique(self, ids, message):
        with pytest.raises(DataError, match=f"f.csv.*{message}"):
            make_table(ids, {"x": numbers(*range(len(ids)))}, "f.csv")

    def test_it_needs_a_column(self):
        with pytest.raises(DataError, match="f.csv holds no attributes"):
            make_table(["a"], {}, "f.csv")

    def test_tracks_get_their_rows_and_missing_ones_none(self):
        own = make_table(
            ["c", "a", "z", "e"], {"x": numbers(3, 1, 9, NAN), "y": labels("q", "pq", "", "")}, "f"
        )
        found = align(own, np.array(["a", "b", "c", "e"]), "data")
        assert found.has.tolist() == [True, False, True, False] and found.n_unknown == 1
        np.testing.assert_array_equal(found.table.columns["x"].values[:, 0], [1, NAN, 3, NAN])
        assert found.table.columns["y"].values == (("p", "q"), (), ("q",), ())

    def test_tracks_get_the_row_of_their_artist(self):
        own = make_table(["Abba", "Beck", "Cher"], {"x": numbers(1, 2, 3)}, "f", of_artists=True)
        ids = np.array(["Beck", "t1", "t2", "t3"])  # an id that is an artist's name does not count
        found = align(own, ids, "data", np.array(["Abba", "Abba", "Beck", ""]))
        assert found.table.ids.tolist() == ids.tolist() and found.n_unknown == 1
        np.testing.assert_array_equal(found.table.columns["x"].values[:, 0], [1, 1, 2, NAN])
        with pytest.raises(
            DataError, match="None of the 3 ids of f is the artist of a track of data: .* 'Dido'"
        ):
            align(own, ids[:2], "data", np.array(["", "Dido"]))
        with pytest.raises(DataError, match="of a track of data: its artists are unknown"):
            align(own, ids[:1], "data", np.array([""]))

    def test_no_common_id_is_reported(self):
        message = "None of the 1 ids of f.csv is the id of a track of data: expected ids such as 'a'"
        with pytest.raises(DataError, match=message):
            align(table({"x": numbers(1)}), np.array(["a"]), "data")

    def test_the_digest_depends_on_the_tracks_values(self):
        ids = np.array(["t0", "t1"])

        def digest(columns, n=None):
            return align(table(columns, n), ids, "data").digest

        one = {"x": numbers(1, NAN), "y": labels("a", "b")}
        assert digest(one) == digest({"x": numbers(1, NAN, 5), "y": labels("a", "b", "c")})  # t2 is no track
        others = (
            {"x": numbers(1, 0), "y": labels("a", "b")},
            {"x": numbers(1, NAN), "y": labels("a", "c")},
            {"x": numbers(1, NAN), "y": labels("a", "b", kind="categorical")},
            {"z": numbers(1, NAN), "y": labels("a", "b")},
            {"y": labels("a", "b"), "x": numbers(1, NAN)},
            {"x": numbers(1, NAN)},
        )
        assert len({digest(one), *map(digest, others)}) == 7

    def test_a_digest_does_not_depend_on_the_order_of_the_rows(self):
        there = make_table(["a", "b"], {"x": numbers(1, 2)}, "f")
        turned = make_table(["b", "a"], {"x": numbers(2, 1)}, "f")
        ids = np.array(["a", "b"])
        assert align(there, ids, "d").digest == align(turned, ids, "d").digest

    def test_genres_are_those_of_the_track_table(self):
        rows = [
            track_row("a", genres=["pop", "pop", "rock"]),
            track_row("b", genres=None),
            track_row("c", genres=[]),
        ]
        found = genre_attributes(make_tracks(rows))
        assert found.table.columns["genres"].values == (("pop", "rock"), (), ())
        assert found.has.tolist() == [True, False, False]


class TestEncoding:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.floats(0, 0.9), st.floats(-4, 4))
    def test_numbers_are_those_of_scikit_learn(self, seed, n, share_missing, power):
        rng = np.random.default_rng(seed)
        values = rng.normal(rng.normal(), 10**power, (2 * n, 3))
        values[rng.random(values.shape) < share_missing] = NAN
        values[:2] = (
            rng.normal(size=(2, 3)) * 10**power
        )  # of a column that is empty scikit-learn knows nothing
        train = values[:n]
        encoding = fit_encoding(table({"x": NumericColumn(train)}), 10)
        found = encoding.encode(table({"x": NumericColumn(values)}))
        expected = np.nan_to_num(StandardScaler().fit(train).transform(values))
        # Float32 of float64; where two numbers are nearly the same, of their difference few digits are left.
        np.testing.assert_allclose(found[:, :3], expected, rtol=1e-5, atol=1e-5)

    def test_quantiles_are_those_of_scikit_learn(self):
        rng = np.random.default_rng(0)
        values = np.stack([rng.lognormal(size=300), rng.integers(0, 5, 300), np.ones(300)], axis=1)
        values[:50, 0], values[-2:, 1] = (
            NAN,
            (-1, 5),
        )  # at ends that are tied, scikit-learn takes level 0 or 1
        encoding = fit_encoding(table({"x": NumericColumn(values)}), 10, scaling="quantile")
        new = np.concatenate([values, rng.lognormal(size=(50, 3)), np.array([[-9.0] * 3, [99.0] * 3])])
        found = read_encoding(encoding.document(), "x").encode(table({"x": NumericColumn(new)}))
        transformer = QuantileTransformer(n_quantiles=N_QUANTILES, output_distribution="normal").fit(values)
        scaler = StandardScaler().fit(transformer.transform(values))
        expected = np.nan_to_num(scaler.transform(transformer.transform(new)))
        np.testing.assert_allclose(found[:, :2], expected[:, :2], rtol=1e-5, atol=1e-5)  # float32
        assert not found[:, 2].any()  # constant among train tracks

    def test_indicators_are_those_of_scikit_learn(self):
        train = np.array([[1, NAN, NAN], [2, 1, NAN], [4, 2, NAN]])
        encoding = fit_encoding(table({"x": NumericColumn(train)}), 10)
        indicator = MissingIndicator(features="missing-only").fit(train[:, :2])
        found = encoding.encode(table({"x": NumericColumn(train)}))
        assert encoding.n_features == 4  # none for a number that no train track has
        assert np.array_equal(found[:, 3:], indicator.transform(train[:, :2]))
        assert not found[:, 2].any()

    def test_a_number_constant_in_training_is_zero(self):
        encoding = fit_encoding(table({"x": numbers(0.1, 0.1, 0.1), "y": numbers(1, 2, 3)}), 10)
        assert encoding.encode(table({"x": numbers(0.1, 7), "y": numbers(2, 2)})).tolist() == [[0, 0], [0, 0]]

    def test_typing_errors_stay_finite(self):
        encoding = fit_encoding(table({"x": numbers(0, 1e-100)}), 10)
        assert encoding.encode(table({"x": numbers(1e100, -1e100)})).tolist() == [
            [MAX_DEVIATION],
            [-MAX_DEVIATION],
        ]

    def test_categories_are_those_of_scikit_learn(self):
        train, new = ["b", "a", "b", "c"], ["c", "unseen", "a"]
        encoding = fit_encoding(table({"x": labels(*train, kind="categorical")}), 10)
        sklearn = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(np.array(train)[:, None])
        found = encoding.encode(table({"x": labels("c", ("unseen",), "a", kind="categorical")}))
        assert np.array_equal(found, sklearn.transform(np.array(new)[:, None]))

    def test_labels_are_those_of_scikit_learn(self):
        train = ("ab", "b", "", "cd")
        encoding = fit_encoding(table({"x": labels(*train)}), 10)
        expected = MultiLabelBinarizer().fit_transform(train)
        assert np.array_equal(encoding.encode(table({"x": labels(*train)})), expected)

    def test_of_too_many_categories_the_most_frequent_are_distinguished(self):
        encoding = fit_encoding(table({"x": labels("d", "c", "c", "b", "a", "a")}), 3)
        assert encoding.columns[0].labels == ("a", "b", "c")
        assert encoding.notes() == ("attribute 'x' has 4 labels, of which the 3 most frequent are used",)
        assert encoding.encode(table({"x": labels("d", "b")})).tolist() == [[0, 0, 0], [0, 1, 0]]

    def test_columns_are_concatenated_in_their_order(self):
        columns = {"x": numbers(0, 2), "y": labels("a", "b"), "z": numbers((1, 5), (3, 5))}
        found = fit_encoding(table(columns), 10).encode(table(columns))
        assert found.tolist() == [[-1, 1, 0, -1, 0], [1, 0, 1, 1, 0]] and found.dtype == np.float32

    def test_frames_are_kept_or_pooled(self):
        rng = np.random.default_rng(0)
        own = [rng.normal(3, 2, (n, 2)).astype(np.float32) for n in (3, 0, 7, 1)]
        column = SequenceColumn(np.concatenate(own), np.cumsum([0, 3, 0, 7, 1]))
        assert column.is_missing.tolist() == [False, True, False, False]
        taken = column.take(np.array([2, -1, 0]))
        assert [len(one) for one in taken] == [7, 0, 3] and np.array_equal(next(iter(taken)), own[2])
        scaled = StandardScaler().fit(np.concatenate(own))
        encoding = fit_encoding(table({"x": column}), 10, 4)
        read = read_encoding(json.loads(json.dumps(encoding.document())), "attributes.json")
        assert (read.n_frames, read.n_features, read.kinds) == (4, 12, {"x": "sequence"})
        found = read.encode(table({"x": column})).reshape(4, 4, 3)
        np.testing.assert_allclose(found[0, :3, :2], scaled.transform(own[0]), atol=1e-5)
        np.testing.assert_allclose(found[2, :, :2], scaled.transform(own[2][[0, 2, 4, 6]]), atol=1e-5)
        assert found[:, :, 2].tolist() == [[1, 1, 1, 0], [0] * 4, [1] * 4, [1, 0, 0, 0]]
        assert not found[1].any()
        pooled = fit_encoding(table({"x": column}), 10)
        assert (pooled.n_frames, pooled.kinds) == (0, {"x": "numeric"})
        statistics = np.array([[*one.mean(0), *one.std(0), *one.max(0)] for one in own if len(one)])
        found = pooled.encode(table({"x": column}))[[0, 2, 3], :6]
        np.testing.assert_allclose(found, StandardScaler().fit_transform(statistics), atol=1e-4)
        with pytest.raises(
            DataError, match="must hold frames of 2 numbers, as in training. Received: numeric"
        ):
            read.encode(table({"x": numbers(1)}))

    def test_joined_tables_are_blocks_of_one_variance(self):
        rng = np.random.default_rng(0)
        one = make_table(
            ["a", "b", "c"], {"x": NumericColumn(rng.normal(5, 3, (3, 7)))}, "one.npz", {"encoder": "e"}
        )
        values = NumericColumn(rng.normal(size=(4, 2)))
        other = make_table(["c", "b", "a", "d"], {"x": values, "y": labels(*"pqqp")}, "two.csv")
        joined = join_tables({"one": one, "two": other})
        assert joined.ids.tolist() == ["a", "b", "c", "d"] and joined.encoder is None
        assert joined.joined == ("one", "two") and list(joined.columns) == ["one.x", "two.x", "two.y"]
        assert np.isnan(joined.columns["one.x"].values[3]).all()
        assert np.array_equal(joined.columns["two.x"].values, values.values[[2, 1, 0, 3]])
        assert join_tables({"one": one}) is one
        artists = make_table(["Abba"], {"x": numbers(1)}, "bios", of_artists=True)
        assert join_tables({"a": artists, "b": artists}).of_artists
        with pytest.raises(DataError, match="Expected tables of tracks alone, or of artists alone"):
            join_tables({"one": one, "bio": artists})
        train = joined.take(np.array([0, 1, 2]))
        encoding = fit_encoding(train, 10)
        found = encoding.encode(train).astype(float)
        assert found.shape == (3, 11)
        blocks = [found[:, :7].var(axis=0).sum(), found[:, 7:].var(axis=0).sum()]
        np.testing.assert_allclose(blocks, [11 / 2, 11 / 2], rtol=1e-5)
        np.testing.assert_allclose(
            found[:, :7],
            StandardScaler().fit_transform(one.columns["x"].values) * np.sqrt(11 / 14),
            rtol=1e-5,
        )
        read = read_encoding(json.loads(json.dumps(encoding.document())), "attributes.json")
        assert read.encode(joined).tobytes() == encoding.encode(joined).tobytes()
        about = join_tables({"a": one, "b": one})
        assert about.encoder == {"a": {"encoder": "e"}, "b": {"encoder": "e"}}

    def test_constant_attributes_are_an_error(self):
        with pytest.raises(DataError, match="f.csv: no attribute varies among the 2 train tracks"):
            fit_encoding(table({"x": numbers(1, 1), "y": labels("", "")}), 10)

    def test_it_survives_json_to_the_last_bit(self):
        rng = np.random.default_rng(0)
        values = rng.normal(size=(9, 3)) * 1e-7 + 1 / 3
        values[4, 1] = NAN
        columns = {
            "x": NumericColumn(values),
            "y": labels(*"aabbccdde"),
            "z": labels(*"ppppqqqqr", kind="categorical"),
        }
        encoding = fit_encoding(table(columns), 4)
        read = read_encoding(json.loads(json.dumps(encoding.document())), "attributes.json")
        assert read.kinds == {"x": "numeric", "y": "labels", "z": "categorical"}
        assert read.notes() == encoding.notes() and read.n_features == encoding.n_features == 11
        assert read.encode(table(columns)).tobytes() == encoding.encode(table(columns)).tobytes()

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            (
                {"x": numbers(1)},
                "f.csv lacks attributes that the model was trained on: expected y. Received: x.",
            ),
            ({"x": numbers(1), "y": numbers(1)}, "'y' must hold text, as in training. Received: numbers"),
            (
                {"x": labels("a"), "y": labels("a")},
                "'x' must hold 1 numbers, as in training. Received: labels",
            ),
            (
                {"x": numbers((1, 2)), "y": labels("a")},
                "'x' must hold 1 numbers, as in training. Received: 2 numbers",
            ),
        ],
    )
    def test_a_table_of_other_content_is_reported(self, columns, message):
        encoding = fit_encoding(table({"x": numbers(1, 2), "y": labels("a", "b")}), 10)
        with pytest.raises(DataError, match=message):
            encoding.encode(table(columns))

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            ([], "schema version None; this release reads 1"),
            ({"schema_version": 2}, "schema version 2"),
            ({"schema_version": 1, "columns": [], "weights": [1]}, "there are 1 weights of 0 columns"),
            ({"schema_version": 1}, "is not a file of `cs-keras run-baselines`, or damaged"),
            ({"schema_version": 1, "columns": [{"name": "x", "kind": "numeric"}]}, "is not a file of"),
            (
                {
                    "schema_version": 1,
                    "columns": [
                        {"name": "x", "kind": "numeric", "mean": [0], "scale": [1, 2], "indicators": []}
                    ],
                },
                "mean and scale of 'x' have shapes",
            ),
        ],
    )
    def test_a_damaged_file_is_reported(self, document, message):
        with pytest.raises(DataError, match=f"attributes.json.*{message}"):
            read_encoding(document, "attributes.json")
