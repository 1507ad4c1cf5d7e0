"""Quality of estimated attributes, column by column of their encoding."""

import dataclasses

import numpy as np
import numpy.typing as npt

from cs_keras.data.attributes.columns import NumericColumn, SequenceColumn
from cs_keras.data.attributes.encoding import Encoding, NumericEncoding
from cs_keras.data.attributes.table import AttributeTable
from cs_keras.evaluation.labels.multi_label import roc_auc
from cs_keras.evaluation.losses import measure_regression_losses

Matrix = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class EstimateQuality:
    """Mean quality over the columns for which a metric is defined.

    Attributes
    ----------
    r2
        R² of numeric columns, over the items that have values; None where none varies.
    n_numbers
        Numeric columns averaged over.
    auc
        ROC AUC of label columns, ties counting half; None where every label has all items or none.
    n_labels
        Label columns averaged over.
    """

    r2: float | None
    n_numbers: int
    auc: float | None
    n_labels: int


def measure_estimates(encoding: Encoding, table: AttributeTable, estimates: Matrix) -> EstimateQuality:
    """Return the quality of estimates of encoded attributes.

    Parameters
    ----------
    encoding
        Encoding of the attributes; indicators of missing numbers are not evaluated.
    table
        True attributes of the items.
    estimates
        Shape (n_items, encoding.n_features), float32.
    """
    truth, first = encoding.encode(table), 0
    r2: list[float] = []
    auc: list[float] = []
    for column in encoding.columns:
        own = slice(first, first + column.n_features)
        first = own.stop
        if isinstance(column, NumericEncoding):
            known = table.columns[column.name]
            known = known.pool() if isinstance(known, SequenceColumn) else known
            missing = np.isnan(known.values) if isinstance(known, NumericColumn) else None
            for number in range(len(column.mean)):
                feature = own.start + number
                has = slice(None) if missing is None else ~missing[:, number]
                r2 += _r2(truth[has, feature], estimates[has, feature])
        else:
            areas = roc_auc(truth[:, own] > 0, estimates[:, own])
            auc += areas[~np.isnan(areas)].tolist()
    means = [float(np.mean(values)) if values else None for values in (r2, auc)]
    return EstimateQuality(means[0], len(r2), means[1], len(auc))


def _r2(truth: Matrix, estimate: Matrix) -> list[float]:
    """Return the R² of one number, or none where it does not vary."""
    if not len(truth):
        return []
    r2 = measure_regression_losses(truth[:, np.newaxis], estimate[:, np.newaxis]).r2
    return [] if r2 is None else [r2]
