"""A matrix of interaction counts in Spark, and its factorisation by Spark's implicit ALS.

Spark minimises the loss of `cs_keras.factors.wmf` with another penalty, Σ_ui c_ui (p_ui − x_u·y_i)² +
μ (Σ_u n_u ‖x_u‖² + Σ_i n_i ‖y_i‖²), n being numbers of interactions (Zhou et al. 2008, "Large-scale parallel
collaborative filtering for the Netflix prize"): ``regParam`` is μ, that of one interaction. Scaling X by a and Y by
1/a leaves all products as they are, so of two penalties λ_u ‖x‖² and λ_i ‖y‖² only λ_u λ_i decides them. With the
mean numbers n̄_u of a playlist and n̄_i of a track, implicit's λ therefore corresponds to μ = λ / √(n̄_u n̄_i):
exactly where all playlists have equally many interactions and all tracks have, nearly elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse

from cs_keras.errors import DataError

if TYPE_CHECKING:
    from cs_keras.factors.wmf import WmfConfig

Codes = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]

INTERACTIONS_PER_BLOCK = 5_000_000
DEFAULT_BLOCKS = 10  # Spark's, for more interactions than these
LEAST_INTERACTIONS_PER_BLOCK = 100_000


@dataclass(frozen=True, eq=False)
class SparkCounts:
    """Counts in Spark with what fits need of the interface of a scipy.sparse matrix.

    Attributes
    ----------
    frame
        DataFrame of ``row`` and ``column``, int, and ``count``, float, all above 0; no pair occurs twice.
    n_pairs
        Rows of `frame`.
    rows, columns
        Numbers in `frame` of the rows and columns of this matrix, in order.
    frame_shape
        Numbers of rows and columns in `frame`.
    """

    frame: Any
    n_pairs: int
    rows: Codes
    columns: Codes
    frame_shape: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return len(self.rows), len(self.columns)

    @property
    def T(self) -> "SparkCounts":  # noqa: N802 (as in scipy)
        """The transposed matrix."""
        swapped = self.frame.selectExpr("column AS row", "row AS column", "count")
        return SparkCounts(swapped, self.n_pairs, self.columns, self.rows, self.frame_shape[::-1])

    def __getitem__(self, key: Any) -> "SparkCounts":
        """Select rows, or rows and columns, by slices, masks or numbers."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        return replace(self, rows=self.rows[rows], columns=self.columns[columns])

    def __sub__(self, other: scipy.sparse.csr_matrix) -> "SparkCounts":
        """Remove the pairs of `other`, a matrix of the same shape whose values are counts of this one."""
        pairs = other.tocoo()
        removed = pa.table({"row": self.rows[pairs.row], "column": self.columns[pairs.col]})
        spark = self.frame.sparkSession
        rest = self.frame.join(spark.createDataFrame(removed), ["row", "column"], "left_anti")
        return replace(self, frame=rest)

    def tocsr(self) -> scipy.sparse.csr_matrix:
        """Collect the counts into this process, csr_matrix of float32."""
        table = self._select().toArrow()
        rows, columns = (
            _positions(self.rows, self.frame_shape[0]),
            _positions(self.columns, self.frame_shape[1]),
        )
        pairs = rows[table["row"].to_numpy()], columns[table["column"].to_numpy()]
        matrix = scipy.sparse.csr_matrix(
            (table["count"].to_numpy(), pairs), shape=self.shape, dtype=np.float32
        )
        matrix.sort_indices()
        return matrix

    def count(self) -> tuple[int, tuple[int, int]]:
        """Return the number of pairs, and those of rows and columns that have any."""
        from pyspark.sql import functions as F

        n, n_rows, n_columns = (
            self._select().agg(F.count("*"), F.count_distinct("row"), F.count_distinct("column")).first()
        )
        return n, (n_rows, n_columns)

    def fit(self, config: "WmfConfig") -> tuple[FloatArray, FloatArray]:
        """Factorise; return item and playlist factors as `cs_keras.factors.wmf.fit_wmf` does.

        Raises
        ------
        DataError
            There are no interactions.
        """
        from pyspark.ml.recommendation import ALS

        # With the seed, the number of blocks decides the result; it depends on the interactions alone.
        n_blocks = max(
            min(DEFAULT_BLOCKS, -(-self.n_pairs // LEAST_INTERACTIONS_PER_BLOCK)),
            -(-self.n_pairs // INTERACTIONS_PER_BLOCK),
        )
        pairs = self._weigh(config)
        if pairs.isEmpty():
            raise DataError(f"expected interactions to fit on; the {self.shape} matrix has none.")
        # Spark's users are solved last: tracks, so that a fitted track's factors are those of folding it in.
        als = ALS(
            rank=config.factors,
            maxIter=config.iterations,
            regParam=config.regularization,
            alpha=config.alpha,
            seed=config.seed,
            implicitPrefs=True,
            userCol="column",
            itemCol="row",
            ratingCol="weight",
            numUserBlocks=n_blocks,
            numItemBlocks=n_blocks,
        )
        model = als.fit(pairs)
        items = _collect(model.userFactors, self.columns, self.frame_shape[1], config.factors)
        return items, _collect(model.itemFactors, self.rows, self.frame_shape[0], config.factors)

    def column_blocks(self) -> Iterator[scipy.sparse.csr_matrix]:
        """Collect the columns block by block, each of about `INTERACTIONS_PER_BLOCK`."""
        n_blocks = -(-self.n_pairs * len(self.columns) // (self.frame_shape[1] * INTERACTIONS_PER_BLOCK))
        for columns in np.array_split(self.columns, max(1, n_blocks)):
            yield replace(self, columns=columns).tocsr()

    def _select(self) -> Any:
        """Return the part of the frame in this matrix."""
        frame = self.frame
        for name, numbers, size in zip(
            ("row", "column"), (self.rows, self.columns), self.frame_shape, strict=True
        ):
            if len(numbers) < size:
                wanted = frame.sparkSession.createDataFrame(pa.table({name: numbers}))
                frame = frame.join(wanted, name, "left_semi")
        return frame

    def _weigh(self, config: "WmfConfig") -> Any:
        """Return the pairs with ``weight``, that of the count; see `cs_keras.factors.wmf.WmfConfig`."""
        from pyspark.sql import functions as F

        weights = {"count": F.col("count"), "log": F.log1p("count"), "binary": F.lit(1.0)}
        return self._select().withColumn("weight", weights[config.weight].cast("float"))


def map_regularization(regularization: float, n_pairs: int, shape: tuple[int, int]) -> float:
    """Return Spark's regularisation for that of implicit, by the numbers of interactions, playlists and tracks."""
    return float(regularization * np.sqrt(shape[0] * shape[1]) / max(n_pairs, 1))


def _positions(numbers: Codes, size: int) -> npt.NDArray[np.int64]:
    """Return the position of each number below `size` among `numbers`, -1 where it has none."""
    positions = np.full(size, -1)
    positions[numbers] = np.arange(len(numbers))
    return positions


def _collect(frame: Any, numbers: Codes, size: int, n_factors: int) -> FloatArray:
    """Return factors of ``id`` and ``features`` in the order of `numbers`; zero where there are none."""
    positions, factors = _positions(numbers, size), np.zeros((len(numbers), n_factors), np.float32)
    for ids, features in _batches(frame):
        factors[positions[ids]] = features.reshape(-1, n_factors)
    return factors


def _batches(frame: Any) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    for batch in frame.toArrow().to_batches():
        yield batch["id"].to_numpy(), batch["features"].flatten().to_numpy(zero_copy_only=False)
