"""Spark's fits against the dense formulas and scipy.sparse, and its factors against implicit's."""

import csv
import dataclasses
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse

from cs_keras.data.demo.catalogue import draw_catalogue
from cs_keras.data.demo.config import DemoConfig
from cs_keras.data.demo.interactions import draw_interactions
from cs_keras.data.schema import INTERACTIONS_FILE, factors_path
from cs_keras.errors import DataError, StorageError
from cs_keras.evaluation.search.intersection import list_overlap
from cs_keras.evaluation.search.topk import top_k_similar
from cs_keras.factors.cross_fitting import cross_fit
from cs_keras.factors.interactions import load_interactions
from cs_keras.factors.repeats import fit_halves
from cs_keras.factors.spark.counts import SparkCounts
from cs_keras.factors.spark.session import SparkConfig, find_java, open_spark
from cs_keras.factors.store import Factors, load_factors
from cs_keras.factors.wmf import WmfConfig, fit_protocol, fit_wmf, fold_in_items
from tests.command_line import run
from tests.factors.plays import random_counts, solve_as_spark

MISSING = [
    name
    for name, there in (("PySpark", importlib.util.find_spec("pyspark")), ("Java", find_java()))
    if not there
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} is not installed"),
]
CONFIG = WmfConfig(factors=6, alpha=5.0, regularization=0.02, iterations=2, seed=3, engine="spark")
ALPHA = {"alpha": 5.0, "regularization": 0.02}
TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}  # Spark solves in float64 and stores float32
CLUSTER = [
    "--engine",
    "spark",
    "--spark-master",
    "local-cluster[2,1,1024]",
]  # two workers, a core and 1 GB each


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    with open_spark(SparkConfig("local[2]", ["spark.sql.shuffle.partitions=2"])) as session:
        yield session


def in_spark(session: Any, matrix: scipy.sparse.csr_matrix) -> SparkCounts:
    pairs = matrix.tocoo()
    names = ("row", "column", "count")
    frame = session.createDataFrame(
        pa.table(dict(zip(names, (pairs.row, pairs.col, pairs.data), strict=True)))
    )
    numbers = (np.arange(size, dtype=np.int32) for size in matrix.shape)
    return SparkCounts(frame, matrix.nnz, *numbers, matrix.shape)


def test_a_fit_solves_sparks_normal_equations_and_so_do_fold_ins_of_any_part(spark: Any) -> None:
    counts = random_counts(40, 25)
    fitted, new = np.arange(25) % 4 > 0, np.arange(25) % 4 == 0
    here = in_spark(spark, counts)
    items, playlists = fit_wmf(here[:, fitted], CONFIG)
    np.testing.assert_allclose(items, solve_as_spark(counts[:, fitted], playlists, **ALPHA), **TOLERANCE)
    expected = solve_as_spark(counts[:, new], playlists, **ALPHA)
    np.testing.assert_allclose(fold_in_items(here[:, new], playlists, CONFIG), expected, **TOLERANCE)
    np.testing.assert_allclose(fold_in_items(counts[:, new], playlists, CONFIG), expected, **TOLERANCE)

    logs = dataclasses.replace(CONFIG, weight="log")
    expected = solve_as_spark(counts[:, new].log1p(), playlists, **ALPHA)
    np.testing.assert_allclose(fold_in_items(here[:, new], playlists, logs), expected, **TOLERANCE)


def test_selections_are_those_of_scipy(spark: Any) -> None:
    counts = random_counts(30, 20)
    here = in_spark(spark, counts)
    rows, columns = np.array([7, 3, 20]), np.arange(20) % 2 == 0
    assert (here[rows][:, columns].tocsr() != counts[rows][:, columns]).nnz == 0
    assert (here[:9, :5].T.tocsr() != counts[:9, :5].T).nnz == 0
    some = counts.multiply(np.arange(30)[:, None] < 3).tocsr()
    some.eliminate_zeros()
    assert ((here - some).tocsr() != counts - some).nnz == 0
    # Playlists of the other half are folded in by their own weighting too.
    half = fit_halves(here, np.ones(20, np.bool_), CONFIG, "strict")[0]
    expected = solve_as_spark(counts.T.tocsr(), half.item_factors, **ALPHA)
    np.testing.assert_allclose(half.playlist_factors, expected, **TOLERANCE)


def test_train_tracks_are_cross_fitted_by_spark(spark: Any) -> None:
    here = in_spark(spark, random_counts(40, 25))
    groups = np.arange(25) % 3 - 1  # a third keeps its factors
    fit = fit_protocol(here, np.ones(25, np.bool_), CONFIG)
    crossed = cross_fit(here, np.ones(25, np.bool_), groups, fit, CONFIG)
    changed = (crossed.fit.item_factors != fit.item_factors).any(axis=1)
    assert (changed == (groups >= 0)).all() and crossed.fit.has_factors.all()
    assert len(crossed.residuals) == 2 and all(0 < one < 1 for one in crossed.residuals)


