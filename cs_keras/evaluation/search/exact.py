"""Matrix products that come out the same, to the last bit, whatever the block size or number of threads.

A floating-point product depends on the order of its additions, and BLAS chooses that order by shape, thread and
processor; two tracks whose scores differ by one rounding then swap ranks. Here every factor becomes a
fixed-point number cut into two whole-number parts, short enough that all sums stay below 2**53, where float64
addition is exact and its order cannot matter. This is the splitting of Ozaki, Ogita, Oishi and Rump
("Error-free transformations of matrix multiplication", Numerical Algorithms 59, 2012), with two parts.

Why the sums fit: let the lengths of a query and an item be at most 1.42 and 1.12. By Cauchy-Schwarz the products of
high parts, 26 bits, add up to at most 1.6 * 2**52. A low part is at most 2**19, so the products of high with low
parts add up to at most 2.54 * 2**45 * sqrt(n_factors), below 2**53 for up to 4,096 factors. The product of the two
low parts is left out, which leaves an error of about 1e-14.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

HIGH_BITS = 26
LOW_BITS = 20


@dataclass(frozen=True)
class SplitRows:
    """Rows in fixed point: `(high + low * 2**-LOW_BITS) * 2**-HIGH_BITS`.

    Both parts are whole numbers in float64, shape (n_rows, n_factors).
    """

    high: Float64Array
    low: Float64Array

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> "SplitRows":
        """Return some of the rows."""
        return SplitRows(self.high[rows], self.low[rows])


def split(rows: Float64Array) -> SplitRows:
    """Cut rows of length at most about 1 (see the module) into two whole-number parts, within 2**-47 of them.

    Shape (n_rows, n_factors), float64.
    """
    scaled = rows * 2.0**HIGH_BITS
    high = np.rint(scaled)
    return SplitRows(high, np.rint((scaled - high) * 2.0**LOW_BITS))


def dot_products(queries: SplitRows, items: SplitRows) -> Float64Array:
    """Return the dot product of every query with every item, shape (n_queries, n_items), float64.

    Each entry depends on its two rows alone.
    """
    products = queries.high @ items.low.T
    products += queries.low @ items.high.T
    products *= 2.0**-LOW_BITS
    products += queries.high @ items.high.T
    products *= 2.0 ** (-2 * HIGH_BITS)
    return products


def rough_products(queries: SplitRows, items: SplitRows) -> Float64Array:
    """Return dot products of the high parts alone: a third of the work, within `rough_error` of `dot_products`.

    Shape (n_queries, n_items), float64, independent of block size and threads.
    """
    products = queries.high @ items.high.T
    products *= 2.0 ** (-2 * HIGH_BITS)
    return products


def rough_error(n_factors: int) -> float:
    """Return what products of high with low parts add up to at most, for rows no longer than the module allows.

    A low part is at most 2**-27, and the sum of a row's high parts at most its length times sqrt(n_factors).
    """
    rounding = 1 + 1e-6  # of the error itself
    return float((1.42 + 1.12) * np.sqrt(n_factors) * 2.0 ** -(HIGH_BITS + 1) * rounding)


def paired_products(queries: SplitRows, items: SplitRows) -> Float64Array:
    """Return the dot product of every query with the item of the same row, to the bit that of `dot_products`.

    Shape (n_rows,), float64.
    """
    products = _pair_up(queries.high, items.low) + _pair_up(queries.low, items.high)
    products *= 2.0**-LOW_BITS
    products += _pair_up(queries.high, items.high)
    products *= 2.0 ** (-2 * HIGH_BITS)
    return products


def _pair_up(queries: Float64Array, items: Float64Array) -> Float64Array:
    return np.asarray(np.einsum("ij,ij->i", queries, items), dtype=np.float64)