@pytest.fixture(scope="module")
def demo_without_audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interactions of demo data, and a dataset of their tracks, without recordings."""
    folder = tmp_path_factory.mktemp("demo")
    config = DemoConfig.of_size(700)
    catalogue = draw_catalogue(config)
    playlists, tracks, counts = draw_interactions(catalogue, config)
    names = np.array(catalogue.track_ids)
    columns = {"playlist": playlists, "track": names[tracks], "count": counts}
    pq.write_table(pa.table(columns), folder / "interactions.parquet")
    with open(folder / "tracks.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("track_id", "artist"), *zip(names, catalogue.artists, strict=True)])
    assert run("ingest", "--no-audio", "--tracks", folder / "tracks.csv", "--out", folder / "dataset") == 0
    return folder


def fit_factors(folder: Path, name: str, *options: object) -> Factors:
    arguments = [folder / "interactions.parquet", folder / "dataset", "--name", name, *options]
    assert run("factors", *arguments, "--n-factors", 32, "--alpha", 1, "--iterations", 15) == 0
    return load_factors(factors_path(folder / "dataset", name))


def test_its_lists_agree_with_implicits_as_those_of_another_seed_do(
    demo_without_audio: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    once = ["--no-ceiling", "--targets", "in-sample"]
    first, second = (
        fit_factors(demo_without_audio, f"seed-{seed}", "--seed", seed, *once) for seed in (0, 1)
    )
    dataset = demo_without_audio / "dataset"
    interactions = load_interactions(dataset / INTERACTIONS_FILE)
    spark = fit_factors(demo_without_audio, "spark", *CLUSTER, *once)
    assert "for each interaction (Spark's regParam)" in capfd.readouterr().out
    by_spark = load_interactions(dataset / INTERACTIONS_FILE)
    assert (by_spark.user_items != interactions.user_items).nnz == 0 and by_spark.tally == interactions.tally
    assert by_spark.playlist_ids.tolist() == interactions.playlist_ids.tolist()
    assert spark.config is not None and spark.config["engine"] == "spark"

    lists = [top_k_similar(one.item_factors, 10).indices for one in (first, second, spark)]
    of_seeds, of_engines = (list_overlap(lists[0], other).mean() for other in lists[1:])
    assert of_seeds > 0.3  # of 0.014 by chance
    assert of_engines > of_seeds - 0.05


def test_all_of_a_factors_file_is_made_on_the_cluster(
    demo_without_audio: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dataset = demo_without_audio / "dataset"
    table = pq.read_table(demo_without_audio / "interactions.parquet")
    extra = pa.table(
        {"playlist": np.arange(50), "track": [f"other-{i % 7}" for i in range(50)], "count": [0] + [1] * 49}
    )
    (demo_without_audio / "many").mkdir()  # a folder of files, with tracks that are not in the dataset
    for number, part in enumerate((table, extra.cast(table.schema))):
        pq.write_table(part, demo_without_audio / "many" / f"{number}.parquet")
    few = ["--n-factors", 4, "--iterations", 1, "--spark-option", "spark.sql.shuffle.partitions=2"]
    command = ["factors", demo_without_audio / "many", dataset, "--name", "all", *few, *CLUSTER]
    assert run(*command, "--targets", "in-sample") == 0
    printed, errors = capfd.readouterr()
    assert "1 left out with a count of 0." in printed and ": 7 tracks not in the dataset" in printed
    assert "nDCG@10 on held-out interactions" in printed and "Ceiling: another seed agrees" in printed
    assert "Traceback" not in errors and "WARN" not in errors
    factors = load_factors(factors_path(dataset, "all"))
    assert set(factors.quality["ceiling"]) == {"second_seed", "halves"}


def test_input_that_spark_cannot_read_is_one_sentence(tmp_path: Path, demo_without_audio: Path) -> None:
    from cs_keras.data.schema import read_tracks
    from cs_keras.factors.spark.files import read_spark_interactions

    ids = read_tracks(demo_without_audio / "dataset").ids
    pq.write_table(pa.table({"playlist": ["a"], "track": [" "]}), tmp_path / "empty.parquet")
    pq.write_table(pa.table({"playlist": ["a"], "track": ["b"], "count": [np.nan]}), tmp_path / "nan.parquet")
    pq.write_table(pa.table({"playlist": ["a"], "track": [1.5]}), tmp_path / "float.parquet")
    (tmp_path / "text.parquet").write_text("playlist,track\na,b\n")
    for name, kind, message in (
        ("empty.parquet", DataError, "1 of 1 rows have an empty id"),
        ("nan.parquet", DataError, "1 of 1 rows have a count that is not a finite number"),
        ("float.parquet", DataError, "'track' must hold ids, as text or integers. Received: double"),
        ("text.parquet", DataError, "not Parquet"),
        ("missing.parquet", StorageError, "cannot read the interactions"),
    ):
        with pytest.raises(kind, match=message), open_spark(SparkConfig("local[1]")) as session:
            read_spark_interactions(session, str(tmp_path / name), ids)
